/*
 * Meta's generate(), text_completion() and chat_completion(): the third part of the llama repository, generation.py, in
 * its order. docs/meta.md sets its lines beside these.
 *
 * Meta's code moves one batch position by position, which needs padding, a mask and a flag for each row. Here each prompt
 * is a sequence of its own, and the scheduler reads all of them in shared passes; what comes out is the same.
 */
import { checkOptions, checkSignal, checkThat, checkWhole, show, usage } from "./check.ts";
import { Llama2Error } from "./errors.ts";
import { generateAll } from "./generateAll.ts";
import { checkGenerateOptions, type GenerateOptions, type Token } from "./generateOptions.ts";
import { renderPrompt } from "./llama2/chat.ts";
import { BOS, EOS } from "./llama2/tokenizer.ts";
import type { Model } from "./model.ts";

/** generation.py 44-48: marks that a dialog must not have, and what is answered if it does. */
const SPECIAL_TAGS = ["[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"];
const UNSAFE_ERROR = "Error: special tags are not allowed as part of the prompt.";

export interface MetaOptions {
  /** The most new tokens. @default the context - 1 */
  maxGenLen?: number;
  /** @default 0.6 */
  temperature?: number;
  /** 0 is greedy, 1 takes all tokens. @default 0.9 */
  topP?: number;
  /** Whether to return log-probabilities, from the raw logits. @default false */
  logprobs?: boolean;
  /** Whether results include the prompt. @default false */
  echo?: boolean;
  /** Prompt k has the seed `seed` + k; 0 or absent: the clock. Meta's code has one generator for all. */
  seed?: number | bigint;
  /** Strings and tokens that end a text as EOS does. Meta's code has none. */
  stop?: GenerateOptions["stop"];
  /** Whether BOS ends a text as well, as it does llama2.c's stories. @default false */
  bosEnds?: boolean;
  signal?: AbortSignal;
}

const OPTIONS: readonly (keyof MetaOptions)[] = [
  "maxGenLen",
  "temperature",
  "topP",
  "logprobs",
  "echo",
  "seed",
  "stop",
  "bosEnds",
  "signal",
];

/** The completion of one prompt. */
export interface Completion {
  index: number;
  /** Its text; with `echo` the prompt's as well. Empty if the model was loaded without a tokenizer. */
  text: string;
  /** With those of the prompt only if `echo`. */
  tokens: number[];
  /** With `logprobs`, one for each of `tokens`. The first token of a sequence is given, and has 0. */
  logprobs?: Token[];
  finishReason: "stop" | "length";
  seed: bigint;
}

/** generation.py 21-42: what a prompt and a dialog become. */
export interface CompletionPrediction {
  generation: string;
  tokens?: string[];
  logprobs?: number[];
}
export interface ChatPrediction {
  generation: { role: "assistant"; content: string };
  tokens?: string[];
  logprobs?: number[];
}
export type Dialog = readonly { role: "system" | "user" | "assistant"; content: string }[];

/**
 * generation.py 129: generate.
 * @param promptTokens prompts of any lengths; at most as long as the context
 * @throws Llama2Error E_USAGE, E_CONTEXT, E_NUMERIC; the signal's reason
 */
export async function generate(
  model: Model,
  promptTokens: readonly (readonly number[])[],
  options: MetaOptions = {},
): Promise<{ tokens: number[][]; logprobs?: number[][] }> {
  const tokens: number[][] = [];
  const logprobs: number[][] = [];
  for await (const completion of completions(model, promptTokens, options)) {
    tokens.push(completion.tokens);
    logprobs.push((completion.logprobs ?? []).map(({ logprob }) => logprob));
  }
  return options.logprobs ? { tokens, logprobs } : { tokens };
}

/**
 * The same, yielding each completion when it is finished.
 */
