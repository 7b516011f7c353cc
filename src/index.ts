/// <reference lib="esnext.disposable" preserve="true" />
/*
 * llama2.ts: llama2.c in TypeScript. What the package exports.
 */
export { type BenchOptions, bench } from "./bench/bench.ts";
export type { Bandwidth, BenchResult, Row, Spread } from "./bench/result.ts";
export type { Chat, ChatOptions, SavedChat } from "./chat.ts";
export type { Message } from "./chatTemplate.ts";
export type { Header } from "./checkpoint/llama2c/header.ts";
export type { WriteOptions } from "./checkpoint/llama2c/write.ts";
export { type Converted, type ConvertOptions, convert, type Proof } from "./convert.ts";
export { type Check, type DiagnosedBackend, type Diagnosis, doctor } from "./doctor.ts";
export { type ErrorCode, Llama2Error, type Remedy } from "./errors.ts";
export { type Fit, type FitOptions, type Fitting, fit, type Need, type Place as FitPlace } from "./fit.ts";
export type { GenerateAllOptions, GenerateAllResult } from "./generateAll.ts";
export type { GenerateOptions, Token } from "./generateOptions.ts";
export type { BestCandidate, Chunk, Generation, Timings, Usage } from "./generation.ts";
export { type Inspection, inspect } from "./inspect.ts";
export { type LearnedGuesses, type LearnGuessesOptions, learnGuesses } from "./learnGuesses.ts";
export type { Config } from "./llama2/transformer.ts";
export { loadModel } from "./loadModel.ts";
export type { BackendName, LoadOptions } from "./loadOptions.ts";
export type { LookaheadCounts } from "./lookaheadCounts.ts";
export * as meta from "./meta.ts";
export type { Model, Prompt, TokenIds } from "./model.ts";
export type { ModelInfo } from "./modelInfo.ts";
export { type PerplexityOptions, type PerplexityReport, perplexity } from "./perplexity.ts";
export { type QuantizeOptions, quantize } from "./quantize.ts";
export { type Difference, type Hashes, type Receipt, receiptsIn, type Verification, verify } from "./receipt.ts";
export type { Alternative } from "./run/protocol.ts";
export type { TextTokenizer, TokenDecoder } from "./textTokenizer.ts";
export { loadTokenizer } from "./tokens.ts";
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
