/*
 * Writes a Hugging Face folder: config.json and model.safetensors. It contains no code, whatever the source was.
 */
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { Llama2Error } from "../errors.ts";
import { OutputFile } from "../files/outputFile.ts";
import { reasonOf } from "../files/reasons.ts";
import { dequantize } from "../llama2/quantize.ts";
import type { Config } from "../llama2/transformer.ts";
import { groupSizeOf, isVector, type Piece, type TensorName, tensorsOf, type WeightSource } from "../llama2/weights.ts";
import { leastCommonMultiple } from "./int8.ts";
import type { WriteOptions } from "./llama2c/write.ts";
import { HUGGING_FACE, nameOf } from "./names.ts";
import { NUMBER_BYTES, type NumberType } from "./stored.ts";

interface Placed {
  tensor: TensorName;
  layer: number;
  d: number;
  n: number;
  offset: number;
}

/**
 * Write the weights to the folder `out`, which must not exist or be empty, as a whole or not at all.
 * @param type of the numbers. F16 and BF16 only if all weights are such numbers: nothing is rounded
 * @throws Llama2Error E_FILE; what the source throws; the signal's reason
 */
export async function writeHuggingFace(
  out: string,
  source: WeightSource,
  type: NumberType,
  { onProgress, signal }: WriteOptions = {},
): Promise<void> {
  if (existsSync(out) && !isEmptyFolder(out)) {
    throw new Llama2Error("E_FILE", `cannot write ${out}: it is there already. Name a new folder`);
  }
  const part = `${out.replace(/[/\\]+$/, "")}.${randomUUID().slice(0, 8)}.part`;
  attempt(out, () => mkdirSync(part));
  try {
    const { header, placed, bytes } = layout(source, type);
    const file = new OutputFile(join(part, "model.safetensors"));
    try {
      file.write(header, 0);
      let written = header.length;
      for (const place of placed) {
        for await (const piece of source.pieces(place.tensor, place.layer, unitOf(source, place))) {
          const values = floatsOf(piece, source, place.tensor);
          writeRows(file, header.length, place, piece.offset, values, source.config, type);
          written += values.length * NUMBER_BYTES[type];
          onProgress?.(written, header.length + bytes);
          await setImmediate();
          signal?.throwIfAborted();
        }
      }
      file.finish();
    } catch (error) {
      file.discard();
      throw error;
    }
    attempt(out, () => {
      writeFileSync(join(part, "config.json"), `${JSON.stringify(configOf(source, type), null, 2)}\n`);
      if (existsSync(out)) rmdirSync(out);
      renameSync(part, out);
    });
  } catch (error) {
    rmSync(part, { recursive: true, force: true });
    throw error;
  }
}

function isEmptyFolder(path: string): boolean {
  try {
    return readdirSync(path).length === 0;
  } catch {
    return false;
  }
}

function attempt<T>(out: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof Llama2Error) throw error;
    throw new Llama2Error("E_FILE", `cannot write ${out}: ${reasonOf(error as NodeJS.ErrnoException)}`);
  }
}

/** The header of the safetensors file, and the place of each tensor after it. */
function layout(source: WeightSource, type: NumberType): { header: Uint8Array; placed: Placed[]; bytes: number } {
  const placed: Placed[] = [];
  const entries: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let at = 0;
  for (const { name: tensor, layers, d, n } of tensorsOf(source)) {
    for (let layer = 0; layer < layers; layer++) {
      const bytes = d * n * NUMBER_BYTES[type];
      const shape = isVector(tensor) ? [n] : [d, n];
      entries[nameOf(HUGGING_FACE, tensor, layer)] = { dtype: type, shape, data_offsets: [at, at + bytes] };
      placed.push({ tensor, layer, d, n, offset: at });
      at += bytes;
    }
  }
  const json = new TextEncoder().encode(JSON.stringify(entries));
  const length = 8 * Math.ceil(json.length / 8); // filled up with spaces, so that the numbers are aligned
  const header = new Uint8Array(8 + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(json, 8);
  return { header, placed, bytes: at };
}

/** Pieces have whole rows and whole groups. */
const unitOf = (source: WeightSource, { tensor, n }: Placed): number =>
  leastCommonMultiple(n, Math.max(1, groupSizeOf(source.formatOf(tensor))));

function floatsOf(piece: Piece, source: WeightSource, tensor: TensorName): Float32Array {
  if ("values" in piece) return piece.values;
  const values = new Float32Array(piece.q.length);
  dequantize({ q: piece.q, s: piece.scales, groupSize: groupSizeOf(source.formatOf(tensor)) }, values, 0);
  return values;
}

/** Write rows of a tensor that begin at number `offset`. Rows of q and k go to Hugging Face's order. */
function writeRows(
  file: OutputFile,
  start: number,
  { tensor, n, d, offset: place }: Placed,
  offset: number,
  values: Float32Array,
  config: Config,
  type: NumberType,
): void {
  const size = NUMBER_BYTES[type];
  const at = (row: number) => start + place + row * n * size;
  const first = offset / n;
  if (tensor !== "wq" && tensor !== "wk") {
    file.write(encode(values, type), at(first));
    return;
  }
  const headSize = d / (tensor === "wq" ? config.nHeads : config.nKvHeads);
  for (let i = 0; i * n < values.length; i++) {
    const inHead = (first + i) % headSize;
    // the first numbers of all pairs of a head, then the second ones: see `interleaved` of stored.ts
    const row = first + i - inHead + (inHead >> 1) + (inHead & 1) * (headSize / 2);
    file.write(encode(values.subarray(i * n, (i + 1) * n), type), at(row));
  }
}

/** The bytes of these values in a type that represents them exactly. */
function encode(values: Float32Array, type: NumberType): Uint8Array {
  if (type === "F32") return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = type === "BF16" ? Uint16Array.from(words, (word) => word >>> 16) : Uint16Array.from(values, toHalf);
  return new Uint8Array(halves.buffer);
}

/** The float16 that is exactly `value`. */
function toHalf(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size === Infinity) return sign | 0x7c00;
  if (Number.isNaN(size)) return 0x7e00;
  if (size < 2 ** -14) return sign | (size * 2 ** 24);
  const exponent = Math.floor(Math.log2(size));
  return sign | ((exponent + 15) << 10) | ((size / 2 ** exponent - 1) * 1024);
}

/** The fields that transformers reads for a Llama model. */
function configOf({ config: p, sharedClassifier }: WeightSource, type: NumberType): object {
  const number = (x: number) => Number(x.toPrecision(7)); // a float32 as it was written down
  return {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    hidden_act: "silu",
    hidden_size: p.dim,
    intermediate_size: p.hiddenDim,
    num_hidden_layers: p.nLayers,
    num_attention_heads: p.nHeads,
    num_key_value_heads: p.nKvHeads,
    vocab_size: p.vocabSize,
    max_position_embeddings: p.seqLen,
    rms_norm_eps: number(p.normEps),
    rope_theta: number(p.ropeTheta),
    attention_bias: false,
    mlp_bias: false,
    tie_word_embeddings: sharedClassifier,
    bos_token_id: 1,
    eos_token_id: 2,
    torch_dtype: { F32: "float32", F16: "float16", BF16: "bfloat16" }[type],
  };
}
