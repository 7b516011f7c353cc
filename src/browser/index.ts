/*
 * llama2.ts in a page: what the package exports there.
 */
export { Llama2Error } from "../errors.ts";
export { learnGuesses } from "../learnGuesses.ts";
export * as meta from "../meta.ts";
export { perplexity } from "../perplexity.ts";
export { receiptsIn, verify } from "../receipt.ts";
export { loadModel } from "./loadModel.ts";
