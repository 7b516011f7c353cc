/*
 * Whether a model fits, before its weights are read: what it needs, what memory there is, and how fast it could be.
 */

import type { Backend } from "./backend/backend.ts";
import { countMemory, nativeOptionsOf, needsOf } from "./backend/cuda/memory.ts";
import { PRECISIONS, type Precision } from "./backend/cuda/options.ts";
import { availableBackends } from "./backend/load.ts";
import { availableMemory } from "./backend/memory.ts";
import { processors } from "./backend/processors.ts";
import { bytesRead } from "./bench/bytes.ts";
import { shapeOf } from "./bench/shapes.ts";
import { sweep } from "./bench/sweep.ts";
import { checkOptions, checkThat, checkWhole, show, usage } from "./check.ts";
import { asInt8 } from "./checkpoint/int8.ts";
import { open } from "./checkpoint/open.ts";
import { randomModel } from "./checkpoint/random.ts";
import { Llama2Error } from "./errors.ts";
import { filesAt } from "./files/disk.ts";
import { modelName } from "./files/modelName.ts";
import { pathOf } from "./files/path.ts";
import { askNvidiaSmi } from "./host/nvidia.ts";
import { thisWorld, type World } from "./host/world.ts";
import { groupSizeOf, isVector, tensorsOf, type WeightSource } from "./llama2/weights.ts";
import { type ModelInfo, modelInfo } from "./modelInfo.ts";

export interface FitOptions {
  /** Instead of the model's path: random weights of this shape, such as "7B". */
  shape?: string;
  /** Memory of a GPU in bytes, instead of what this machine has. */
  memory?: number;
  /** Positions of a sequence. @default the model's */
  context?: number;
  /** Sequences at once. @default 1 */
  batch?: number;
  /** Memory bandwidth in GB/s, to estimate the speed. @default measured, for this machine's memory */
  bandwidth?: number;
}

/** What a model needs in one precision, in bytes. */
export interface Need {
  /** Where it would run: weights are laid out differently. */
  backend: "cpu" | "cuda";
  precision: Precision;
  weights: number;
  /** Keys and values of one sequence. */
  perSequence: number;
  /** Needed once: activations, logits, and on a GPU what CUDA takes for itself. */
  scratch: number;
  /** With the requested number of sequences. */
  total: number;
}

export interface Fit {
  precision: Precision;
  fits: boolean;
  /** With the requested number of sequences; 0: none. */
  maxContext: number;
  /** At the requested context; 0: none. */
  maxBatch: number;
  /** At most: what the memory's bandwidth allows one sequence. */
  tokensPerSecond?: number;
}

/** Memory that could hold it. */
export interface Place {
  name: string;
  backend: Need["backend"];
  available: number;
  fits: Fit[];
}

export interface Fitting {
  model: ModelInfo;
  context: number;
  batch: number;
  needs: Need[];
  places: Place[];
  advice: string[];
}

/** The most sequences that are counted. */
const MOST_SEQUENCES = 4096;

/**
 * Say whether a model fits into this machine's memory and its GPUs', or into a stated size, in each precision.
 * @param model path of any model that `inspect` knows; undefined with a shape
 * @throws Llama2Error E_USAGE, E_FILE, E_FORMAT
 */
export const fit = (model: string | URL | undefined, options: FitOptions = {}): Promise<Fitting> =>
  fitInto(thisWorld, model, options);

/**
 * The same for any machine.
 * @internal
 */
