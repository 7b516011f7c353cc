/*
 * The ts backend: the reference's forward pass and sampler, with matrices in panels. Runs wherever JavaScript does.
 */
import { sample } from "../../llama2/sampler.ts";
import { forward, headSizeOf, kvDimOf, mallocRunState, type Transformer } from "../../llama2/transformer.ts";
import { groupSizeOf, isVector, type LoadMatrix, loadWeights, tensorsOf } from "../../llama2/weights.ts";
import type { Backend } from "../backend.ts";
import { checkMemory } from "../limits.ts";
import { int8PanelBytes, loadInt8Panels } from "./int8Panels.ts";
import { loadPanels, panelBytes } from "./panels.ts";

/** Panels in the format of each matrix. */
const loadMatrix: LoadMatrix = (source, name, layer, d, n) => {
  const load = source.formatOf(name) === "float32" ? loadPanels : loadInt8Panels;
  return load(source, name, layer, d, n);
};

/** What `load` and `mallocRunState` allocate: here each sequence has a run state of its own. */
const estimate: Backend["estimate"] = (source, contextLength, { memory = Infinity }) => {
  const p = source.config;
  const weights = tensorsOf(source).reduce((sum, { name, layers, d, n }) => {
    if (isVector(name)) return sum + layers * 4 * n;
    const groupSize = groupSizeOf(source.formatOf(name));
    return sum + layers * (groupSize === 0 ? panelBytes(d, n) : int8PanelBytes(d, n, groupSize));
  }, 0);
  const kv = 2 * p.nLayers * contextLength * kvDimOf(p);
  const activations = 4 * p.dim + 2 * p.hiddenDim + (3 * headSizeOf(p)) / 2;
  const perSequence = 4 * (kv + activations + p.nHeads * contextLength + p.vocabSize);
  return { weights, perSequence, scratch: 0, available: memory };
};

export const ts: Backend = {
  name: "ts",
  isa: "none",
  exact: true,
  estimate,
  async load(source, contextLength, options) {
    const config = { ...source.config, seqLen: contextLength };
    checkMemory(estimate(source, contextLength, options), config);
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
          trace({ pos, sequence }) {
            const { keyCache, valueCache } = transformer(sequence).state;
            const kvDim = kvDimOf(config);
            const keys = new Float32Array(config.nLayers * kvDim);
            const values = new Float32Array(config.nLayers * kvDim);
            for (let l = 0; l < config.nLayers; l++) {
              const at = (l * config.seqLen + pos) * kvDim;
              keys.set(keyCache.subarray(at, at + kvDim), l * kvDim);
              values.set(valueCache.subarray(at, at + kvDim), l * kvDim);
            }
            return { keys, values };
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
