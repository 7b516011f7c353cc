/*
 * Receipts: what a text was made from, so that anybody can make it again and compare. On exact backends the result is the
 * same on every machine, bit for bit.
 */
import { checkOptions, checkSignal, checkThat, show, usage } from "./check.ts";
import { Llama2Error } from "./errors.ts";
import type { GenerateOptions } from "./generateOptions.ts";
import type { Generation, Run } from "./generation.ts";
import { BOS, EOS } from "./llama2/tokenizer.ts";
import type { Config } from "./llama2/transformer.ts";
import type { ModelInfo } from "./modelInfo.ts";
import { Sha256, sha256 } from "./sha256.ts";

/** The model of a receipt. */
export interface Replayer {
  readonly backend: string;
  readonly config: Readonly<Config>;
  readonly info: Readonly<ModelInfo>;
  generate(prompt: readonly number[], options: GenerateOptions): Generation;
  logits(tokens: readonly number[], options: { batch: boolean; signal?: AbortSignal }): AsyncGenerator<Float32Array>;
}

/** What a text was made from. Hashes are sha256, in lower-case hex; 64-bit numbers are text. */
export interface Receipt {
  receipt: 1;
  /** Of the model's file; of several files, of the lines `NAME SHA256`, sorted by name. */
  model: string;
  /** Of the tokenizer's file; the model's, if the tokenizer is inside it. Absent if no tokenizer was used. */
  tokenizer?: string;
  precision: "fp32" | "fp16" | "int8";
  context: number;
  promptTokens: number[];
  seed: string;
  temperature: number;
  topP: number;
  topK?: number;
  minP?: number;
  repetitionPenalty?: number;
  /** The limit of new tokens. */
  maxTokens: number;
  /** The tokens that end it. */
  stops: number[];
  /** All tokens, the prompt's first. */
  tokens: number[];
  /** Of the tokens as little-endian int32. */
  tokensSha256: string;
  /** Of the logits of every position read, as little-endian float32: what `llama2 logits` writes. */
  logitsSha256?: string;
  /** The first 16 digits of each row's hash. */
  logitsRows?: string[];
}

/** Of a model and its tokenizer, as receipts have them. */
export interface Hashes {
  model: string;
  tokenizer?: string;
}

/** Where a text that was made again first differs. */
export interface Difference {
  position: number;
  what: "token" | "logits" | "tokensSha256" | "logitsSha256";
  expected: string | number | null;
  got: string | number | null;
}

export interface Verification {
  same: boolean;
  /** How many tokens the receipt has. */
  tokens: number;
  firstDifference?: Difference;
}

/**
 * The receipt of a text.
 * @param hashes of the model and its tokenizer
 * @param logits whether to hash the logits too, by reading all tokens again
 */
export async function makeReceipt(
  model: Replayer,
  run: Run,
  hashes: Hashes,
  { logits = false, signal }: { logits?: boolean; signal?: AbortSignal } = {},
): Promise<Receipt> {
  const { sampling } = run;
  const receipt: Receipt = {
    receipt: 1,
    ...hashes,
    precision: model.info.precision,
    context: model.config.seqLen,
    promptTokens: [...run.promptTokens],
    seed: `${sampling.state}`,
    temperature: sampling.temperature,
    topP: sampling.topP,
    ...(sampling.topK !== undefined && { topK: sampling.topK }),
    ...(sampling.minP !== undefined && { minP: sampling.minP }),
    ...(sampling.repetitionPenalty !== undefined && { repetitionPenalty: sampling.repetitionPenalty }),
    maxTokens: run.maxTokens,
    stops: [...run.stops],
    tokens: [...run.tokens],
    tokensSha256: hashOfTokens(run.tokens),
  };
  if (!logits) return receipt;
  const { all, rows } = await hashLogits(model, run, signal);
  return { ...receipt, logitsSha256: all, logitsRows: rows };
}

/**
 * Make a text again, and compare.
 * @param model the one that the receipt names: see `receipt.model` and `model.hashes()`
 * @throws Llama2Error E_USAGE for a backend that is not exact, or a model loaded with another precision or a shorter
 *   context; the signal's reason
 */
export async function verify(
  receipt: Receipt,
  model: Replayer,
  options: { signal?: AbortSignal } = {},
): Promise<Verification> {
  checkOptions("verify", options, ["signal"]);
  checkSignal(options.signal);
  const isModel = typeof (model as Partial<Replayer> | null | undefined)?.generate === "function";
  checkThat("the model", model, isModel, "a Model");
  const expected = parseReceipt(receipt);
  checkModel(expected, model);
  const tokens = expected.tokens.length;
  const firstDifference = await firstDifferenceOf(expected, model, options.signal);
  return firstDifference ? { same: false, tokens, firstDifference } : { same: true, tokens };
}

