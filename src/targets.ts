/*
 * Names and limits of what can be written. Apart from the code that writes it, so that parsing arguments loads little.
 */
export { MAX_GROUP_SIZE } from "./checkpoint/llama2c/header.ts";
export { MAX_GUESS_BYTES, MAX_LONGEST } from "./run/guessFile.ts";

/** What a model can be converted to. */
export const TARGETS = ["v0", "v1", "v2", "safetensors"] as const;
export type Target = (typeof TARGETS)[number];
