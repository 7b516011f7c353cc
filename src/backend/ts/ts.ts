/*
 * The ts backend: the reference's forward pass and sampler, with matrices in panels. Runs wherever JavaScript does.
 */
import { sample } from "../../llama2/sampler.ts";
import { forward, mallocRunState } from "../../llama2/transformer.ts";
import { type LoadMatrix, loadWeights } from "../../llama2/weights.ts";
import type { Backend } from "../backend.ts";
import { loadInt8Panels } from "./int8Panels.ts";
import { loadPanels } from "./panels.ts";

/** Panels of whatever format each matrix has. */
const loadMatrix: LoadMatrix = (source, name, layer, d, n) => {
  const load = source.formatOf(name) === "float32" ? loadPanels : loadInt8Panels;
  return load(source, name, layer, d, n);
};

export const ts: Backend = {
  name: "ts",
  isa: "none",
  async load(source, contextLength) {
    const config = { ...source.config, seqLen: contextLength };
    const weights = await loadWeights(source, loadMatrix);
    return {
      threads: 1,
      maxBatch: 1,
      openContext(sequences) {
        const transformers = Array.from({ length: sequences }, () => {
          return { config, weights, state: mallocRunState(config) };
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
  },
};