export async function fitInto(world: World, model: string | URL | undefined, options: FitOptions): Promise<Fitting> {
  checkOptions("fit", options, ["shape", "memory", "context", "batch", "bandwidth"]);
  const { memory, bandwidth, batch = 1 } = options;
  checkWhole("batch", batch, 1, MOST_SEQUENCES);
  for (const [name, value] of Object.entries({ memory, bandwidth })) {
    checkThat(name, value, value === undefined || (Number.isFinite(value) && value > 0), "a number above 0");
  }
  const { source, name, format, close } = await sourceOf(model, options.shape);
  try {
    const { seqLen } = source.config;
    checkWhole("context", options.context ?? seqLen, 1, 2 ** 31 - 1);
    const context = Math.min(options.context ?? seqLen, seqLen);
    const counts = countsOf(source, await backendOfMachine());
    const needs = counts.map((count) => needOf(count, context, batch));
    const found = memory === undefined ? await placesOf(world) : [stated(memory)];
    const places: Place[] = [];
    for (const place of found) {
      const fits: Fit[] = [];
      for (const count of counts.filter(({ backend }) => backend === place.backend)) {
        const speed = bandwidth ?? (await measured(count));
        fits.push(fitOf(count, place.available, seqLen, context, batch, speed));
      }
      places.push({ ...place, fits });
    }
    const info = modelInfo(source, { ...source.config, seqLen: context }, { name, format });
    return {
      model: info,
      context,
      batch,
      needs,
      places,
      advice: adviceOn(needs, places, context, cudaRefusal(source)),
    };
  } finally {
    close();
  }
}

async function sourceOf(model: string | URL | undefined, shape: string | undefined) {
  if ((model === undefined) === (shape === undefined)) usage("fit takes a model or a shape");
  if (shape !== undefined) {
    if (typeof shape !== "string") usage(`shape is ${show(shape)}, expected a name such as "7B"`);
    const { name, config, sharedClassifier } = shapeOf(shape);
    return { source: randomModel(config, { sharedClassifier }), name, format: "random", close() {} };
  }
  const path = pathOf("the model", model as string | URL);
  const opened = await open(filesAt(path));
  const name = modelName(path);
  return { source: opened, name, format: opened.format, close: () => opened.close() };
}

/** The most bytes that a bandwidth measurement reads: more than the caches hold. */
const SWEPT = 2 ** 28;
const SWEEP_SECONDS = 0.1;

/** GB/s at which a token's bytes are read from this machine's memory. */
async function measured({ backend, readPerToken }: Count): Promise<number | undefined> {
  if (backend !== "cpu") return undefined;
  const bytes = Math.min(SWEPT, readPerToken(0));
  return (await sweep({ device: "cpu", bytes, threads: processors() }, SWEEP_SECONDS)).gbPerSecond;
}

/** How a model is counted on a backend, in a precision, for any context. */
interface Count {
  backend: Need["backend"];
  precision: Precision;
  at(context: number): Pick<Need, "weights" | "perSequence" | "scratch">;
  /** Bytes that a token reads, at half of a context. */
  readPerToken(context: number): number;
}

/** The backend that keeps models in this machine's memory. */
async function backendOfMachine(): Promise<Backend> {
  const backends = await availableBackends();
  const best = backends.find(({ exact }) => exact);
  if (!best) throw new Llama2Error("E_DEVICE_UNAVAILABLE", "no backend works here");
  return best;
}

function countsOf(source: WeightSource, machine: Backend): Count[] {
  const isInt8 = tensorsOf(source).some(({ name }) => !isVector(name) && groupSizeOf(source.formatOf(name)) > 0);
  const reads = (of: WeightSource, halves: Parameters<typeof bytesRead>[1]) => (context: number) => {
    const { weights, perPosition } = bytesRead(of, halves);
    return weights + (perPosition * context) / 2;
  };
  const counts: Count[] = [];
  for (const precision of isInt8 ? (["int8"] as const) : (["fp32", "int8"] as const)) {
    const of = precision === "int8" ? asInt8(source) : source;
    const at = (context: number) => machine.estimate(of, context, { threads: 0 });
    counts.push({ backend: "cpu", precision, at, readPerToken: reads(of, {}) });
  }
  const onGpu = cudaRefusal(source) ? [] : isInt8 ? (["int8"] as const) : PRECISIONS;
  for (const precision of onGpu) {
    const of = precision === "int8" ? asInt8(source) : source;
    const own = nativeOptionsOf(source, { precision });
    const halves = { weights: precision === "fp16", kv: own.kvPrecision === "fp16" };
    const at = (context: number) => {
      const needs = needsOf((slots) => countMemory({ ...source.config, seqLen: context }, own, slots));
      return { ...needs, scratch: needs.scratch + CUDA_BYTES };
    };
    counts.push({ backend: "cuda", precision, at, readPerToken: reads(of, halves) });
  }
  return counts;
}