async function firstDifferenceOf(
  receipt: Receipt,
  model: Replayer,
  signal?: AbortSignal,
): Promise<Difference | undefined> {
  const { temperature, topP, topK, minP, repetitionPenalty, maxTokens, stops, seed } = receipt;
  const sampling = { temperature, topP, topK, minP, repetitionPenalty, seed: BigInt(seed) };
  const eos = stops.includes(BOS) && stops.includes(EOS);
  const stop = eos ? stops.filter((token) => token !== BOS && token !== EOS) : stops;
  const again = model.generate(receipt.promptTokens, { ...sampling, maxTokens, stop, eos, signal });
  for await (const _ of again.slices()); // the generation keeps them
  for (let position = 0; position < Math.max(receipt.tokens.length, again.tokens.length); position++) {
    const [expected, got] = [receipt.tokens[position] ?? null, again.tokens[position] ?? null];
    if (expected !== got) return { position, what: "token", expected, got };
  }
  const position = receipt.tokens.length;
  const hash = hashOfTokens(again.tokens);
  if (hash !== receipt.tokensSha256) {
    return { position, what: "tokensSha256", expected: receipt.tokensSha256, got: hash };
  }
  if (receipt.logitsSha256 === undefined && receipt.logitsRows === undefined) return undefined;
  const { all, rows } = await hashLogits(model, again.run(), signal);
  for (let row = 0; row < Math.max(rows.length, receipt.logitsRows?.length ?? 0); row++) {
    const [expected, got] = [receipt.logitsRows ? (receipt.logitsRows[row] ?? null) : rows[row], rows[row] ?? null];
    if (expected !== got) return { position: row, what: "logits", expected, got };
  }
  if (receipt.logitsSha256 === undefined || all === receipt.logitsSha256) return undefined;
  return { position: rows.length, what: "logitsSha256", expected: receipt.logitsSha256, got: all };
}

function checkModel(receipt: Receipt, model: Replayer): void {
  if (model.backend === "cuda") {
    usage("the cuda backend does not have llama2.c's bits, so it can verify nothing: use cpu, wasm or ts");
  }
  const { precision } = model.info;
  if (precision !== receipt.precision) {
    usage(`the receipt is of the precision ${receipt.precision}, and the model was loaded as ${precision}`);
  }
  if (model.config.seqLen < receipt.tokens.length - 1) {
    usage(`the receipt has ${receipt.tokens.length} tokens, and the model's context ${model.config.seqLen} positions`);
  }
  const { vocabSize } = model.config;
  for (const id of [...receipt.promptTokens, ...receipt.stops]) {
    if (id >= vocabSize) usage(`the receipt has the token ${id}, and the model ${vocabSize} of them`);
  }
}

/**
 * The hash of the logits of every position read: of all rows together, and of each row.
 */
async function hashLogits(model: Replayer, { tokens, positions }: Run, signal?: AbortSignal) {
  const all = new Sha256();
  const rows: string[] = [];
  const { vocabSize } = model.config;
  for await (const some of model.logits(tokens.slice(0, positions), { batch: true, signal })) {
    for (let row = 0; row < some.length; row += vocabSize) {
      const bytes = littleEndian(some.subarray(row, row + vocabSize));
      all.update(bytes);
      rows.push(sha256(bytes).slice(0, 16));
    }
  }
  return { all: all.hex(), rows };
}

const hashOfTokens = (tokens: readonly number[]) => sha256(littleEndian(Int32Array.from(tokens)));

/** All machines that run JavaScript today are little-endian, and the kernels are for no other. */
const littleEndian = (numbers: Int32Array | Float32Array) =>
  new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);

/**
 * All receipts in a JSON value, at any depth.
 * @throws Llama2Error E_FORMAT if there is none, or one is invalid
 */
export function receiptsIn(value: unknown): Receipt[] {
  const found: Receipt[] = [];
  const look = (value: unknown, depth: number): void => {
    if (typeof value !== "object" || value === null || depth > 20) return;
    if ((value as Partial<Receipt>).receipt === 1) found.push(parseReceipt(value));
    else for (const inner of Object.values(value)) look(inner, depth + 1);
  };
  look(value, 0);
  return found;
}

const isHash = (value: unknown) => typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
const isWhole = (value: unknown) => Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 31;
const isShare = (value: unknown) => typeof value === "number" && value >= 0 && value <= 1;
const isTokens = (value: unknown) => Array.isArray(value) && value.length < 2 ** 24 && value.every(isWhole);
const maybe = (check: (value: unknown) => boolean) => (value: unknown) => value === undefined || check(value);

/** What each field must be. */
const FIELDS: Record<keyof Receipt, (value: unknown) => boolean> = {
  receipt: (value) => value === 1,
  model: isHash,
  tokenizer: maybe(isHash),
  precision: (value) => value === "fp32" || value === "fp16" || value === "int8",
  context: isWhole,
  promptTokens: (value) => isTokens(value) && (value as number[]).length > 0,
  seed: (value) => typeof value === "string" && /^[1-9]\d{0,19}$/.test(value) && BigInt(value) < 2n ** 64n,
  temperature: (value) => typeof value === "number" && value >= 0 && value < Infinity,
  topP: isShare,
  topK: maybe(isWhole),
  minP: maybe(isShare),
  repetitionPenalty: maybe((value) => typeof value === "number" && value > 0 && value < Infinity),
  maxTokens: isWhole,
  stops: isTokens,
  tokens: isTokens,
  tokensSha256: isHash,
  logitsSha256: maybe(isHash),
  logitsRows: maybe(
    (value) => Array.isArray(value) && value.every((row) => typeof row === "string" && /^[0-9a-f]{16}$/.test(row)),
  ),
};

/** @throws Llama2Error E_FORMAT for an invalid receipt */
export function parseReceipt(value: unknown): Receipt {
  const refuse = (why: string) => new Llama2Error("E_FORMAT", `this is no receipt: ${why}`);
  if (typeof value !== "object" || value === null) throw refuse(`it is ${show(value)}, expected an object`);
  for (const [field, check] of Object.entries(FIELDS)) {
    const found = Object.hasOwn(value, field) ? (value as Record<string, unknown>)[field] : undefined;
    if (!check(found)) throw refuse(`its field ${field} is ${show(found)}`);
  }
  return value as Receipt;
}
