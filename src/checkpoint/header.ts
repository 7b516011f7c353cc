/*
 * The first bytes of a checkpoint: which version it is, and the shape of its model.
 */
import { Llama2Error } from "../errors.js";
import { type Config, DEFAULTS } from "../llama2/transformer.js";
import { bytesText } from "./file.js";

/** What a version-0 header says. */
export interface Header {
  config: Config;
  sharedClassifier: boolean;
}

/** Bytes of the version-0 header: seven int32. */
export const HEADER_BYTES = 28;
/** The most bytes that `parseHeader` looks at. */
export const HEAD_BYTES = 256;

/** "ak42", with which version 1 and 2 begin. */
const MAGIC = 0x616b3432;

/** The header's fields in file order, under run.c's names. */
const FIELDS = ["dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len"] as const;

/**
 * Read the header in `head`, the first 256 bytes of the file `path`, or all of them if it has fewer.
 * @throws Llama2Error E_FORMAT, with the byte offset, what was found and what was expected
 */
export function parseHeader(head: Uint8Array, path: string): Header {
  const refuse = (why: string) => new Llama2Error("E_FORMAT", `${path} is not a llama2.c checkpoint: ${why}`);

  const other = recognise(head);
  if (other) throw refuse(other);
  if (head.length < HEADER_BYTES) {
    throw refuse(`it has ${bytesText(head.length)}, and the header alone has ${HEADER_BYTES}`);
  }
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if (view.getUint32(0, true) === MAGIC) throw otherVersion(view.getInt32(4, true), path);

  const int32 = (field: (typeof FIELDS)[number]) => view.getInt32(4 * FIELDS.indexOf(field), true);
  const positive = (field: (typeof FIELDS)[number], value = int32(field)) => {
    if (value >= 1 && value <= 0x7fffffff) return value;
    throw refuse(`${field} at byte ${4 * FIELDS.indexOf(field)} is ${int32(field)}, expected a positive number`);
  };
  const p: Config = {
    dim: positive("dim"),
    hiddenDim: positive("hidden_dim"),
    nLayers: positive("n_layers"),
    nHeads: positive("n_heads"),
    nKvHeads: positive("n_kv_heads"),
    vocabSize: positive("vocab_size", Math.abs(int32("vocab_size"))),
    seqLen: positive("seq_len"),
    ...DEFAULTS,
  };
  const divides = (what: string, a: number, by: string, b: number) => {
    if (a % b !== 0) throw refuse(`${what} ${a} is not a multiple of ${by} ${b}`);
  };
  divides("dim", p.dim, "n_heads", p.nHeads);
  divides("n_heads", p.nHeads, "n_kv_heads", p.nKvHeads);
  divides("the head size dim / n_heads =", p.dim / p.nHeads, "RoPE's pair,", 2);
  // a negative vocabulary size is version 0's way to say that the classifier is a tensor of its own
  return { config: p, sharedClassifier: int32("vocab_size") > 0 };
}

/** Say what a file is that cannot be a checkpoint at all. */
function recognise(head: Uint8Array): string | undefined {
  const text = String.fromCharCode(...head);
  if (head.length === 0) return "it is empty";
  if (text.startsWith("version https://git-lfs")) {
    return "it is a Git LFS pointer, which stands for the real file. `git lfs pull` fetches that";
  }
  if (/^\s*<(!doctype|html|head|\?xml)/i.test(text)) {
    return "it is an HTML page, probably what a download page answered in place of the file";
  }
  if (text.startsWith("GGUF")) return "it is a GGUF file, which belongs to llama.cpp";
  if (text.startsWith("PK\x03\x04"))
    return "it is a zip file, probably a PyTorch checkpoint (export.py converts those)";
  return undefined;
}

/** Version 1 and 2 are good checkpoints, but not ones that can be read yet. */
function otherVersion(version: number, path: string): Llama2Error {
  const known: Record<number, string> = {
    1: "a version 1 checkpoint (float32 with a longer header)",
    2: "a version 2 checkpoint (int8, Q8_0)",
  };
  const found = known[version] ?? `a checkpoint of unknown version ${version}`;
  return new Llama2Error(
    "E_FORMAT",
    `${path} is ${found}, and this release reads version 0 only. \`export.py --version 0\` of llama2.c writes that`,
  );
}
