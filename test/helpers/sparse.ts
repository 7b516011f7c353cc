/*
 * Checkpoints with a header only: the rest of the file is a hole, so it may have any size.
 */
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { tempDir } from "./temp.ts";

/** The fields of a header: dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size (< 0: untied), seq_len. */
export type Fields = readonly [number, number, number, number, number, number, number];

/**
 * A model with the tokens of the bundled one that takes about 15 ms for each on the ts backend, and whose thousand
 * tokens
 * are so not over soon. All its logits are 0: at a temperature above 0 each token is as likely as any other.
 */
export const slowFile = (): string => sparseFile([384, 1024, 8, 8, 8, 2048, 1024]);

/** How many bytes a version-0 checkpoint of these fields has. */
export function checkpointBytes(fields: Fields): bigint {
  const [dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen] = fields.map(BigInt);
  const headSize = dim / nHeads;
  const layer = 2n * dim + 2n * dim * dim + 2n * dim * headSize * nKvHeads + 3n * dim * hiddenDim;
  const tables = vocabSize < 0n ? -2n * vocabSize : vocabSize;
  return 28n + 4n * (tables * dim + nLayers * layer + dim + seqLen * headSize);
}

/** A file of `bytes` bytes that begins with a header; by default as many as the header asks for. */
export function sparseFile(fields: Fields, bytes: number | bigint = checkpointBytes(fields)): string {
  const path = join(tempDir(), "sparse.bin");
  writeSparse(path, fields, bytes);
  return path;
}

export function writeSparse(path: string, fields: Fields, bytes: number | bigint): void {
  const fd = openSync(path, "w");
  writeSync(fd, new Uint8Array(Int32Array.from(fields).buffer));
  ftruncateSync(fd, Number(bytes));
  closeSync(fd);
}