export async function* completions(
  model: Model,
  promptTokens: readonly (readonly number[])[],
  options: MetaOptions = {},
): AsyncGenerator<Completion, void> {
  checkMetaOptions(model, promptTokens, options);
  const { seqLen } = model.config;
  const { maxGenLen = seqLen - 1, temperature = 0.6, topP = 0.9, logprobs = false, echo = false } = options;
  const { seed, stop = [], bosEnds = false, signal } = options;

  // 162-165: no sequence becomes longer than the longest prompt and maxGenLen, or than the context
  const maxPromptLen = promptTokens.reduce((longest, { length }) => Math.max(longest, length), 0);
  if (maxPromptLen > seqLen) {
    const found = `a prompt has ${maxPromptLen} tokens, and the context holds ${seqLen}`;
    throw new Llama2Error("E_CONTEXT", `${found}. Shorten it`);
  }
  const totalLen = Math.min(seqLen, maxGenLen + maxPromptLen);

  // 186-212: each row goes on from its own prompt, up to EOS, which ends it
  const hasTokenizer = model.hasTokenizer;
  const ends = [EOS, ...(bosEnds ? [BOS] : []), ...(typeof stop === "object" ? stop : [stop])];
  const begin = (prompt: readonly number[], one: GenerateOptions) =>
    model.generate(prompt, { ...one, maxTokens: Math.min(maxGenLen, totalLen - prompt.length) });
  const shared: GenerateOptions = {
    temperature: topP === 0 ? 0 : temperature, // 416: with top_p 0 the likeliest token alone is left
    topP,
    seed,
    stop: ends,
    eos: false,
    echo: echo && hasTokenizer,
    logprobs: logprobs ? 0 : undefined,
    signal,
  };
  const all = generateAll(begin, promptTokens, { ...shared, asTokens: !hasTokenizer });

  // 217-230: the result of each row
  for await (const { index, text, generation } of all) {
    const prompt = promptTokens[index];
    let tokens = generation.tokens.slice(echo ? 0 : prompt.length);
    let reported = logprobs
      ? [...(echo ? await promptLogprobs(model, prompt, signal) : []), ...(generation.logprobs ?? [])]
      : [];
    const eos = tokens.indexOf(EOS); // within the prompt: what was generated ends before it
    if (eos !== -1) tokens = tokens.slice(0, eos);
    if (eos !== -1) reported = reported.slice(0, eos);
    yield {
      index,
      text: eos !== -1 && hasTokenizer ? model.tokenizer.decode(tokens) : text,
      tokens,
      ...(logprobs && { logprobs: reported }),
      finishReason: generation.finishReason === "stop" ? "stop" : "length",
      seed: generation.seed,
    };
  }
}

/**
 * 171-184, 200-206: a token of the prompt has the probability that the model gave it, the first one 0. When all prompts
 * already have the total length, Meta's code scores each row of logits against the token it was computed from; here it is
 * the next one.
 */
async function promptLogprobs(model: Model, prompt: readonly number[], signal?: AbortSignal): Promise<Token[]> {
  const first: Token = { id: prompt[0], position: 0, logprob: 0 };
  return [first, ...(await model.score(prompt, { logprobs: 0, signal }))];
}

/**
 * generation.py 233: text_completion.
 * @throws Llama2Error E_USAGE, E_CONTEXT, E_NUMERIC; the signal's reason
 */
export async function textCompletion(
  model: Model,
  prompts: readonly string[],
  options: MetaOptions = {},
): Promise<CompletionPrediction[]> {
  checkModel(model);
  checkThat("the prompts", prompts, Array.isArray(prompts), "an array of texts");
  const promptTokens = prompts.map((prompt) => model.encodePrompt(prompt));
  const predictions: CompletionPrediction[] = [];
  for await (const { text, tokens, logprobs } of completions(model, promptTokens, options)) {
    predictions.push({ generation: text, ...tokenTexts(model, tokens, logprobs) });
  }
  return predictions;
}

/**
 * generation.py 284: chat_completion. A system message comes first and becomes part of the first question; questions and
 * answers take turns, and a question is last.
 * @throws Llama2Error E_USAGE for other dialogs; E_CONTEXT, E_NUMERIC; the signal's reason
 */
