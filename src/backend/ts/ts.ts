/*
 * The ts backend: the reference's forward pass and sampler, with matrices in panels. Runs wherever Node does.
 */
import { sample } from "../../llama2/sampler.ts";
import { forward, mallocRunState } from "../../llama2/transformer.ts";
import { type MatrixLayout, memoryMapWeights, type WeightSource } from "../../llama2/weights.ts";
import type { Backend, LoadedModel } from "../backend.ts";
import { int8Panels } from "./int8Panels.ts";
import { panels } from "./panels.ts";

export const ts: Backend = {
  name: "ts",
  load: (source) => (source.groupSize === 0 ? loadWith(source, panels) : loadWith(source, int8Panels)),
};

function loadWith<M>(source: WeightSource, layout: MatrixLayout<M>): LoadedModel {
  const { config } = source;
  const weights = memoryMapWeights(source, layout);
  return {
    threads: 1,
    maxBatch: 1,
    openContext(sequences) {
      const transformers = Array.from({ length: sequences }, () => {
        return { config, weights, state: mallocRunState(config), layout };
      });
      let logits: Float32Array = new Float32Array();
      return {
        forward([{ token, pos, sequence }], wanted) {
          logits = forward(transformers[sequence], token, pos, wanted > 0).subarray(0, wanted * config.vocabSize);
          return logits;
        },
        sample: ([sampler]) => [logits.every(Number.isFinite) ? sample(sampler, logits) : -1],
        dispose() {},
      };
    },
    dispose() {},
  };
}
