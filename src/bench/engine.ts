/*
 * Measures a model on a backend, through the same scheduler that serves all generation.
 */
import { createHash, type Hash } from "node:crypto";
import type { Precision } from "../backend/cuda/options.ts";
import { load } from "../backend/load.ts";
import type { BackendName } from "../backend/names.ts";
import { openBackend } from "../backend/openers.ts";
import { asInt8 } from "../checkpoint/int8.ts";
import { open } from "../checkpoint/open.ts";
import { randomModel } from "../checkpoint/random.ts";
import { findTokenizer } from "../checkpoint/tokenizer/find.ts";
import { filesAt } from "../files/disk.ts";
import { hashFile } from "../files/hashFile.ts";
import { findGuesses } from "../guesses.ts";
import { guessOwner } from "../guessOwner.ts";
import type { Config } from "../llama2/transformer.ts";
import type { Holdings, WeightSource } from "../llama2/weights.ts";
import { revive } from "../run/failure.ts";
import { TableGuesser } from "../run/guess.ts";
import type { GuessEntries } from "../run/guessFile.ts";
import { GuessTable } from "../run/guessTable.ts";
import type { GuessCounts, SequenceRequest } from "../run/protocol.ts";
import { Scheduler } from "../run/scheduler.ts";
import { type BytesRead, bytesRead } from "./bytes.ts";
import type { ModelShape } from "./shapes.ts";

/** What is measured: a model, from a file or with random weights, on a backend. */
export interface EngineSpec {
  model: { path: string } | { shape: ModelShape };
  backend: BackendName;
  precision: Precision;
  threads: number;
  device?: number;
}

export interface EngineInfo {
  config: Config;
  exact: boolean;
  isa: string;
  threads: number;
  loadMs: number;
  bytes: BytesRead;
}

/** The work of one run. */
export interface Work {
  kind: "pp" | "tg";
  /** The tokens that each sequence begins with. */
  prompts: readonly (readonly number[])[];
  newTokens: number;
  /** Hash the logits. This takes time, so the run's speed does not count. */
  hash?: boolean;
  /** Guess ahead, as generation does, but only from the model's own table and this run. */
  lookahead?: boolean;
}

/** The outcome of one run. */
export interface Sample {
  tokensPerSecond: number;
  firstTokenMs: number;
  first32?: number;
  last32?: number;
  tokens: number[]; // of the first sequence, its prompt included
  rows?: string[]; // the first 16 digits of each row's sha256
  logitsSha256?: string;
  peakBytes: number;
  /** How many guesses were right, if the run guessed ahead. */
  ahead?: GuessCounts;
}

const STRETCH = 32;

/** A loaded model that does one piece of work at a time. */
export class Engine {
  readonly info: EngineInfo;
  private readonly loaded: Awaited<ReturnType<typeof load>>;
  private readonly guesses: GuessEntries | undefined;

  static async load(spec: EngineSpec): Promise<Engine> {
    const start = performance.now();
    const { source, close } = await sourceOf(spec);
    try {
      const { backend, threads, device } = spec;
      // every backend has the file's precision and int8; any other is for cuda only
      const own = backend === "cuda" ? { precision: spec.precision, device } : {};
      const loaded = await load(source, backend, 0, threads, { own });
      const loadMs = performance.now() - start;
      const { exact } = await openBackend(backend);
      const guesses = "path" in spec.model ? await guessesOf(spec.model.path, source.config.vocabSize) : undefined;
      return new Engine(spec, source, loaded, { loadMs, exact }, guesses);
    } finally {
      close();
    }
  }

  private constructor(
    spec: EngineSpec,
    source: Holdings,
    loaded: Engine["loaded"],
    known: Pick<EngineInfo, "loadMs" | "exact">,
    guesses: GuessEntries | undefined,
  ) {
    this.loaded = loaded;
    this.guesses = guesses;
    const { config, isa, model } = loaded;
    const halves = { weights: spec.precision === "fp16", kv: false };
    this.info = { config, isa, threads: model.threads, bytes: bytesRead(source, halves), ...known };
  }

