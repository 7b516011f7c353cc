/*
 * Talking with a model: turns whose history stays where the model has read it, in its slot of the KV cache.
 *
 * If the model's checkpoint has a chat template, turns are written as it says; otherwise as Llama 2's chat models expect
 * them, which are the ones that llama2.c runs.
 */
import { type ChatTemplate, type Message, partsOf } from "./chatTemplate.ts";
import { checkOptions, checkSignal, checkWhole, show, usage } from "./check.ts";
import { encode, encodeRest } from "./encode.ts";
import { Llama2Error } from "./errors.ts";
import { type GenerateOptions, samplingOptions, seedOf } from "./generateOptions.ts";
import type { Generation } from "./generation.ts";
import { renderPrompt } from "./llama2/chat.ts";
import { BOS, EOS } from "./llama2/tokenizer.ts";
import type { Config } from "./llama2/transformer.ts";
import type { ModelInfo } from "./modelInfo.ts";
import { toByteString } from "./text.ts";
import type { TextTokenizer } from "./textTokenizer.ts";

type Choosing = Pick<GenerateOptions, "temperature" | "topP" | "topK" | "minP" | "repetitionPenalty" | "seed">;

/** How the tokens of all answers are chosen, as for `generate`. One random number generator serves the whole chat. */
export interface ChatOptions extends Choosing {
  /** The system message, which comes before the first turn. */
  system?: string;
  /** What has been said already: `messages` of a chat that was saved. */
  messages?: readonly Message[];
  /** The most tokens of an answer. @default until the context is full */
  maxTokens?: number;
}

const CHOOSING: readonly (keyof Choosing)[] = ["temperature", "topP", "topK", "minP", "repetitionPenalty", "seed"];
const OPTIONS: readonly (keyof ChatOptions)[] = ["system", "messages", "maxTokens", ...CHOOSING];

/** A chat as JSON. */
export interface SavedChat {
  chat: 1;
  messages: Message[];
}

/** The model that a chat is with. */
export interface Talker {
  readonly config: Readonly<Config>;
  readonly info: Readonly<ModelInfo>;
  readonly tokenizer: TextTokenizer;
  generate(tokens: readonly number[], options: GenerateOptions): Generation;
}

/** What the model has read and written: as tokens, and as text. */
interface History {
  tokens: number[];
  prompt: string; // as a chat template writes it, up to the last answer
  answer: string; // the last one, trimmed
  turns: number; // messages in it
}
const NOTHING: History = { tokens: [], prompt: "", answer: "", turns: 0 };

/** A conversation with a model. One answer at a time. */
export class Chat {
  /** A warning, if this model was most likely never trained to chat. */
  readonly note: string | undefined;
  /** The seed in use, also when the clock chose it. */
  readonly seed: bigint;
  private said: Message[];
  private history: History = NOTHING;
  private readonly model: Talker;
  private readonly options: ChatOptions;
  private readonly template: ChatTemplate | undefined;
  private state: bigint; // of the generator
  private answering = false;

  /** @internal Chats come from `model.chat`. */
  constructor(model: Talker, options: ChatOptions, template: ChatTemplate | undefined) {
    checkOptions("chat", options, OPTIONS);
    const { system, messages = [], maxTokens } = options;
    if (system !== undefined && typeof system !== "string") usage(`system is ${show(system)}, expected text`);
    checkWhole("maxTokens", maxTokens ?? 0, 0, 2 ** 53 - 1);
    this.model = model;
    this.options = { ...options };
    this.template = template;
    this.said = checkMessages(messages, system);
    this.seed = seedOf(options.seed ?? 0);
    this.state = this.seed;
    model.generate([BOS], samplingOptions(options)); // which checks them
    model.tokenizer; // throws if there is none
    this.note = template ? undefined : noteIfNotForChat(model.info);
  }

  /** What has been said, the system's message first if there is one. An answer is there once it has ended. */
  get messages(): readonly Message[] {
    return this.said.map((message) => ({ ...message }));
  }

  /**
   * Say something, and iterate over the answer. If it is stopped early, the part that was generated stays in the
   * conversation.
   * @throws Llama2Error E_USAGE while an answer is under way; E_CONTEXT if the conversation has become too long
   */
  say(text: string, options: Pick<GenerateOptions, "signal" | "onToken" | "logprobs" | "maxTokens"> = {}): Generation {
    if (typeof text !== "string") usage(`what is said is ${show(text)}, expected text`);
    checkOptions("say", options, ["signal", "onToken", "logprobs", "maxTokens"]);
    checkSignal(options.signal);
    if (this.answering) usage("the last answer is still under way: read it to its end, or stop it");
    const messages: Message[] = [...this.said, { role: "user", content: text }];
    const prompt = this.promptOf(messages);
    const { seqLen } = this.model.config;
    if (prompt.tokens.length > seqLen) {
      const found = `the conversation has ${prompt.tokens.length} tokens, and the context holds ${seqLen}`;
      throw new Llama2Error("E_CONTEXT", `${found}. Start over: reset()`);
    }
    const answer = this.model.generate(prompt.tokens, {
      ...samplingOptions(this.options),
      maxTokens: options.maxTokens ?? this.options.maxTokens,
      ...options,
      seed: this.state,
    });
    answer.onBegin = () => {
      if (this.answering) usage("another answer is under way");
      this.answering = true;
    };
    answer.onEnd = () => {
      this.answering = false;
      if (answer.finishReason === undefined) return; // it failed, and nothing has been said
      const { tokenizer } = this.model;
      const whole = tokenizer.decode(answer.tokens);
      const content = whole.slice(tokenizer.decode(prompt.tokens).length).trim();
      this.said = [...messages, { role: "assistant", content }];
      this.history = { tokens: answer.tokens, prompt: prompt.text, answer: content, turns: this.said.length };
      this.state = answer.state;
    };
    return answer;
  }

