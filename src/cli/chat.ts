/*
 * llama2 -m chat: a conversation, in run.c's manner.
 */
import { createInterface } from "node:readline";
import { Conversation } from "../chat.ts";
import { withoutMark } from "../files/text.ts";
import type { Model } from "../model.ts";
import { bytesOf } from "../text.ts";
import { Interrupted, interruptible, print, STDIN, TextOutput, tell } from "./io.ts";
import { openModel } from "./model.ts";
import { type StoryFlags, tellSeed } from "./story.ts";

/**
 * run.c 802: chat, but for the token that run.c prints after the EOS of an answer, and for the input's end, which ends
 * this one. It also ends when all turns together have used up the steps: the last one is cut there, and that is told.
 * Ctrl-C stops an answer, and ends the chat when it is the user's turn.
 * @throws Llama2Error E_CONTEXT for a turn that no context of this model holds, however many steps there are
 */
export async function chat(path: string | undefined, flags: StoryFlags): Promise<void> {
  const model = await interruptible((signal) => openModel(path, flags, flags.tokenizer, signal));
  noteIfNotForChat(path, model);
  const lines = new Lines();
  try {
    const system = flags.system ?? (await lines.ask("Enter system prompt (optional): "));
    let user = system === undefined ? undefined : (flags.prompt ?? (await lines.ask("User: ")));
    if (user === undefined) return;
    const { temperature, topP, seed, steps } = flags;
    const conversation = new Conversation(model, { system, temperature, topP, seed, steps });
    tellSeed(seed, conversation.seed);
    while (user !== undefined) {
      conversation.say(user);
      const out = new TextOutput();
      await out.print("Assistant: ");
      if (conversation.ended) tellCut(model, conversation);
      else await printAnswer(conversation, out);
      await out.end("\n");
      if (conversation.ended) break;
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
function noteIfNotForChat(path: string | undefined, { info }: Model): void {
  if (path === undefined) {
    tell(
      "the model that comes with llama2.ts was made for stories, not for chat: expect pieces of stories for answers",
    );
  } else if (info.parameters < SMALLEST_CHAT_MODEL) {
    tell("a model this small was most likely not made for chat: expect pieces of stories for answers");
  }
}

async function printAnswer(conversation: Conversation, out: TextOutput): Promise<void> {
  try {
    await interruptible(async (signal) => {
      for await (const piece of conversation.answer({ signal })) await out.print(piece);
    });
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
  }
}

function tellCut(model: Model, { tokens, steps }: Conversation): void {
  const limit = steps < model.config.seqLen ? "-n" : "the context";
  tell(`the conversation has ${tokens.length} tokens and is cut at ${steps} positions (${limit})`);
}

/** Standard input, line by line, as bytes: those that are not UTF-8 are kept as they are. */
class Lines {
  private readonly input = createInterface({ input: process.stdin.setEncoding("latin1") });
  private readonly lines = this.input[Symbol.asyncIterator]();
  private atStart = true;

  /** Ask for a line. Undefined at the end of the input. */
  async ask(guide: string): Promise<Uint8Array | undefined> {
    const { value, done } = await interruptible(async (signal) => {
      await print(guide); // from now on the user may press Ctrl-C
      signal.throwIfAborted();
      const interrupted = new Promise<never>((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
      });
      return Promise.race([this.lines.next(), interrupted]);
    });
    if (done) await print("\n");
    if (done) return undefined;
    const line = bytesOf(value);
    if (!this.atStart) return line;
    this.atStart = false;
    return withoutMark(line, STDIN);
  }

  close(): void {
    this.input.close();
  }
}