  /** @throws Llama2Error whatever the backend throws, E_NUMERIC */
  run({ kind, prompts, newTokens, hash = false, lookahead = false }: Work): Sample {
    const { model, config } = this.loaded;
    // new slots, which hold nothing yet
    const guesser = lookahead ? this.newGuesser() : undefined;
    const scheduler = new Scheduler(model, config.vocabSize, prompts.length, guesser);
    try {
      const tokens = [...prompts[0]];
      const hashes = hash ? new RowHashes() : undefined;
      const times: number[] = []; // when each token of the first sequence came
      let counts: GuessCounts | undefined;
      const start = performance.now();
      scheduler.add(
        1,
        prompts.map((prompt) => requestOf(prompt, newTokens, hash)),
      );
      while (scheduler.busy) {
        scheduler.step();
        const now = performance.now();
        for (const { slices } of scheduler.take()) {
          for (const { sequence, tokens: some, logits, error, ahead } of slices) {
            if (error) throw revive(error);
            if (sequence !== 0) continue;
            tokens.push(...some);
            counts = ahead ?? counts;
            for (const _ of some) times.push(now);
            if (logits) hashes?.add(logits, config.vocabSize);
          }
        }
      }
      const end = performance.now();
      const elapsed = kind === "pp" ? times[0] - start : end - times[0];
      const count = kind === "pp" ? prompts[0].length : newTokens - 1;
      return {
        tokensPerSecond: (1000 * count * prompts.length) / elapsed,
        firstTokenMs: times[0] - start,
        ...(kind === "tg" && prompts.length === 1 ? stretches(times) : {}),
        tokens,
        rows: hashes?.rows,
        logitsSha256: hashes?.sum(),
        peakBytes: process.resourceUsage().maxRSS * 1024,
        ahead: counts,
      };
    } finally {
      scheduler.dispose();
    }
  }

  private newGuesser(): TableGuesser {
    const table = new GuessTable();
    if (this.guesses) table.add(this.guesses);
    return new TableGuesser(table, "auto");
  }
}

/** The table of guesses beside a model's file, if there is one. */
async function guessesOf(path: string, vocabSize: number): Promise<GuessEntries | undefined> {
  const owner = async () => {
    const found = await findTokenizer(path, vocabSize);
    return guessOwner(vocabSize, found, () => hashFile(found.path));
  };
  return (await findGuesses(path, owner)).guesses;
}

async function sourceOf({ model, precision, backend }: EngineSpec): Promise<{ source: WeightSource; close(): void }> {
  const int8 = precision === "int8";
  if ("shape" in model) {
    const { config, sharedClassifier } = model.shape;
    return { source: randomModel(config, { int8, sharedClassifier }), close() {} };
  }
  const opened = await open(filesAt(model.path));
  return { source: int8 && backend !== "cuda" ? asInt8(opened) : opened, close: () => opened.close() };
}

/** A greedy request without stop tokens, since a stop would end the measurement. */
function requestOf(tokens: readonly number[], maxTokens: number, hash: boolean): SequenceRequest {
  const sampling = { temperature: 0, topP: 0.9, state: 1n };
  return { tokens, maxTokens, stops: [], sampling, want: hash ? "logits" : "tokens" };
}

/** Tokens a second over the first and the last 32 positions, if there are enough. */
function stretches(times: readonly number[]): Pick<Sample, "first32" | "last32"> {
  if (times.length <= 2 * STRETCH) return {};
  const speed = (from: number) => (1000 * STRETCH) / (times[from + STRETCH] - times[from]);
  return { first32: speed(0), last32: speed(times.length - 1 - STRETCH) };
}

/** Hashes of rows of logits: one over all rows, and one of each. */
class RowHashes {
  readonly rows: string[] = [];
  private readonly all: Hash = createHash("sha256");

  add(logits: Float32Array, vocabSize: number): void {
    for (let at = 0; at < logits.length; at += vocabSize) {
      const row = new Uint8Array(logits.buffer, logits.byteOffset + 4 * at, 4 * vocabSize);
      this.all.update(row);
      this.rows.push(createHash("sha256").update(row).digest("hex").slice(0, 16));
    }
  }

  sum(): string {
    return this.all.digest("hex");
  }
}
