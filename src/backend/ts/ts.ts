/*
 * The ts backend: the reference's forward pass and sampler, with matrices in panels. Runs wherever JavaScript does.
 */
import { sample } from "../../llama2/sampler.ts";
import { forward, kvDimOf, mallocRunState, type Transformer } from "../../llama2/transformer.ts";
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
        const transformers: Transformer[] = new Array(sequences); // each is made when first used
        const transformer = (sequence: number) => {
          transformers[sequence] ??= { config, weights, state: mallocRunState(config) };
          return transformers[sequence];
        };
        let logits: Float32Array = new Float32Array();
        return {
          forward([{ token, pos, sequence }], wanted) {
            logits = forward(transformer(sequence), token, pos, wanted > 0).subarray(0, wanted * config.vocabSize);
            return logits;
          },
          sample: ([sampler]) => [logits.every(Number.isFinite) ? sample(sampler, logits) : -1],
          copy(from, to, positions) {
            const kvDim = kvDimOf(config);
            const [source, target] = [transformer(from).state, transformer(to).state];
            for (let l = 0; l < config.nLayers; l++) {
              const loff = l * config.seqLen * kvDim;
              const end = loff + positions * kvDim;
              target.keyCache.set(source.keyCache.subarray(loff, end), loff);
              target.valueCache.set(source.valueCache.subarray(loff, end), loff);
            }
          },
          dispose() {
            transformers.length = 0;
          },
        };
      },
      dispose() {},
    };
  },
};
