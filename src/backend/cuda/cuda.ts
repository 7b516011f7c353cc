/*
 * The cuda backend: weights, KV cache, forward pass and sampler on one NVIDIA GPU (native/cuda/).
 *
 * A GPU adds the products of a row as a tree, so its logits are not run.c's bits. They are the same on every run and do
 * not depend on other sequences. From the same logits, its sampler chooses what sampler.ts would.
 */
import { Llama2Error } from "../../errors.ts";
import { defaultGroupSize } from "../../llama2/quantize.ts";
import { type Config, ropeFrequencies } from "../../llama2/transformer.ts";
import type { WeightSource } from "../../llama2/weights.ts";
import type { Backend, LoadedModel, LoadOptions, Memory } from "../backend.ts";
import { calling, fill, typedError } from "../native.ts";
import { type CudaAddon, loadCudaAddon, type NativeOptions } from "./addon.ts";
import { openContext } from "./context.ts";
import { nativeOptionsOf, needsOf } from "./memory.ts";
import { PRECISIONS } from "./options.ts";

/** The most entries of a batch. */
const MAX_BATCH = 512;

/**
 * The cuda backend.
 * @throws Llama2Error E_DEVICE_UNAVAILABLE if the addon does not load, or there is no driver or no device for it
 */
export function openCuda(path?: string): Backend {
  const addon = loadCudaAddon(path);
  calling(() => addon.devices());
  return {
    name: "cuda",
    isa: "cuda",
    exact: false,
    estimate: (source, contextLength, { own }) => {
      const config = { ...source.config, seqLen: contextLength };
      return calling(() => memoryOf(addon, config, nativeOptionsOf(source, own)));
    },
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
  const wanted = nativeOptionsOf(source, options.own);
  const model = calling(() => {
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
    reserves: true,
    openContext: (sequences) =>
      health.watch(() => openContext(new addon.Context(model, sequences), config, (work) => health.watch(work))),
    dispose: () => model.dispose(),
  };
}

/** The memory a model takes, and how much of its device is free. */
function memoryOf(addon: CudaAddon, config: Config, options: NativeOptions): Memory {
  const available = addon.freeMemory(options.device);
  return { ...needsOf((slots) => addon.estimateMemory(config, options, slots)), available };
}

/**
 * Refuse a model that does not fit before anything is allocated, and say what would fit.
 * @throws Llama2Error E_DEVICE_OOM
 */
function requireMemory(addon: CudaAddon, config: Config, options: NativeOptions, name: string): void {
  const groupSize = options.groupSize || defaultGroupSize(config);
  const needs = PRECISIONS.slice(PRECISIONS.indexOf(options.precision)).map((precision) => {
    return { precision, bytes: total(memoryOf(addon, config, { ...options, groupSize, precision })) };
  });
  const shortest = memoryOf(addon, { ...config, seqLen: 1 }, options);
  const free = shortest.available;
  if (needs[0].bytes <= free) return;
  const list = needs.map(({ precision, bytes }) => `${gigabytes(bytes)} in ${precision}`).join(", ");
  const fitting = needs.find(({ bytes }) => bytes <= free);
  const message = `${name} at context ${config.seqLen} needs ${list}; this card has ${gigabytes(free)} free`;
  if (!fitting)
    throw new Llama2Error("E_DEVICE_OOM", `${message}. A shorter context needs less`, { option: "context" });
  const remedy = { option: "precision", value: fitting.precision } as const;
  const advice = `${total(shortest) <= free ? "a shorter context may fit, and " : ""}${fitting.precision} fits`;
  throw new Llama2Error("E_DEVICE_OOM", `${message}: ${advice}`, remedy);
}

const total = ({ weights, perSequence, scratch }: Memory) => weights + perSequence + scratch;

const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(bytes < 1e8 ? 4 : 1)} GB`;

/** Whether a model's device is lost: after that, it is not called any more. */
class Health {
  private lost: Llama2Error | undefined;

  watch<T>(work: () => T): T {
    if (this.lost) throw this.lost;
    try {
      return calling(work);
    } catch (error) {
      if (error instanceof Llama2Error && error.code === "E_DEVICE_LOST") this.lost = error;
      throw error;
    }
  }
}
