/*
 * llama2.ts in a page: what the package exports there.
 */
export { Conversation } from "../chat.ts";
export { Llama2Error } from "../errors.ts";
export { perplexity } from "../perplexity.ts";
export { loadModel } from "./loadModel.ts";