/** Why the cuda backend refuses a model. Undefined if it does not. */
function cudaRefusal(source: WeightSource): string | undefined {
  try {
    nativeOptionsOf(source);
    return undefined;
  } catch (error) {
    if (error instanceof Llama2Error) return error.message;
    throw error;
  }
}

/** GPU memory that CUDA itself takes for each process: 300 to 500 MB are common. */
const CUDA_BYTES = 450e6;

function needOf({ backend, precision, at }: Count, context: number, batch: number): Need {
  const { weights, perSequence, scratch } = at(context);
  return { backend, precision, weights, perSequence, scratch, total: weights + scratch + batch * perSequence };
}

function fitOf(
  count: Count,
  available: number,
  longest: number,
  context: number,
  batch: number,
  bandwidth: number | undefined,
): Fit {
  const { weights, scratch, perSequence, total } = needOf(count, context, batch);
  const left = available - weights - scratch;
  const maxContext = largest(longest, (length) => needOf(count, length, batch).total <= available);
  const fits = total <= available;
  return {
    precision: count.precision,
    fits,
    maxContext,
    maxBatch: left < 0 ? 0 : Math.min(MOST_SEQUENCES, Math.floor(left / perSequence)),
    ...(bandwidth !== undefined && fits && { tokensPerSecond: (1e9 * bandwidth) / count.readPerToken(context) }),
  };
}

/** The largest whole number up to `most` that `fits`; 0 if 1 does not. */
function largest(most: number, fits: (value: number) => boolean): number {
  let [low, high] = [0, most];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (fits(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}

type Room = Omit<Place, "fits">;

const stated = (bytes: number): Room => ({ name: "a GPU of the stated size", backend: "cuda", available: bytes });

async function placesOf(world: World): Promise<Room[]> {
  const { gpus } = await askNvidiaSmi(world);
  const cards = gpus.flatMap(({ index, name, freeBytes, memoryBytes }): Room[] => {
    const available = freeBytes ?? memoryBytes;
    return available === undefined ? [] : [{ name: `GPU ${index}: ${name}`, backend: "cuda", available }];
  });
  return [{ name: "this machine", backend: "cpu", available: availableMemory() }, ...cards];
}

const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(bytes < 1e9 ? 2 : 1)} GB`;

/** A line of advice for each place. */
function adviceOn(
  needs: readonly Need[],
  places: readonly Place[],
  context: number,
  refusal: string | undefined,
): string[] {
  return places.map(({ name, backend, available, fits }) => {
    if (backend === "cuda" && refusal) return `${name}: ${refusal}`;
    const mine = needs.filter((need) => need.backend === backend);
    const need = (precision: Precision) => gigabytes(mine.find((one) => one.precision === precision)?.total ?? 0);
    const best = fits.find((one) => one.fits);
    const no = fits
      .slice(0, best ? fits.indexOf(best) : fits.length)
      .map(({ precision }) => `${precision} needs ${need(precision)}`);
    const where = `${name} has ${gigabytes(available)}`;
    const missing = no.length === 0 ? "" : `; ${no.join(", ")}`;
    if (best) {
      const choice = backend === "cuda" ? ` (backend cuda, precision ${best.precision})` : "";
      return `${where}${missing}; ${best.precision} fits with ${need(best.precision)}${choice}`;
    }
    const shorter = fits.findLast(({ maxContext }) => maxContext > 0);
    if (!shorter) return `${where}${missing}: it does not fit, whatever the context`;
    return `${where}${missing}: at context ${context} it does not fit; ${shorter.precision} does at context ${shorter.maxContext}`;
  });
}
