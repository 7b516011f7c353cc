/// <reference lib="esnext.disposable" preserve="true" />
/*
 * llama2.ts: llama2.c in TypeScript. What the package exports.
 */
export type { BackendName } from "./backend/backend.js";
export type { Header } from "./checkpoint/header.js";
export { type QuantizeOptions, quantize } from "./checkpoint/quantize.js";
export type { WriteOptions } from "./checkpoint/write.js";
export { type ErrorCode, Llama2Error, type Remedy } from "./errors.js";
export type { Config } from "./llama2/transformer.js";
export { type GenerateOptions, type Generation, type LoadOptions, loadModel, type Model, type Token } from "./model.js";
export type { Timings } from "./run/protocol.js";
