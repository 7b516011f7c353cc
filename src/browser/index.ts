/*
 * The exports of llama2.ts for browsers.
 */
export { Llama2Error } from "../errors.ts";
export { learnGuesses } from "../learnGuesses.ts";
export * as meta from "../meta.ts";
export { perplexity } from "../perplexity.ts";
export { receiptsIn, verify } from "../receipt.ts";
export { loadModel } from "./loadModel.ts";
