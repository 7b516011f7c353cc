/*
 * The ts backend: the reference's forward pass and sampler, with matrices in panels. Runs wherever Node does.
 */
import { sample } from "../../llama2/sampler.js";
import { forward, mallocRunState, memoryMapWeights } from "../../llama2/transformer.js";
import type { Backend } from "../backend.js";
import { panels } from "./panels.js";

export const ts: Backend = {
  name: "ts",
  load(source) {
    const { config } = source;
    const weights = memoryMapWeights(source, panels);
    return {
      threads: 1,
      openContext(sequences) {
        const transformers = Array.from({ length: sequences }, () => {
          return { config, weights, state: mallocRunState(config), layout: panels };
        });
        let logits: Float32Array = new Float32Array();
        return {
          maxBatch: 1,
          forward([{ token, pos, sequence }], wanted) {
            logits = forward(transformers[sequence], token, pos, wanted !== "none");
            return logits;
          },
          sample: (sampler) => sample(sampler, logits),
          dispose() {},
        };
      },
      dispose() {},
    };
  },
};
