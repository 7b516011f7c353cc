/*
 * What the model would say after each residual: computed once for each position of a run.
 */
import { lensAt, residualsOf } from "../src/trace/lens.ts";
import type { TracedRun } from "../src/trace/run.ts";
import { indexOf, type Place } from "../src/trace/stops.ts";
import { app, config, logitsAt, softmax } from "./app.ts";
import { state } from "./state.ts";

export interface Guess {
  place: Place;
  /** The stop's index in its pass. */
  index: number;
  /** The two likeliest tokens, and their probabilities. */
  tokens: [number, number];
  shares: [number, number];
  /** Which place the token has that the model says in the end; 1 is the likeliest. */
  rank: number;
}

const known = new WeakMap<TracedRun, Map<number, Guess[]>>();

/** The guesses at a position, after each residual. */
export function guesses(pos = state.pos): Guess[] {
  const { run } = app.story;
  const ofRun = known.get(run) ?? new Map<number, Guess[]>();
  known.set(run, ofRun);
  const found = ofRun.get(pos) ?? compute(run, pos);
  ofRun.set(pos, found);
  return found;
}

function compute(run: TracedRun, pos: number): Guess[] {
  const final = topTwo(logitsAt(pos))[0];
  return residualsOf(config().nLayers).map((place) => {
    const logits = lensAt(run, pos, place);
    const probs = softmax(logits);
    const tokens = topTwo(logits);
    let rank = 1;
    for (let token = 0; token < logits.length; token++) {
      if (logits[token] > logits[final] || (logits[token] === logits[final] && token < final)) rank++;
    }
    const index = indexOf(place, config().nLayers);
    return { place, index, tokens, shares: [probs[tokens[0]], probs[tokens[1]]], rank };
  });
}

/** The tokens with the two highest logits; of equal ones the lower first. */
export function topTwo(logits: Float32Array): [number, number] {
  let [first, second] = logits.length > 1 && logits[1] > logits[0] ? [1, 0] : [0, Math.min(1, logits.length - 1)];
  for (let token = 2; token < logits.length; token++) {
    if (logits[token] > logits[first]) [first, second] = [token, first];
    else if (logits[token] > logits[second]) second = token;
  }
  return [first, second];
}