  /** Forget everything but the system message. */
  reset(): void {
    if (this.answering) usage("an answer is still under way: stop it first");
    this.said = this.said.filter(({ role }) => role === "system");
    this.history = NOTHING;
  }

  /** For JSON.stringify. `model.chat({ messages })` goes on from it. */
  toJSON(): SavedChat {
    return { chat: 1, messages: [...this.messages] };
  }

  /** The tokens of a conversation up to where the model answers, going on from what it has read. */
  private promptOf(messages: readonly Message[]): { tokens: number[]; text: string } {
    return this.template ? this.templatePrompt(this.template, messages) : this.llama2Prompt(messages);
  }

  /** Llama 2's format. A turn is BOS, the user's text between [INST] and [/INST], the answer, EOS. */
  private llama2Prompt(messages: readonly Message[]): { tokens: number[]; text: string } {
    const { vocabulary } = this.model.tokenizer;
    const { turns } = this.history;
    const tokens = turns > 0 ? [...this.history.tokens, EOS] : [];
    const [first] = messages;
    const system = first.role === "system" ? toByteString(first.content) : "";
    for (const [i, { role, content }] of messages.entries()) {
      if (i < turns || role !== "user") continue;
      const isFirst = i === (first.role === "system" ? 1 : 0);
      const turn = renderPrompt(toByteString(content), isFirst ? system : "");
      const answer = messages[i + 1];
      if (!answer) tokens.push(...encode(vocabulary, turn, true, false));
      else tokens.push(...encode(vocabulary, `${turn} ${toByteString(answer.content)} `, true, true));
    }
    return { tokens, text: "" };
  }

  private templatePrompt(template: ChatTemplate, messages: readonly Message[]): { tokens: number[]; text: string } {
    const { vocabulary } = this.model.tokenizer;
    const text = template.render(messages);
    const rest = this.afterHistory(text);
    const tokens = rest === undefined ? [] : [...this.history.tokens];
    for (const [i, part] of partsOf(rest ?? text).entries()) {
      if (part === "bos") tokens.push(BOS);
      else if (part === "eos") tokens.push(EOS);
      else if (rest !== undefined && i === 0) tokens.push(...encodeRest(vocabulary, toByteString(part)));
      else tokens.push(...encode(vocabulary, toByteString(part), false, false));
    }
    return { tokens: tokens[0] === BOS ? tokens : [BOS, ...tokens], text };
  }

  /** The rest of a rendered conversation, after what the model has read already. Undefined if that part has changed. */
  private afterHistory(text: string): string | undefined {
    const { prompt, answer, turns } = this.history;
    if (turns === 0 || !text.startsWith(prompt)) return undefined;
    const answered = text.slice(prompt.length).trimStart(); // templates write the space before an answer themselves
    return answered.startsWith(answer) ? answered.slice(answer.length) : undefined;
  }
}

/** @throws Llama2Error E_USAGE unless they are a system's message, if any, and then questions with their answers */
function checkMessages(messages: readonly Message[], system: string | undefined): Message[] {
  if (!Array.isArray(messages)) usage(`messages is ${show(messages)}, expected an array`);
  const all: Message[] = system === undefined || system === "" ? [] : [{ role: "system", content: system }];
  for (const message of messages as unknown[]) {
    const { role, content } = (message ?? {}) as Partial<Message>;
    if (typeof content !== "string") usage(`a message is ${show(message)}, expected { role, content }`);
    if (role === "system" && all.length === 1 && all[0].role === "system") {
      usage("there are two system messages: name it in system or in messages");
    }
    const expected = (all.length - (all[0]?.role === "system" ? 1 : 0)) % 2 === 0 ? "user" : "assistant";
    const fits = role === expected || (role === "system" && all.length === 0);
    if (!fits) usage(`a message has the role ${show(role)}, expected ${show(expected)}: user and assistant take turns`);
    all.push({ role: role as Message["role"], content });
  }
  if (all.at(-1)?.role === "user") usage("the last of the messages is the user's: say it");
  return all;
}

/** Models that were made for chat have at least a billion weights. */
const SMALLEST_CHAT_MODEL = 1e9;

/** A line for those who expect a conversation from a model that cannot hold one. */
export function noteIfNotForChat({ parameters }: Readonly<ModelInfo>): string | undefined {
  if (parameters >= SMALLEST_CHAT_MODEL) return undefined;
  return "a model this small was most likely not made for chat: expect pieces of stories for answers";
}
