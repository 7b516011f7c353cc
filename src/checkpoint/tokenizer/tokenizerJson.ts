/*
 * tokenizer.json, Hugging Face's format: the vocabulary, and the merges by priority.
 *
 * llama2.c's encoder merges the neighbours whose joint piece has the best score. If the file was made from a
 * sentencepiece model, as Llama 2's are, the order of the merges is the order of the scores.
 */

import type { PreparingTokenizer } from "../../encode.ts";
import { Llama2Error } from "../../errors.ts";
import { FIRST_BYTE, UNK } from "../../llama2/tokenizer.ts";
import { isJsonObject, type JsonObject, parseJsonObject, quoted } from "../json.ts";
import { buildFromPieces, PIECE_TYPES, type Piece, type PieceOptions } from "./pieces.ts";

/** The score of pieces that no merge makes: run.c's initial best_score. */
const NEVER = -1e10;
const MAX_TOKENS = 1_000_000;
/** sentencepiece's own pieces have at most 16 letters. */
const MAX_PIECE = 64;
/** All ways to split a piece in two are checked: 200,000 for Llama 2's 32,000 pieces. */
const MAX_SPLITS = 2_000_000;

type Refuse = (why: string) => Llama2Error;

/**
 * Read the bytes of a tokenizer.json.
 * @param name of the file, for messages
 * @throws Llama2Error E_FORMAT, also for other kinds of tokenizers, which the message explains
 */
export function parseTokenizerJson(bytes: Uint8Array, name: string): PreparingTokenizer {
  const refuse: Refuse = (why) => new Llama2Error("E_FORMAT", `${name} is not a tokenizer of Llama 2: ${why}`);
  const json = parseJsonObject(bytes, name);
  const { model } = json;
  if (!isJsonObject(model)) throw refuse("it has no model");
  checkModel(model, refuse);
  const pieces = piecesOf(model.vocab, json.added_tokens ?? [], refuse);
  scoreByMerges(pieces, model.merges, refuse);
  const idOf = (text: string) => pieces.findIndex((piece) => piece.text === text);
  return buildFromPieces(pieces, {
    unkId: idOf(typeof model.unk_token === "string" ? model.unk_token : "<unk>"),
    bosId: idOf("<s>"),
    eosId: idOf("</s>"),
    spacePrefix: spacePrefixOf(json, refuse),
    removeExtraSpaces: false,
    refuse,
  });
}

function checkModel(model: JsonObject, refuse: Refuse): void {
  if (model.type !== undefined && model.type !== "BPE")
    throw refuse(`its model is ${shown(model.type)}, expected "BPE"`);
  if (model.byte_fallback !== true) {
    throw refuse("its bytes are not pieces of their own (byte_fallback), as with GPT-2 and Llama 3");
  }
  for (const key of ["continuing_subword_prefix", "end_of_word_suffix", "dropout"]) {
    if ((model[key] ?? "") !== "" && model[key] !== 0) throw refuse(`it has a ${key}`);
  }
  if (model.ignore_merges === true) throw refuse("it finds whole words before it merges (ignore_merges)");
}

/** The pieces by their ids: of the vocabulary, and those that were added to it. */
function piecesOf(vocab: unknown, added: unknown, refuse: Refuse): Piece[] {
  if (!isJsonObject(vocab)) throw refuse("it has no vocabulary");
  if (!Array.isArray(added)) throw refuse("its added_tokens are no list");
  const pieces: Piece[] = [];
  const set = (id: unknown, text: unknown, type: number) => {
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= MAX_TOKENS) {
      throw refuse(`a token has the id ${shown(id)}`);
    }
    if (typeof text !== "string") throw refuse(`token ${id} has no text`);
    if (pieces[id] && pieces[id].text !== text) {
      throw refuse(`token ${id} is both ${quoted(pieces[id].text)} and ${quoted(text)}`);
    }
    pieces[id] = { text, score: NEVER, type };
  };
  for (const [text, id] of Object.entries(vocab)) {
    const byte = typeof id === "number" ? id - FIRST_BYTE : -1;
    const isByte = byte >= 0 && byte < 256 && /^<0x[0-9A-F]{2}>$/.test(text);
    set(id, text, isByte ? PIECE_TYPES.byte : id === UNK ? PIECE_TYPES.unknown : PIECE_TYPES.normal);
  }
  for (const token of added) {
    if (!isJsonObject(token)) throw refuse("one of its added_tokens is not an object");
    set(token.id, token.content, token.special === true ? PIECE_TYPES.control : PIECE_TYPES.userDefined);
  }
  const missing = Array.from(pieces).indexOf(undefined as unknown as Piece);
  if (missing !== -1) throw refuse(`there is no token ${missing}, and there are higher ones`);
  return pieces;
}