export async function chatCompletion(
  model: Model,
  dialogs: readonly Dialog[],
  options: Omit<MetaOptions, "echo"> = {},
): Promise<ChatPrediction[]> {
  checkOptions(
    "chatCompletion",
    options,
    OPTIONS.filter((name) => name !== "echo"),
  );
  checkModel(model);
  checkThat("the dialogs", dialogs, Array.isArray(dialogs), "an array of dialogs");
  const promptTokens = dialogs.map((dialog) => dialogTokens(model, checkDialog(dialog)));
  const predictions: ChatPrediction[] = [];
  for await (const { index, text, tokens, logprobs } of completions(model, promptTokens, options)) {
    // 321-323, 378: a dialog with special tags is answered like any other, and the answer withheld
    const unsafe = (dialogs[index] as Dialog).some(({ content }) => SPECIAL_TAGS.some((tag) => content.includes(tag)));
    const content = unsafe ? UNSAFE_ERROR : text.replace(/^ /, "");
    predictions.push({ generation: { role: "assistant", content }, ...tokenTexts(model, tokens, logprobs) });
  }
  return predictions;
}

/** 340-361: each question and its answer from BOS to EOS, and the last question. */
function dialogTokens(model: Model, dialog: Dialog): number[] {
  const system = dialog[0].role === "system" ? dialog[0].content : "";
  const turns = dialog.filter(({ role }) => role !== "system").map(({ content }) => content);
  // 324-333: the system's message is merged before the spaces around are taken away
  if (system !== "") turns[0] = `<<SYS>>\n${system}\n<</SYS>>\n\n${turns[0]}`;
  const tokens: number[] = [];
  for (let i = 0; i < turns.length - 1; i += 2) {
    const turn = `${renderPrompt(turns[i].trim())} ${turns[i + 1].trim()} `;
    tokens.push(...model.tokenizer.encode(turn, { eos: true }));
  }
  return [...tokens, ...model.tokenizer.encode(renderPrompt((turns.at(-1) ?? "").trim()))];
}

/** @throws Llama2Error E_USAGE */
function checkModel(model: unknown): void {
  const isModel = typeof (model as Partial<Model> | null | undefined)?.generateAll === "function";
  checkThat("the model", model, isModel, "a Model");
}

/** @throws Llama2Error E_USAGE */
function checkDialog(dialog: unknown): Dialog {
  if (!Array.isArray(dialog) || dialog.length === 0) usage(`a dialog is ${show(dialog)}, expected messages`);
  for (const message of dialog as unknown[]) {
    const { content } = (message ?? {}) as { content?: unknown };
    if (typeof content !== "string") usage(`a message is ${show(message)}, expected { role, content }`);
  }
  const roles = (dialog as Dialog).map(({ role }) => role);
  const turns = roles[0] === "system" ? roles.slice(1) : roles;
  const wrong = turns.find((role, i) => role !== (i % 2 === 0 ? "user" : "assistant"));
  if (wrong !== undefined) {
    usage(
      `a message has the role ${show(wrong)} where it does not belong: system first, then user and assistant by turns`,
    );
  }
  if (turns.length % 2 === 0) usage("the last message of a dialog is not the user's");
  return dialog;
}

/** 273-281: with log-probabilities, the texts of the tokens. */
function tokenTexts(model: Model, tokens: readonly number[], logprobs: readonly Token[] | undefined) {
  if (!logprobs) return {};
  return {
    tokens: tokens.map((token) => model.tokenizer.decode([token])),
    logprobs: logprobs.map(({ logprob }) => logprob),
  };
}

/** @throws Llama2Error E_USAGE */
function checkMetaOptions(model: Model, promptTokens: unknown, options: MetaOptions): void {
  checkModel(model);
  checkThat("the prompts", promptTokens, Array.isArray(promptTokens), "an array of arrays of tokens");
  for (const tokens of promptTokens as unknown[])
    checkThat("a prompt", tokens, Array.isArray(tokens), "an array of tokens");
  checkOptions("generate", options, OPTIONS);
  const { maxGenLen, logprobs, bosEnds = false, ...rest } = options;
  if (typeof bosEnds !== "boolean") usage(`bosEnds is ${show(bosEnds)}, expected true or false`);
  checkWhole("maxGenLen", maxGenLen ?? 0, 0, 2 ** 53 - 1);
  if (logprobs !== undefined && typeof logprobs !== "boolean") {
    usage(`logprobs is ${show(logprobs)}, expected true or false`);
  }
  checkSignal(options.signal);
  checkGenerateOptions(rest, model.config);
}
