/*
 * Interleaved samples, and their statistics.
 */
import { spreadOf } from "../dist/bench/result.js";

/**
 * Take samples of all engines in turn, A B C A B C ..., so that disturbances affect all of them. The first round warms up
 * and does not count.
 * @param {Map<string, () => { value: number, output?: string }>} engines output: the text, to be compared
 * @returns {Record<string, { values: number[], outputs: Set<string> }>}
 */
export function interleave(engines, rounds, onRound) {
  const samples = Object.fromEntries([...engines.keys()].map((name) => [name, { values: [], outputs: new Set() }]));
  for (let round = 0; round <= rounds; round++) {
    onRound(round);
    for (const [name, engine] of engines) {
      const { value, output } = engine();
      if (round > 0) samples[name].values.push(value);
      if (output !== undefined) samples[name].outputs.add(output);
    }
  }
  return samples;
}

export function summary(values) {
  const { median, min, max } = spreadOf(values);
  return { median, min, max };
}

/** The ratio of each round: a machine that slows down slows both. */
export const ratios = (a, b) => a.map((value, round) => value / b[round]);

export const sum = (values) => values.reduce((a, b) => a + b, 0);
