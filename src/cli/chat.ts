/*
 * llama2 -m chat: a conversation, in run.c's manner.
 */
import { createInterface } from "node:readline";
import { withoutMark } from "../files/text.ts";
import { renderPrompt } from "../llama2/chat.ts";
import { EOS } from "../llama2/tokenizer.ts";
import type { Model } from "../model.ts";
import { bytesOf, TextStream, toByteString } from "../text.ts";
import { Interrupted, interruptible, print, STDIN, TextOutput, tell } from "./io.ts";
import { openModel } from "./model.ts";
import { type StoryFlags, stepsOf, tellSeed } from "./story.ts";

/**
 * run.c 802: chat. It ends with the input, or when all turns together have used up the steps: the last one is cut
 * there, and that is told. Ctrl-C stops an answer, and ends the chat when it is the user's turn.
 * @throws Llama2Error E_CONTEXT for a turn that no context of this model holds, however many steps there are
 */
export async function chat(path: string | undefined, flags: StoryFlags): Promise<void> {
  const model = await interruptible((signal) => openModel(path, flags, flags.tokenizer, signal));
  noteIfNotForChat(path, model);
  const lines = new Lines();
  const session = model.session();
  const steps = stepsOf(model, flags.steps ?? 0);
  const { temperature, topP } = flags;
  let seed = flags.seed;

  const history: number[] = []; // all tokens of the conversation
  let read = 0; // how many of them the model has read for sure

  /** Let the model read what is new and write an answer. */
  const answer = async (signal: AbortSignal, out: TextOutput): Promise<void> => {
    const tokens = history.slice(read, steps + 1);
    const maxTokens = Math.max(0, steps + 1 - history.length);
    const generation = model.generate(tokens, { temperature, topP, seed, maxTokens, signal });
    if (read === 0) tellSeed(seed, generation.seed);
    seed = BigInt.asUintN(64, generation.seed + 1n) || 1n;
    const text = new TextStream(model.tokenizer, tokens[tokens.length - 1]);
    let forced = tokens.length - 1; // the turn itself comes out first, as the model reads it
    for await (const slice of generation.slices({ session: session.id, pos: read, stop: EOS })) {
      const written = slice.tokens.slice(forced);
      forced = Math.max(0, forced - slice.tokens.length);
      // the newest token may not have been read yet
      if (written.length > 0) read = history.push(...written) - 1;
      await out.print(written.map((token) => text.push(token)).join(""));
    }
    read = history.length;
    await out.print(text.end());
  };

  try {
    // texts are byte strings
    const named = (text: string | undefined) => (text === undefined ? undefined : toByteString(text));
    const system = named(flags.system) ?? (await lines.ask("Enter system prompt (optional): "));
    let user = system === undefined ? undefined : (named(flags.prompt) ?? (await lines.ask("User: ")));
    while (user !== undefined) {
      const turn = renderPrompt(user, history.length === 0 ? system : "");
      history.push(...model.encodePrompt(Buffer.from(turn, "latin1")));
      const out = new TextOutput();
      await out.print("Assistant: ");
      if (history.length > steps) {
        const limit = steps < model.config.seqLen ? "-n" : "the context";
        tell(`the conversation has ${history.length} tokens and is cut at ${steps} positions (${limit})`);
      }
      try {
        await interruptible((signal) => answer(signal, out));
      } catch (error) {
        if (!(error instanceof Interrupted)) throw error;
      }
      await out.end("\n");
      history.push(EOS);
      if (history.length > steps) break;
      user = await lines.ask("User: ");
    }
  } finally {
    lines.close();
    await model.dispose();
  }
}

/** Models that were made for chat have at least a billion weights. */
const SMALLEST_CHAT_MODEL = 1e9;

/** A line for those who expect a conversation from a model that cannot hold one. */
function noteIfNotForChat(path: string | undefined, { config }: Model): void {
  const { dim, nLayers, vocabSize, hiddenDim } = config;
  if (path === undefined) {
    tell(
      "the model that comes with llama2.ts was made for stories, not for chat: expect pieces of stories for answers",
    );
  } else if (vocabSize * dim + nLayers * dim * (2 * dim + 3 * hiddenDim) < SMALLEST_CHAT_MODEL) {
    tell("a model this small was most likely not made for chat: expect pieces of stories for answers");
  }
}

/** Standard input, line by line, as byte strings: bytes that are not UTF-8 are kept as they are. */
class Lines {
  private readonly input = createInterface({ input: process.stdin.setEncoding("latin1") });
  private readonly lines = this.input[Symbol.asyncIterator]();
  private atStart = true;

  /** Ask for a line. Undefined at the end of the input. */
  async ask(guide: string): Promise<string | undefined> {
    const { value, done } = await interruptible(async (signal) => {
      await print(guide); // whoever sees it may press Ctrl-C
      signal.throwIfAborted();
      const interrupted = new Promise<never>((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
      });
      return Promise.race([this.lines.next(), interrupted]);
    });
    if (done) await print("\n");
    if (done || !this.atStart) return done ? undefined : value;
    this.atStart = false;
    return toByteString(withoutMark(bytesOf(value), STDIN));
  }

  close(): void {
    this.input.close();
  }
}
