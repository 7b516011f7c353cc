/*
 * llama2 -m chat: a conversation as in run.c.
 */
import { noteIfNotForChat } from "../chat.ts";
import { Conversation } from "../conversation.ts";
import type { Model } from "../model.ts";
import { Interrupted, interruptible, TextOutput, tell } from "./io.ts";
import { Lines } from "./lines.ts";
import { openModel } from "./model.ts";
import { type StoryFlags, tellSeed } from "./story.ts";

/**
 * run.c 802: chat, except that it does not print the token after the EOS of an answer, and ends at the end of input. It
 * also ends when all turns together have used up the steps: the last turn is cut there, with a note. Ctrl-C stops an
 * answer, or ends the chat if it is the user's turn.
 * @throws Llama2Error E_CONTEXT for a turn longer than the context
 */
export async function runcChat(path: string | undefined, flags: StoryFlags): Promise<void> {
  const model = await interruptible((signal) => openModel(path, flags, flags.tokenizer, signal));
  tellIfNotForChat(path, model);
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

/** A note if this model was most likely not made for chat. */
function tellIfNotForChat(path: string | undefined, { info }: Model): void {
  const bundled =
    "the model that comes with llama2.ts was made for stories, not for chat: expect pieces of stories for answers";
  const note = path === undefined ? bundled : noteIfNotForChat(info);
  if (note) tell(note);
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
