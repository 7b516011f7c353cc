/*
 * All formats of input files.
 */
import type { Target } from "../fuzz.ts";
import { configJson, indexJson, paramsJson } from "./configs.ts";
import { gguf } from "./gguf.ts";
import { guesses } from "./guesses.ts";
import { llama2c } from "./llama2c.ts";
import { benchJson, receiptJson, traceJson } from "./results.ts";
import { safetensors } from "./safetensors.ts";
import { tokenizerBin, tokenizerJson, tokenizerModel } from "./tokenizers.ts";
import { torch } from "./torch.ts";

export const TARGETS: readonly Target[] = [
  ...llama2c,
  safetensors,
  gguf,
  torch,
  configJson,
  paramsJson,
  indexJson,
  tokenizerBin,
  tokenizerModel,
  tokenizerJson,
  guesses,
  traceJson,
  receiptJson,
  benchJson,
];
