/// <reference lib="esnext.disposable" preserve="true" />
/*
 * llama2.ts: llama2.c in TypeScript. What the package exports.
 */
export { Conversation, type ConversationOptions } from "./chat.ts";
export type { Header } from "./checkpoint/llama2c/header.ts";
export type { WriteOptions } from "./checkpoint/llama2c/write.ts";
export { type Converted, type ConvertOptions, convert, type Proof } from "./convert.ts";
export { type ErrorCode, Llama2Error, type Remedy } from "./errors.ts";
export type { BestCandidate, GenerateOptions, Generation, Timings, Token } from "./generation.ts";
export { type Inspection, inspect } from "./inspect.ts";
export type { Config } from "./llama2/transformer.ts";
export { loadModel } from "./loadModel.ts";
export type { BackendName, LoadOptions } from "./loadOptions.ts";
export type { Model, TokenIds } from "./model.ts";
export type { ModelInfo } from "./modelInfo.ts";
export { type PerplexityOptions, type PerplexityReport, perplexity } from "./perplexity.ts";
export { type QuantizeOptions, quantize } from "./quantize.ts";
export { loadTokenizer, type TextTokenizer } from "./tokens.ts";
export { ablation } from "./trace/ablate.ts";
export { diff, type StopDiff, type TraceDiff } from "./trace/diff.ts";
export { type Explanation, explain, type Factor, type Ref, type Term } from "./trace/explain.ts";
export { npz, type StopJson, stopJson } from "./trace/export.ts";
export { lensAt, type Share, sharesOf } from "./trace/lens.ts";
export type { Sampling, TracedModel } from "./trace/model.ts";
export { type OpenOptions, openTrace } from "./trace/open.ts";
export type { Hook, HookPlace, Hooks, Pass, Stop, Tensor, TracedRun } from "./trace/run.ts";
export { type Place, STOPS, type StopId, type StopKind } from "./trace/stops.ts";
export { type Why, why } from "./trace/why.ts";