/**
 * Give each piece a score, so that merging by scores is merging in this order.
 * @throws Llama2Error E_FORMAT for an order that scores cannot express
 */
function scoreByMerges(pieces: Piece[], merges: unknown, refuse: Refuse): void {
  if (!Array.isArray(merges)) throw refuse("it has no merges");
  const ids = new Map(pieces.map(({ text }, id) => [text, id]));
  const pairs = new Set<string>();
  let last = -1;
  merges.forEach((merge, rank) => {
    const [left, right, rest] = typeof merge === "string" ? merge.split(" ") : Array.isArray(merge) ? merge : [];
    if (typeof left !== "string" || typeof right !== "string" || rest !== undefined)
      throw refuse(`merge ${rank} is not a pair`);
    const id = ids.get(left + right);
    if (id === undefined || !ids.has(left) || !ids.has(right)) {
      throw refuse(`merge ${rank} is of ${quoted(left)} and ${quoted(right)}, which are no pieces together`);
    }
    if (id !== last && pieces[id].score !== NEVER)
      throw refuse(`${quoted(left + right)} is merged with two priorities`);
    if ((left + right).length > MAX_PIECE) throw refuse(`a piece has more than ${MAX_PIECE} letters`);
    if (id !== last) pieces[id].score = -rank;
    last = id;
    pairs.add(`${left} ${right}`);
  });
  const splits = pieces.reduce((sum, { text, score }) => sum + (score === NEVER ? 0 : text.length - 1), 0);
  if (splits > MAX_SPLITS)
    throw refuse(`its pieces can be taken apart in ${splits} ways, expected ${MAX_SPLITS} at most`);
  for (const { text, score } of pieces) {
    // by scores, every pair that makes a piece is merged
    for (let i = 1; i < text.length && score !== NEVER; i++) {
      const [left, right] = [text.slice(0, i), text.slice(i)];
      if (ids.has(left) && ids.has(right) && !pairs.has(`${left} ${right}`)) {
        throw refuse(`${quoted(left)} and ${quoted(right)} are not merged, though ${quoted(text)} is a piece`);
      }
    }
  }
}

/**
 * Whether a space is put before the text. Llama's tokenizers say it in one of two ways: a normalizer that prepends U+2581
 * and replaces spaces by it, or Metaspace.
 * @throws Llama2Error E_FORMAT for anything else, which would change the text
 */
function spacePrefixOf({ normalizer, pre_tokenizer }: JsonObject, refuse: Refuse): PieceOptions["spacePrefix"] {
  const steps =
    isJsonObject(normalizer) && normalizer.type === "Sequence" ? normalizer.normalizers : [normalizer ?? []].flat();
  if (!Array.isArray(steps)) throw refuse("its normalizer is not valid");
  let prefix: PieceOptions["spacePrefix"] = "never";
  let spaces = false;
  for (const step of steps) {
    const type = isJsonObject(step) ? step.type : undefined;
    if (isJsonObject(step) && type === "Prepend" && step.prepend === "\u2581") prefix = "always";
    else if (isJsonObject(step) && type === "Replace" && replacesSpaces(step)) spaces = true;
    else throw refuse(`its normalizer ${shown(type)} is not known`);
  }
  if (pre_tokenizer === undefined || pre_tokenizer === null) {
    if (!spaces) throw refuse("it does not say how spaces are written");
    return prefix;
  }
  const {
    type,
    replacement,
    prepend_scheme: scheme = "always",
    split,
  } = isJsonObject(pre_tokenizer) ? pre_tokenizer : {};
  if (type !== "Metaspace" || replacement !== "\u2581" || split !== false || spaces) {
    throw refuse(`its pre_tokenizer ${shown(type)} is not known, or splits words`);
  }
  return scheme === "never" ? prefix : "unlessSpace";
}

const replacesSpaces = ({ pattern, content }: JsonObject): boolean =>
  isJsonObject(pattern) && pattern.String === " " && content === "\u2581";

const shown = (value: unknown): string =>
  typeof value === "string" ? quoted(value) : typeof value === "object" ? "an object" : String(value);
