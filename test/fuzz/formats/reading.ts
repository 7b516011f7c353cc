/*
 * Reading all of a file, as loading a model and generating would.
 */
import { encode, type PreparingTokenizer } from "../../../src/encode.ts";
import { decode } from "../../../src/llama2/tokenizer.ts";
import { groupSizeOf, shapesOf, tensorsOf, type WeightSource } from "../../../src/llama2/weights.ts";

/** Read every tensor of a model, whose pieces must be what its config says. */
export async function readWeights(source: WeightSource): Promise<void> {
  const { config } = source;
  for (const [key, value] of Object.entries(config)) {
    const whole = key !== "normEps" && key !== "ropeTheta";
    if (!(value > 0) || (whole && !Number.isSafeInteger(value))) throw new Error(`${key} is ${value}`);
  }
  if (config.dim % config.nHeads !== 0 || config.nHeads % config.nKvHeads !== 0) throw new Error("wrong heads");
  for (const { name, layers } of tensorsOf(source)) {
    const { d, n } = shapesOf(config)[name];
    const groupSize = groupSizeOf(source.formatOf(name));
    for (const layer of new Set([0, layers - 1])) {
      let at = 0;
      for await (const piece of source.pieces(name, layer, 1)) {
        if (piece.offset !== at) throw new Error(`a piece of ${name} is at ${piece.offset}, expected ${at}`);
        at += "values" in piece ? piece.values.length : piece.q.length;
        if ("q" in piece && piece.scales.length * groupSize !== piece.q.length) throw new Error("wrong scales");
      }
      if (at !== d * n) throw new Error(`${name} has ${at} numbers, expected ${d * n}`);
    }
  }
}

const TEXTS = ["", "ab é \u{1f600} a", " a<s>b  "].map((text) => Buffer.from(text).toString("latin1"));

/** Encode and decode some text: every token must be one of the vocabulary. */
export function useTokenizer(tokenizer: PreparingTokenizer): void {
  for (const text of TEXTS) {
    const tokens = encode(tokenizer, text, true, true);
    for (const [i, token] of tokens.entries()) {
      if (typeof tokenizer.vocab[token] !== "string") throw new Error(`token ${token} is not in the vocabulary`);
      decode(tokenizer, tokens[i - 1] ?? -1, token);
    }
  }
}
