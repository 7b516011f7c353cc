/*
 * llama2 chat: a conversation that stays in the model's KV cache.
 */
import type { Chat, ChatOptions, SavedChat } from "../chat.ts";
import { nearest } from "../check.ts";
import { Llama2Error } from "../errors.ts";
import { writeWhole } from "../files/outputFile.ts";
import { readText } from "../files/text.ts";
import type { Model } from "../model.ts";
import { readChat } from "../prompts.ts";
import { complain, Interrupted, interruptible, TextOutput, tell } from "./io.ts";
import { Lines } from "./lines.ts";
import { openModel } from "./model.ts";
import type { MachineFlags } from "./options.ts";
import { tellSeed } from "./story.ts";

export interface ChatFlags extends MachineFlags {
  tokenizer?: string;
  system?: string;
  temperature: number;
  topP: number;
  seed: bigint;
  steps?: number; // tokens of an answer
  load?: string;
}

/** More text than any context holds. */
const MAX_SAVED_BYTES = 1 << 24;

const COMMANDS = ["/reset", "/save", "/load", "/exit"];
const HELP = "/reset forgets what was said; /save FILE and /load FILE; /exit, or Ctrl-D; Ctrl-C stops an answer";

/**
 * On a terminal it asks for each turn; otherwise each line of input is a turn, and only answers are printed. Ctrl-C stops
 * an answer, or ends the chat if it is the user's turn.
 */
export async function chat(path: string | undefined, flags: ChatFlags): Promise<void> {
  const saved = flags.load === undefined ? undefined : savedIn(flags.load);
  const model = await interruptible((signal) => openModel(path, flags, flags.tokenizer, signal));
  const lines = new Lines();
  const isTerminal = process.stdin.isTTY === true;
  try {
    const talk = new Talk(model, flags);
    await talk.begin(saved);
    if (isTerminal) tell(HELP);
    for (;;) {
      const line = await lines.ask(isTerminal ? "> " : "");
      if (line === undefined || !(await talk.hear(new TextDecoder().decode(line), isTerminal))) return;
    }
  } finally {
    lines.close();
    await model.dispose();
  }
}

const savedIn = (file: string): SavedChat => readChat(readText(file, MAX_SAVED_BYTES), file);

class Talk {
  private readonly model: Model;
  private readonly flags: ChatFlags;
  private chat: Chat | undefined;

  constructor(model: Model, flags: ChatFlags) {
    this.model = model;
    this.flags = flags;
  }

  /** Begin a new chat, or continue a saved one. */
  async begin(saved?: SavedChat): Promise<void> {
    const { system, temperature, topP, seed, steps } = this.flags;
    const options: ChatOptions = { temperature, topP, seed, maxTokens: steps };
    const known = saved ? { messages: saved.messages } : { system };
    const isFirst = this.chat === undefined;
    this.chat = await this.model.chat({ ...options, ...known });
    if (isFirst && this.chat.note) tell(this.chat.note);
    if (isFirst) tellSeed(seed, this.chat.seed);
  }

  /**
   * Answer a line, or run its command.
   * @returns whether the chat goes on
   */
  async hear(line: string, isTerminal: boolean): Promise<boolean> {
    const text = line.trim();
    if (text === "/exit") return false;
    if (text === "") return true;
    try {
      if (text.startsWith("/")) await this.obey(text);
      else await this.answer(text);
    } catch (error) {
      if (!isTerminal || !(error instanceof Llama2Error)) throw error;
      complain(`llama2: ${error.message} (${error.code})`);
    }
    return true;
  }

  private async obey(line: string): Promise<void> {
    const [, command, file] = /^(\S+)\s*(.*)$/.exec(line) ?? [];
    if (command === "/reset") return this.now.reset();
    if (command === "/save" && file) return writeChat(file, this.now);
    if (command === "/load" && file) return this.begin(savedIn(file));
    if (command === "/save" || command === "/load") throw new Llama2Error("E_USAGE", `${command} needs a file`);
    const meant = nearest(command, COMMANDS);
    throw new Llama2Error("E_USAGE", `there is no ${command}${meant ? `. Is ${meant} meant?` : `: ${HELP}`}`);
  }

  private get now(): Chat {
    if (!this.chat) throw new Error("the chat has not begun");
    return this.chat;
  }

  private async answer(text: string): Promise<void> {
    const out = new TextOutput();
    let begun = false;
    try {
      await interruptible(async (signal) => {
        for await (const piece of this.now.say(text, { signal })) {
          await out.print(begun ? piece : piece.trimStart()); // a model puts a space between the question and its answer
          begun ||= piece.trim() !== "";
        }
      });
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
    }
    await out.end("\n");
  }
}

const writeChat = (path: string, chat: Chat) => writeWhole(path, `${JSON.stringify(chat, null, 2)}\n`);
