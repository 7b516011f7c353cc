/*
 * The cuda backend: weights, KV cache, forward pass and sampler on one NVIDIA GPU (native/cuda/).
 *
 * A GPU adds the products of a row as a tree, so its logits are not run.c's bits. They are the same on every run, and
 * do not depend on what is read beside them; and its sampler chooses what sampler.ts would, from the same logits.
 */
import { type ErrorCode, Llama2Error, type Remedy } from "../../errors.ts";
import { defaultGroupSize } from "../../llama2/quantize.ts";
import { type Config, ropeFrequencies } from "../../llama2/transformer.ts";
import { tensorsOf, type WeightSource } from "../../llama2/weights.ts";
import { type Backend, type LoadedModel, type LoadOptions, PRECISIONS, type Precision } from "../backend.ts";
import { commonGroupSize, fill } from "../native.ts";
import { type CudaAddon, loadCudaAddon, type NativeOptions } from "./addon.ts";
import { openContext } from "./context.ts";

/** The most stories that are told at once, and tokens of a prompt that are read at once. */
const MAX_BATCH = 512;
/** From so many weights on, keys and values are fp16. */
const LARGE = 1e9;

/**
 * The cuda backend.
 * @throws Llama2Error E_DEVICE_UNAVAILABLE if the addon does not load, or there is no driver or no device for it
 */
export function openCuda(path?: string): Backend {
  const addon = loadCudaAddon(path);
  typed(() => addon.devices());
  return {
    name: "cuda",
    isa: "cuda",
    load: (source, contextLength, options) => loadModel(addon, source, contextLength, options),
  };
}

async function loadModel(
  addon: CudaAddon,
  source: WeightSource,
  contextLength: number,
  options: LoadOptions,
): Promise<LoadedModel> {
  const config = { ...source.config, seqLen: contextLength };
  const wanted = optionsOf(source, options);
  const model = typed(() => {
    requireMemory(addon, config, wanted, options.name ?? "the model");
    return new addon.Model(config, wanted, ropeFrequencies(config));
  });
  try {
    await fill(model, source);
  } catch (error) {
    model.dispose();
    throw typedError(error);
  }
  const health = new Health();
  return {
    threads: 1,
    maxBatch: MAX_BATCH,
    onDevice: true,
    openContext: (sequences) =>
      health.watch(() => openContext(new addon.Context(model, sequences), config, (work) => health.watch(work))),
    dispose: () => model.dispose(),
  };
}

function optionsOf(source: WeightSource, { precision, kvPrecision, device = 0 }: LoadOptions): NativeOptions {
  const { config, sharedClassifier } = source;
  const groupSize = commonGroupSize(source, "cuda");
  const own: Precision = groupSize > 0 ? "int8" : "fp32";
  const chosen = precision ?? own;
  return {
    precision: chosen,
    groupSize: chosen === "int8" && groupSize === 0 ? defaultGroupSize(config) : groupSize,
    kvPrecision: kvPrecision ?? (countWeights(source) < LARGE ? "fp32" : "fp16"),
    sharedClassifier,
    device,
  };
}

const countWeights = (source: WeightSource): number =>
  tensorsOf(source).reduce((sum, { layers, d, n }) => sum + layers * d * n, 0);

/**
 * Refuse what does not fit before any of it is there, and say what would.
 * @throws Llama2Error E_DEVICE_OOM
 */
function requireMemory(addon: CudaAddon, config: Config, options: NativeOptions, name: string): void {
  const free = addon.freeMemory(options.device);
  const groupSize = options.groupSize || defaultGroupSize(config);
  const needs = PRECISIONS.slice(PRECISIONS.indexOf(options.precision)).map((precision) => {
    return { precision, bytes: addon.estimateMemory(config, { ...options, groupSize, precision }, 1) };
  });
  if (needs[0].bytes <= free) return;
  const list = needs.map(({ precision, bytes }) => `${gigabytes(bytes)} in ${precision}`).join(", ");
  const fitting = needs.find(({ bytes }) => bytes <= free);
  const message = `${name} at context ${config.seqLen} needs ${list}; this card has ${gigabytes(free)} free`;
  if (!fitting)
    throw new Llama2Error("E_DEVICE_OOM", `${message}. A shorter context needs less`, { option: "context" });
  const remedy = { option: "precision", value: fitting.precision } as const;
  const shorter = addon.estimateMemory({ ...config, seqLen: 1 }, options, 1) <= free;
  const advice = `${shorter ? "a shorter context may fit, and " : ""}${fitting.precision} fits`;
  throw new Llama2Error("E_DEVICE_OOM", `${message}: ${advice}`, remedy);
}

const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(bytes < 1e8 ? 4 : 1)} GB`;

const CODES: ErrorCode[] = ["E_DEVICE_UNAVAILABLE", "E_DEVICE_OOM", "E_DEVICE_LOST", "E_LIMIT"];

const ADVICE: Record<string, string> = {
  E_DEVICE_OOM: ". A shorter context needs less memory, and so do fewer stories at once",
  E_DEVICE_LOST: ". This process cannot use the GPU any more: start it again",
};
const REMEDIES: Record<string, Remedy> = { E_DEVICE_OOM: { option: "context" } };

/** Native errors with a code become typed ones. */
function typed<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw typedError(error);
  }
}

function typedError(error: unknown): unknown {
  const { code, message } = error as { code?: ErrorCode; message: string };
  if (error instanceof Llama2Error || !CODES.includes(code as ErrorCode)) return error;
  return new Llama2Error(code as ErrorCode, message + (ADVICE[code as string] ?? ""), REMEDIES[code as string]);
}

/** What a device has done to a model: once it is lost, nothing is asked of it any more. */
class Health {
  private lost: Llama2Error | undefined;

  watch<T>(work: () => T): T {
    if (this.lost) throw this.lost;
    try {
      return typed(work);
    } catch (error) {
      if (error instanceof Llama2Error && error.code === "E_DEVICE_LOST") this.lost = error;
      throw error;
    }
  }
}
