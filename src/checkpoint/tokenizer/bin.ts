/*
 * llama2.c's tokenizer.bin: uint32 longest piece, then for each token float32 score, int32 length, bytes. The number of
 * tokens is not stored.
 */
import { Llama2Error } from "../../errors.ts";
import { bytesText } from "../../files/bytes.ts";
import { buildTokenizer, EOS, type Tokenizer } from "../../llama2/tokenizer.ts";

/**
 * The tokenizer in the bytes of the file `path`.
 * @throws Llama2Error E_FORMAT, with the byte offset
 */
export function parseTokenizer(bytes: Uint8Array, path: string): Tokenizer {
  const refuse = (why: string) => new Llama2Error("E_FORMAT", `${path} is not a tokenizer of llama2.c: ${why}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let tokens = 0;
  for (let at = 4; at < bytes.length; tokens++) {
    if (at + 8 > bytes.length) throw refuse(`it ends within token ${tokens}, at byte ${bytes.length}`);
    const length = view.getInt32(at + 4, true);
    if (length < 0) throw refuse(`token ${tokens} at byte ${at + 4} has the length ${length}`);
    if (at + 8 + length > bytes.length) {
      throw refuse(
        `token ${tokens} at byte ${at + 4} has the length ${length}, but only ${bytesText(bytes.length - at - 8)} follow`,
      );
    }
    at += 8 + length;
  }
  if (tokens <= EOS) {
    throw refuse(`it has ${tokens} tokens in ${bytesText(bytes.length)}, expected unknown, BOS and EOS at least`);
  }
  return buildTokenizer(bytes, tokens);
}

/** The bytes of a tokenizer.bin with the first `count` pieces of a tokenizer, as llama2.c's exporter writes it. */
export function formatTokenizer({ vocab, vocabScores, maxTokenLength }: Tokenizer, count: number): Uint8Array {
  const pieces = vocab.slice(0, count);
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + 8 + piece.length, 4));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, maxTokenLength, true);
  let at = 4;
  pieces.forEach((piece, id) => {
    view.setFloat32(at, vocabScores[id], true);
    view.setInt32(at + 4, piece.length, true);
    for (let i = 0; i < piece.length; i++) bytes[at + 8 + i] = piece.charCodeAt(i);
    at += 8 + piece.length;
  });
  return bytes;
}

/**
 * How many rows of a model may have no piece: vocabularies are padded to round numbers, and have room for added tokens.
 */
const paddingOf = (vocabSize: number): number => Math.max(64, Math.floor(vocabSize / 100));

/** Whether a tokenizer fits a model with this vocabulary size, which may have padding rows. */
export const fitsPadded = ({ vocabSize: found }: Tokenizer, vocabSize: number): boolean =>
  found <= vocabSize && vocabSize - found <= paddingOf(vocabSize);

/** The same tokenizer with empty pieces for the model's padding rows. */
export function padded(tokenizer: Tokenizer, vocabSize: number): Tokenizer {
  if (tokenizer.vocabSize === vocabSize) return tokenizer;
  const vocab = [...tokenizer.vocab];
  const scores = new Float32Array(vocabSize);
  scores.set(tokenizer.vocabScores);
  while (vocab.length < vocabSize) vocab.push("");
  return { ...tokenizer, vocab, vocabScores: scores, vocabSize };
}

/** @throws Llama2Error E_FORMAT if the tokenizer at `path` is not as large as the model's vocabulary */
export function checkVocabSize(tokenizer: Tokenizer, path: string, vocabSize: number): void {
  if (fitsPadded(tokenizer, vocabSize)) return;
  throw new Llama2Error(
    "E_FORMAT",
    `${path} has ${tokenizer.vocabSize} tokens, but the model's vocabulary has ${vocabSize}: it belongs to another model`,
  );
}
