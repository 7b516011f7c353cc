/*
 * The first bytes of a checkpoint: which version it is, and the shape of its model.
 *
 *   version 0  seven int32; a negative vocab_size says that the classifier is a tensor of its own
 *   version 1  256 bytes: "24ka", the version, the seven int32, and at byte 36 whether the classifier is shared
 *   version 2  the same, and at byte 37 how many numbers share a scale
 *
 * From byte 64 on, versions 1 and 2 may have the tag "eps0", rmsnorm's epsilon and RoPE's theta, which are constants in
 * llama2.c. llama2.c writes zeros there: its own values.
 */
import { Llama2Error } from "../../errors.ts";
import { bytesText } from "../../files/bytes.ts";
import { type Config, DEFAULTS } from "../../llama2/transformer.ts";
import { otherFile, tokenizerLike } from "../otherFiles.ts";

/** The contents of a header. */
export interface Header {
  version: 0 | 1 | 2;
  config: Config;
  sharedClassifier: boolean;
  groupSize: number; // numbers that share a scale in version 2; 0 in versions 0 and 1, whose numbers are float32
}

/** The bytes of a header, by version. */
export const HEADER_BYTES = [28, 256, 256] as const;

/** "24ka", with which versions 1 and 2 begin, as a number. */
const MAGIC = 0x616b3432;
/** The offsets of the fields of versions 1 and 2. The seven int32 follow the version. */
const AT = { version: 4, fields: 8, sharedClassifier: 36, groupSize: 37, tag: 64, normEps: 68, ropeTheta: 72 };
/** Marks a header that has normEps and ropeTheta. */
const TAG = "eps0";

/** A sum of more int8 products might overflow an int32. Real checkpoints stay far below. */
export const MAX_GROUP_SIZE = 2 ** 16;

/** The seven int32 in file order, under run.c's names. */
const FIELDS = ["dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len"] as const;

/** Makes the error that says why a file is not a checkpoint. */
type Refuse = (why: string) => Llama2Error;

/**
 * Read the header in `head`, the first HEAD_BYTES of the file `path`, or all of them if it has fewer.
 * @throws Llama2Error E_FORMAT, with the byte offset, what was found and what was expected
 */
export function parseHeader(head: Uint8Array, path: string): Header {
  const refuse: Refuse = (why) => new Llama2Error("E_FORMAT", `${path} is not a llama2.c checkpoint: ${why}`);

  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const other = isMagic(view) ? undefined : (otherFile(head) ?? tokenizerLike(head));
  if (other) throw refuse(other);
  const version = parseVersion(view, refuse);
  if (head.length < HEADER_BYTES[version]) {
    throw refuse(`it has ${bytesText(head.length)}, and the header alone has ${HEADER_BYTES[version]}`);
  }
  if (version === 0) {
    const vocabSize = view.getInt32(4 * FIELDS.indexOf("vocab_size"), true);
    const config = { ...parseFields(view, 0, Math.abs(vocabSize), refuse), ...DEFAULTS };
    return { version, config, sharedClassifier: vocabSize > 0, groupSize: 0 };
  }
  const vocabSize = view.getInt32(AT.fields + 4 * FIELDS.indexOf("vocab_size"), true);
  return {
    version,
    config: { ...parseFields(view, AT.fields, vocabSize, refuse), ...parseConstants(view, refuse) },
    sharedClassifier: parseSharedClassifier(view, refuse),
    groupSize: version === 2 ? parseGroupSize(view, refuse) : 0,
  };
}

/** The bytes of a header. Version 0 has no place for `normEps` and `ropeTheta`. */
export function formatHeader({ version, config: p, sharedClassifier, groupSize }: Header): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES[version]);
  const view = new DataView(bytes.buffer);
  if (version === 0) {
    const vocabSize = sharedClassifier ? p.vocabSize : -p.vocabSize;
    [p.dim, p.hiddenDim, p.nLayers, p.nHeads, p.nKvHeads, vocabSize, p.seqLen].forEach((value, i) => {
      view.setInt32(4 * i, value, true);
    });
    return bytes;
  }
  view.setUint32(0, MAGIC, true);
  view.setInt32(AT.version, version, true);
  const fields = [p.dim, p.hiddenDim, p.nLayers, p.nHeads, p.nKvHeads, p.vocabSize, p.seqLen];
  fields.forEach((value, i) => {
    view.setInt32(AT.fields + 4 * i, value, true);
  });
  view.setUint8(AT.sharedClassifier, sharedClassifier ? 1 : 0);
  view.setInt32(AT.groupSize, groupSize, true);
  if (p.normEps !== DEFAULTS.normEps || p.ropeTheta !== DEFAULTS.ropeTheta) {
    bytes.set(new TextEncoder().encode(TAG), AT.tag);
    view.setFloat32(AT.normEps, p.normEps, true);
    view.setFloat32(AT.ropeTheta, p.ropeTheta, true);
  }
  return bytes;
}

