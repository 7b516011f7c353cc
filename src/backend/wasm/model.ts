/*
 * A model in the memory of the kernels, and the contexts in which it reads. Needs nothing but WebAssembly, so it
 * runs wherever that does; wasm.ts adds what Node has, threads.
 */
import { randomF32, type Sampler } from "../../llama2/sampler.ts";
import { type Config, headSizeOf, ropeFrequencies } from "../../llama2/transformer.ts";
import { floatPieces, isVector, type WeightSource } from "../../llama2/weights.ts";
import type { Context, Entry, KeysAndValues } from "../backend.ts";
import type { Team } from "../team.ts";
import { Arena } from "./arena.ts";
import type { Kernels } from "./kernels.ts";
import { matrixBytes, PANEL, readMatrix, rowBytes } from "./panels.ts";
import { type Plan, planContext } from "./plan.ts";
import { Reading } from "./reading.ts";

/** Read all weights, and RoPE's frequencies, to their addresses in the plan. */
export async function loadWeights(source: WeightSource, memory: WebAssembly.Memory, plan: Plan): Promise<void> {
  const frequencies = ropeFrequencies(source.config);
  new Float32Array(memory.buffer, plan.globals.frequencies, frequencies.length).set(frequencies);
  for (const { name, layer, d, n, address } of plan.tensors) {
    if (isVector(name)) {
      const w = new Float32Array(memory.buffer, address, n);
      for await (const { values, offset } of floatPieces(source, name, layer)) w.set(values, offset);
    } else {
      await readMatrix(source, { name, layer, d, n, address }, memory.buffer);
    }
  }
}

/** A model whose weights have been read. */
export class WasmModel {
  readonly config: Config;
  readonly kernels: Kernels;
  readonly memory: WebAssembly.Memory;
  readonly arena: Arena;
  readonly team: Team;
  readonly reading = new Reading();
  /** Where the entries of a forward pass go. */
  readonly batch: number;
  /** Its threads have ended: nothing can be computed any more. */
  disposed = false;

  constructor(config: Config, kernels: Kernels, memory: WebAssembly.Memory, plan: Plan, team: Team) {
    this.config = config;
    this.kernels = kernels;
    this.memory = memory;
    this.arena = new Arena(memory, plan.bytes);
    this.team = team;
    this.batch = plan.globals.batch;
  }

  /** @throws Llama2Error E_LIMIT if the memory cannot hold it */
  openContext(sequences: number): Context {
    return new WasmContext(this, sequences);
  }
}

class WasmContext implements Context {
  private readonly model: WasmModel;
  private readonly keyCache: number;
  private readonly valueCache: number;
  private readonly logits: number;
  private disposed = false;

  constructor(model: WasmModel, sequences: number) {
    this.model = model;
    const { keyCache, valueCache, logits } = planContext(model.config, sequences);
    this.keyCache = model.arena.allocate(keyCache + valueCache + logits);
    this.valueCache = this.keyCache + keyCache;
    this.logits = this.valueCache + valueCache;
  }

  forward(entries: readonly Entry[], wanted: number): Float32Array {
    if (this.disposed || this.model.disposed) throw new Error("this context, or its model, has been disposed");
    const { kernels, memory, team, reading, batch } = this.model;
    const words = new Int32Array(memory.buffer, batch, 3 * entries.length);
    let at = 0;
    for (const { token, pos, sequence } of entries) {
      words[at++] = token;
      words[at++] = pos;
      words[at++] = sequence;
    }
    const { keyCache, valueCache, logits } = this;
    const { length } = entries;
    const start = performance.now();
    const lateMs = kernels.forward(keyCache, valueCache, logits, length, wanted, team.size, reading.panels);
    const ms = performance.now() - start;
    team.ran(ms, lateMs);
    if (length === 1) reading.ran(ms);
    return this.rowsOfLogits(wanted);
  }

  sample(samplers: readonly Sampler[], first = 0): number[] {
    const { kernels, config } = this.model;
    return samplers.map((sampler, row) => {
      const { temperature, topp } = sampler;
      const coin = temperature === 0 ? 0 : randomF32(sampler);
      return kernels.sample(this.logits + (first + row) * rowBytes(config.vocabSize), temperature, topp, coin);
    });
  }

  copy(from: number, to: number, positions: number): void {
    const { config, memory } = this.model;
    const heads = config.nLayers * config.nKvHeads;
    const headSize = headSizeOf(config);
    const bytes = new Uint8Array(memory.buffer);
    // keys: a head's positions follow each other, in whole panels
    const keyBytes = matrixBytes(config.seqLen, headSize);
    const keys = matrixBytes(positions, headSize);
    for (let head = 0; head < heads; head++) {
      const source = this.keyCache + (from * heads + head) * keyBytes;
      bytes.copyWithin(this.keyCache + (to * heads + head) * keyBytes, source, source + keys);
    }
    // values: each panel of a head's numbers has the positions one after the other
    const panelBytes = matrixBytes(PANEL, config.seqLen);
    const values = matrixBytes(PANEL, positions);
    const panels = heads * Math.ceil(headSize / PANEL);
    for (let panel = 0; panel < panels; panel++) {
      const source = this.valueCache + (from * panels + panel) * panelBytes;
      bytes.copyWithin(this.valueCache + (to * panels + panel) * panelBytes, source, source + values);
    }
  }

  trace({ pos, sequence }: Pick<Entry, "pos" | "sequence">): KeysAndValues {
    const { config, memory } = this.model;
    const { seqLen } = config;
    const headSize = headSizeOf(config);
    const heads = config.nLayers * config.nKvHeads;
    const keys = new Float32Array(heads * headSize);
    const values = new Float32Array(heads * headSize);
    const cache = new Float32Array(memory.buffer);
    for (let head = 0; head < heads; head++) {
      // a row of the keys' matrix, and a column of the values', both in panels
      const key = (this.keyCache + (sequence * heads + head) * matrixBytes(seqLen, headSize)) / 4;
      const value = (this.valueCache + (sequence * heads + head) * matrixBytes(headSize, seqLen)) / 4;
      for (let i = 0; i < headSize; i++) {
        keys[head * headSize + i] = cache[key + (pos - (pos % PANEL)) * headSize + (pos % PANEL) + i * PANEL];
        values[head * headSize + i] = cache[value + (i - (i % PANEL)) * seqLen + (i % PANEL) + pos * PANEL];
      }
    }
    return { keys, values };
  }

  dispose(): void {
    if (!this.disposed) this.model.arena.free(this.keyCache);
    this.disposed = true;
  }

  /** The first `rows` rows. In the kernels' memory rows are padded, so they may have to be moved together. */
  private rowsOfLogits(rows: number): Float32Array {
    const { vocabSize } = this.model.config;
    const stride = rowBytes(vocabSize) / 4;
    const padded = new Float32Array(this.model.memory.buffer, this.logits, rows * stride);
    if (stride === vocabSize || rows <= 1) return padded.subarray(0, rows * vocabSize);
    const logits = new Float32Array(rows * vocabSize);
    for (let row = 0; row < rows; row++) {
      logits.set(padded.subarray(row * stride, row * stride + vocabSize), row * vocabSize);
    }
    return logits;
  }
}
