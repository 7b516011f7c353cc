/*
 * The stops of a pass on another backend. Backends fuse lines, so they have only keys, values and logits. For Node.
 */
import { load } from "../backend/load.ts";
import type { BackendName } from "../backend/names.ts";
import { kvDimOf } from "../llama2/transformer.ts";
import { withWeights } from "./open.ts";
import type { Stop, Tensor } from "./run.ts";
import { placesOf } from "./stops.ts";

export interface BackendOptions {
  /** 0: the backend chooses. */
  threads: number;
  /** 0: the model's. */
  context: number;
  precision?: "fp32" | "fp16" | "int8";
  /** Options that only this backend has. */
  own: object;
}

/** A pass on a backend, and notes on how the backend was chosen. */
export interface BackendPass {
  backend: BackendName;
  stops: Stop[];
  notes: string[];
}

/**
 * The stops of the last of `tokens` on a backend; those that it cannot show are `fused`.
 * @throws Llama2Error E_DEVICE_UNAVAILABLE, and whatever loading the model throws
 */
export async function stopsOn(
  backend: BackendName,
  path: string,
  tokens: readonly number[],
  { threads, context: length, precision, own }: BackendOptions,
): Promise<BackendPass> {
  return withWeights(path, precision === "int8" ? precision : undefined, async (source) => {
    const { model, config, notes } = await load(source, backend, length, threads, { own });
    const context = model.openContext(1);
    try {
      let logits = new Float32Array();
      for (const [pos, token] of tokens.entries()) {
        const wanted = pos === tokens.length - 1 ? 1 : 0;
        logits = context.forward([{ token, pos, sequence: 0 }], wanted).slice();
      }
      const kept = context.trace?.({ pos: tokens.length - 1, sequence: 0 });
      const kvDim = kvDimOf(config);
      const row = (name: "k" | "v", all: Float32Array | undefined, layer: number): Tensor[] =>
        all ? [{ name, shape: [kvDim], values: all.subarray(layer * kvDim, (layer + 1) * kvDim) }] : [];
      const tensorsAt: Record<string, (layer: number) => Tensor[]> = {
        rope: (layer) => row("k", kept?.keys, layer), // the cache has the rotated keys
        v: (layer) => row("v", kept?.values, layer),
        logits: () => [{ name: "logits", shape: [config.vocabSize], values: logits }],
      };
      const stops = placesOf(config.nLayers).map((place): Stop => {
        const tensors = tensorsAt[place.id]?.(place.layer) ?? [];
        return tensors.length > 0 ? { ...place, tensors } : { ...place, tensors, fused: true };
      });
      return { backend, stops, notes };
    } finally {
      context.dispose();
      model.dispose();
    }
  });
}