const isMagic = (view: DataView) => view.byteLength >= AT.fields && view.getUint32(0, true) === MAGIC;

/** A file without the magic number can only be version 0. */
function parseVersion(view: DataView, refuse: Refuse): 0 | 1 | 2 {
  if (!isMagic(view)) return 0;
  const version = view.getInt32(AT.version, true);
  if (version === 1 || version === 2) return version;
  throw refuse(`it says at byte ${AT.version} that it is version ${version}, and versions 0, 1 and 2 are known`);
}

/** The seven int32 that begin at byte `start`. */
function parseFields(view: DataView, start: number, vocabSize: number, refuse: Refuse) {
  const at = (field: (typeof FIELDS)[number]) => start + 4 * FIELDS.indexOf(field);
  const positive = (field: (typeof FIELDS)[number], value?: number) => {
    const found = view.getInt32(at(field), true);
    const n = value ?? found;
    if (n >= 1 && n <= 0x7fffffff) return n;
    throw refuse(`${field} at byte ${at(field)} is ${found}, expected a positive number`);
  };
  const p = {
    dim: positive("dim"),
    hiddenDim: positive("hidden_dim"),
    nLayers: positive("n_layers"),
    nHeads: positive("n_heads"),
    nKvHeads: positive("n_kv_heads"),
    vocabSize: positive("vocab_size", vocabSize),
    seqLen: positive("seq_len"),
  };
  if (p.dim % p.nHeads !== 0) {
    const bytes = `bytes ${at("dim")} and ${at("n_heads")}`;
    throw refuse(`dim ${p.dim} is not a multiple of n_heads ${p.nHeads} (${bytes})`);
  }
  if (p.nHeads % p.nKvHeads !== 0) {
    const bytes = `bytes ${at("n_heads")} and ${at("n_kv_heads")}`;
    throw refuse(`n_heads ${p.nHeads} is not a multiple of n_kv_heads ${p.nKvHeads} (${bytes})`);
  }
  const headSize = p.dim / p.nHeads;
  if (headSize % 2 !== 0) {
    const bytes = `bytes ${at("dim")} and ${at("n_heads")}`;
    throw refuse(`the head size dim / n_heads is ${headSize}, expected an even number: RoPE rotates pairs (${bytes})`);
  }
  return p;
}

function parseSharedClassifier(view: DataView, refuse: Refuse): boolean {
  const flag = view.getUint8(AT.sharedClassifier);
  if (flag <= 1) return flag === 1;
  throw refuse(`the shared-classifier flag at byte ${AT.sharedClassifier} is ${flag}, expected 0 or 1`);
}

function parseGroupSize(view: DataView, refuse: Refuse): number {
  const groupSize = view.getInt32(AT.groupSize, true);
  if (groupSize >= 1 && groupSize <= MAX_GROUP_SIZE) return groupSize;
  throw refuse(`the group size at byte ${AT.groupSize} is ${groupSize}, expected 1 to ${MAX_GROUP_SIZE}`);
}

/** rmsnorm's epsilon and RoPE's theta, which most checkpoints do not have. */
function parseConstants(view: DataView, refuse: Refuse): Pick<Config, "normEps" | "ropeTheta"> {
  const tag = String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset + AT.tag, TAG.length));
  if (tag === "\0\0\0\0") return DEFAULTS;
  if (tag !== TAG) throw refuse(`bytes ${AT.tag} to ${AT.tag + 3} are neither zeros nor "${TAG}"`);
  const orDefault = (value: number, byDefault: number) => (value === 0 ? byDefault : value);
  const normEps = orDefault(view.getFloat32(AT.normEps, true), DEFAULTS.normEps);
  if (!(normEps > 0 && normEps < 1)) {
    throw refuse(`the norm epsilon at byte ${AT.normEps} is ${normEps}, expected a number between 0 and 1`);
  }
  const ropeTheta = orDefault(view.getFloat32(AT.ropeTheta, true), DEFAULTS.ropeTheta);
  if (!(ropeTheta >= 1 && ropeTheta < Infinity)) {
    throw refuse(`the RoPE theta at byte ${AT.ropeTheta} is ${ropeTheta}, expected a number from 1 on`);
  }
  return { normEps, ropeTheta };
}
