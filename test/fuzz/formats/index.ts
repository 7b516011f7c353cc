/*
 * All formats that strangers' files come in.
 */
import type { Target } from "../fuzz.ts";
import { configJson, indexJson, paramsJson } from "./configs.ts";
import { gguf, safetensors, torch } from "./containers.ts";
import { guesses } from "./guesses.ts";
import { llama2c } from "./llama2c.ts";
import { benchJson, receiptJson, traceJson } from "./results.ts";
import { tokenizerBin, tokenizerJson, tokenizerModel } from "./tokenizers.ts";

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
