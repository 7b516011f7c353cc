/*
 * Drives the cuda backend on its emulator (native/cuda/test/driver.cpp), which runs as a program of its own.
 */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { headSizeOf, ropeAngles, ropeFrequencies } from "../../src/llama2/transformer.ts";
import { groupSizeOf, tensorsOf, type WeightSource } from "../../src/llama2/weights.ts";
import { tempDir } from "./temp.ts";

export const PRECISIONS = ["fp32", "fp16", "int8"] as const;
export type Precision = (typeof PRECISIONS)[number];

export interface DriverOptions {
  precision?: Precision;
  groupSize?: number;
  kv?: "fp32" | "fp16";
  slots?: number;
  /** The emulator's settings. */
  env?: Record<string, string>;
}

export interface Entry {
  token: number;
  pos: number;
  slot: number;
}
export interface Sequence extends Entry {
  temperature: number;
  topp: number;
  rngState: bigint;
  stop: number;
}

/** What is asked of a model, and then run at once. */
export class CudaDriver {
  readonly #setup: string[] = [];
  readonly #context: string;
  readonly #commands: string[] = [];
  readonly #numbers: Uint8Array[] = [];
  readonly #vocabSize: number;
  readonly #program: string;
  readonly #source: WeightSource;
  readonly #env: Record<string, string>;
  #size = 0;

  constructor(program: string, source: WeightSource, options: DriverOptions = {}) {
    this.#program = program;
    this.#source = source;
    this.#env = options.env ?? {};
    const { config: p, sharedClassifier } = source;
    const { precision = "fp32", groupSize = groupSizeOf(source.formatOf("wq")), kv = "fp32", slots = 1 } = options;
    this.#vocabSize = p.vocabSize;
    const pairs = headSizeOf(p) / 2;
    const fcr = new Float32Array(p.seqLen * pairs);
    const fci = new Float32Array(p.seqLen * pairs);
    const freq = ropeFrequencies(p);
    for (let pos = 0; pos < p.seqLen; pos++) {
      ropeAngles(fcr.subarray(pos * pairs, (pos + 1) * pairs), fci.subarray(pos * pairs, (pos + 1) * pairs), pos, freq);
    }
    const { dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen, normEps } = p;
    const shape = [dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen, normEps, Number(sharedClassifier)];
    const how = [PRECISIONS.indexOf(precision), precision === "int8" ? groupSize : 0, kv === "fp16" ? 1 : 0];
    this.#setup.push(["model", ...shape, ...how, this.#put(fcr), this.#put(fci)].join(" "));
    this.#context = `context ${slots}`;
  }

  forward(entries: readonly Entry[], wanted = entries.length): this {
    const flat = entries.flatMap(({ token, pos, slot }) => [token, pos, slot]);
    return this.#say("forward", wanted, entries.length, ...flat);
  }

  decode(steps: number, sequences: readonly Sequence[]): this {
    const flat = sequences.flatMap((s) => [s.token, s.pos, s.slot, s.temperature, s.topp, String(s.rngState), s.stop]);
    return this.#say("decode", steps, sequences.length, ...flat);
  }

  sample(count: number, temperature: number, topp: number, rngState: bigint, logits: Float32Array): this {
    return this.#say("sample", count, temperature, topp, String(rngState), this.#put(logits));
  }

  /** Run all of it: what was printed, and the logits, a row of vocabSize each. */
  async run(): Promise<{ status: number | null; lines: string[]; rows: Float32Array[] }> {
    if (this.#setup.length === 1) await this.#fill();
    const folder = tempDir();
    writeFileSync(join(folder, "numbers"), Buffer.concat(this.#numbers));
    const { status, stdout, stderr } = spawnSync(this.#program, [join(folder, "numbers"), join(folder, "logits")], {
      input: `${[...this.#setup, this.#context, ...this.#commands].join("\n")}\n`,
      encoding: "utf8",
      maxBuffer: 2 ** 28,
      env: { ...process.env, ...this.#env },
    });
    const bytes = new Uint8Array(readFileSync(join(folder, "logits")));
    const all = new Float32Array(bytes.buffer, 0, bytes.length / 4);
    const rows = Array.from({ length: all.length / this.#vocabSize }, (_, i) =>
      all.subarray(i * this.#vocabSize, (i + 1) * this.#vocabSize),
    );
    return { status, lines: `${stdout}${stderr}`.trimEnd().split("\n"), rows };
  }

  async #fill(): Promise<void> {
    const source = this.#source;
    for (const { name, layers, d, n } of tensorsOf(source)) {
      const groupSize = groupSizeOf(source.formatOf(name));
      for (let layer = 0; layer < layers; layer++) {
        const values = new Float32Array(groupSize === 0 ? d * n : (d * n) / groupSize); // or scales
        const q = new Int8Array(groupSize === 0 ? 0 : d * n);
        for await (const piece of source.pieces(name, layer, 1)) {
          if ("values" in piece) values.set(piece.values, piece.offset);
          else {
            q.set(piece.q, piece.offset);
            values.set(piece.scales, piece.offset / groupSize);
          }
        }
        const command =
          groupSize === 0
            ? ["fill", name, layer, values.length, this.#put(values)]
            : ["quantized", name, layer, groupSize, q.length, this.#put(q), this.#put(values)];
        this.#setup.push(command.join(" "));
      }
    }
  }

  /** Where these numbers begin. */
  #put(numbers: Float32Array | Int8Array): number {
    const bytes = new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
    const at = this.#size;
    const padded = new Uint8Array(Math.ceil(bytes.length / 16) * 16);
    padded.set(bytes);
    this.#numbers.push(padded);
    this.#size += padded.length;
    return at;
  }

  #say(...words: (string | number)[]): this {
    this.#commands.push(words.join(" "));
    return this;
  }
}

/** The largest difference, as a share of the largest number of the reference. */
export function relativeError(actual: Float32Array, expected: Float32Array): number {
  let difference = 0;
  let largest = 0;
  for (const [i, value] of expected.entries()) {
    const d = Math.abs(actual[i] - value);
    if (!(d <= difference)) difference = d; // NaN counts
    largest = Math.max(largest, Math.abs(value));
  }
  return difference / largest;
}
