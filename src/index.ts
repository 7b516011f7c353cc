/// <reference lib="esnext.disposable" preserve="true" />
/*
 * llama2.ts: llama2.c in TypeScript. What the package exports.
 */
export type { BackendName } from "./backend/backend.ts";
export { Conversation, type ConversationOptions } from "./chat.ts";
export type { Header } from "./checkpoint/llama2c/header.ts";
export type { WriteOptions } from "./checkpoint/llama2c/write.ts";
export { type QuantizeOptions, quantize } from "./checkpoint/quantize.ts";
export { type Converted, type ConvertOptions, convert } from "./convert.ts";
export { type ErrorCode, Llama2Error, type Remedy } from "./errors.ts";
export type { BestCandidate, GenerateOptions, Generation, Token } from "./generation.ts";
export { type Inspection, inspect } from "./inspect.ts";
export type { Config } from "./llama2/transformer.ts";
export { type LoadOptions, loadModel } from "./loadModel.ts";
export type { Model, TokenIds } from "./model.ts";
export type { ModelInfo } from "./modelInfo.ts";
export { type PerplexityOptions, type PerplexityReport, perplexity } from "./perplexity.ts";
export type { Timings } from "./run/protocol.ts";
export { loadTokenizer, type TextTokenizer } from "./tokens.ts";
