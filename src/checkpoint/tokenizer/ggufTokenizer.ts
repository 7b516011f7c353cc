/*
 * The tokenizer inside a GGUF file.
 */

import type { PreparingTokenizer } from "../../encode.ts";
import { Llama2Error } from "../../errors.ts";
import type { GgufValue } from "../gguf.ts";
import { quoted } from "../json.ts";
import { buildFromPieces, PIECE_TYPES } from "./pieces.ts";

/**
 * The tokenizer in the values of a GGUF file, or undefined if it has none.
 * @param name of the file, for messages
 * @throws Llama2Error E_FORMAT, for other kinds by name
 */
export function ggufTokenizer(values: ReadonlyMap<string, GgufValue>, name: string): PreparingTokenizer | undefined {
  const refuse = (why: string) => new Llama2Error("E_FORMAT", `the tokenizer in ${name} cannot be used: ${why}`);
  const kind = values.get("tokenizer.ggml.model");
  if (kind === undefined || kind === "none" || kind === "no_vocab") return undefined;
  if (kind !== "llama") {
    throw refuse(
      `it is of the kind ${typeof kind === "string" ? quoted(kind) : "?"}, and "llama" (sentencepiece) is supported`,
    );
  }
  const list = (key: string) => {
    const value = values.get(`tokenizer.ggml.${key}`);
    if (value === undefined) return undefined;
    if (typeof value === "object" && value.values) return value.values;
    throw refuse(`${key} is not a list`);
  };
  const tokens = list("tokens");
  if (!tokens) throw refuse("it has no tokens");
  const scores = list("scores");
  const types = list("token_type");
  if (!scores) throw refuse("it has no scores");
  if (scores.length !== tokens.length || (types && types.length !== tokens.length)) {
    throw refuse(`it has ${tokens.length} tokens, ${scores.length} scores and ${types?.length ?? 0} types`);
  }
  const pieces = tokens.map((text, id) => {
    const score = scores[id];
    const type = types ? types[id] : PIECE_TYPES.normal;
    if (typeof text !== "string" || typeof score !== "number" || typeof type !== "number") {
      throw refuse(`token ${id} is not a text with a score and a type`);
    }
    return { text, score, type };
  });
  const id = (key: string, byDefault: number) => Number(values.get(`tokenizer.ggml.${key}_token_id`) ?? byDefault);
  return buildFromPieces(pieces, {
    unkId: id("unknown", 0),
    bosId: id("bos", 1),
    eosId: id("eos", 2),
    spacePrefix: values.get("tokenizer.ggml.add_space_prefix") === false ? "never" : "always",
    removeExtraSpaces: false,
    refuse,
  });
}
