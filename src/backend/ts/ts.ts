/*
 * The ts backend: the reference's forward pass and sampler, with matrices in panels. Runs wherever JavaScript does.
 */
import { sample } from "../../llama2/sampler.ts";
import { forward, mallocRunState } from "../../llama2/transformer.ts";
import { type MatrixLayout, memoryMapWeights } from "../../llama2/weights.ts";
import type { Backend } from "../backend.ts";
import { type Int8Panels, int8Panels } from "./int8Panels.ts";
import { type Panels, panels } from "./panels.ts";

/** Panels of whatever format each matrix has. */
const layout: MatrixLayout<Panels | Int8Panels> = {
  load: (source, name, ...rest) =>
    (source.formatOf(name) === "float32" ? panels : int8Panels).load(source, name, ...rest),
  matmul: (xout, x, w) => ("words" in w ? int8Panels.matmul(xout, x, w) : panels.matmul(xout, x, w)),
  copyRow: (xout, w, row) => ("words" in w ? int8Panels.copyRow(xout, w, row) : panels.copyRow(xout, w, row)),
};

export const ts: Backend = {
  name: "ts",
  isa: "none",
  async load(source, contextLength) {
    const config = { ...source.config, seqLen: contextLength };
    const weights = await memoryMapWeights(source, layout);
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
  },
};
