/*
 * Computes a figure from samples: the speed, the ratio, and whether it counts and reaches its target.
 */
import { ratios, summary } from "./samples.mjs";

/** With a second free core, llama2.c's OpenMP build is at least this much faster. Otherwise the machine was busy. */
const TWO_CORES = 1.4;

/**
 * @param {import("./figures.mjs").Figure} figure
 * @param {Record<string, { values: number[], outputs: Set<string> }>} samples
 * @param {number | undefined} positions how many positions were read
 */
export function judge(figure, samples, model, positions) {
  const { what, row, threads, ours, against, target } = figure;
  const mine = samples[ours].values;
  const theirs = samples[against].values;
  const isLoad = figure.group === "load";
  // a load is measured without the start of Node itself
  const compared = isLoad ? mine.map((ms, round) => ms - samples["load node"].values[round]) : mine;
  const ratio = summary(ratios(compared, theirs));
  const memory = figure.sweep ? bandwidth(figure, samples, model, positions) : undefined;
  const why = whyNot(figure, samples);
  return {
    row,
    what,
    model: model.name,
    threads,
    unit: isLoad ? "ms" : "tok/s",
    ours: summary(mine),
    against,
    reference: summary(theirs),
    ratio,
    ...(positions && { positions }),
    ...(memory && { memory }),
    target: target ?? null,
    counts: why === undefined,
    ...(why && { why }),
    met: target && why === undefined ? isMet(target, ratio, memory) : null,
    samples: { ours: mine, reference: theirs },
  };
}

/** Why a figure does not count; undefined if it does. */
function whyNot({ ours, against, otherTokens, threads }, samples) {
  const outputs = new Set([...samples[ours].outputs, ...(otherTokens ? [] : samples[against].outputs)]);
  if (outputs.size !== 1) return "the two generated different texts";
  if (threads < 2) return undefined;
  if (!samples["runomp 2"]) return "without --runomp it is not known whether the machine had two free cores";
  const gain = summary(ratios(samples["runomp 2"].values, samples["runomp 1"].values)).median;
  if (gain < TWO_CORES)
    return `the machine was busy: a second thread made runomp ${gain.toFixed(2)} times as fast, expected ${TWO_CORES}`;
  return undefined;
}

/** The bytes that a token reads (weights, and on average half of the positions), beside the memory's bandwidth. */
function bandwidth({ row, ours, sweep }, samples, model, positions) {
  const weights = row === "int8" ? model.int8Bytes : model.bytes;
  const bytesPerToken = weights + (model.ofPosition * positions) / 2;
  const gbPerSecond = samples[ours].values.map((tokensPerSecond) => (bytesPerToken * tokensPerSecond) / 1e9);
  return {
    bytesPerToken,
    gbPerSecond: summary(gbPerSecond),
    sweep: summary(samples[sweep].values),
    ofSweep: summary(ratios(gbPerSecond, samples[sweep].values)),
  };
}

function isMet(target, ratio, memory) {
  if (target.atMost !== undefined) return ratio.median <= target.atMost;
  return ratio.median >= target.atLeast || (target.ofSweep !== undefined && memory.ofSweep.median >= target.ofSweep);
}
