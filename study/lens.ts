/*
 * What the model would predict after each residual, computed once for each position of a run.
 */
import { lensAt, residualsOf } from "../src/trace/lens.ts";
import type { TracedRun } from "../src/trace/run.ts";
import { indexOf, type Place } from "../src/trace/stops.ts";
import { app, config, logitsAt, softmax } from "./app.ts";
import { breathe } from "./dom.ts";
import { state } from "./state.ts";

export interface Guess {
  place: Place;
  /** The stop's index in its pass. */
  index: number;
  /** The two likeliest tokens, and their probabilities. */
  tokens: [number, number];
  shares: [number, number];
  /** The rank here of the token that is likeliest in the end; 1 is the likeliest. */
  rank: number;
}

/** The guesses computed so far for each run and position, in order. */
const known = new WeakMap<TracedRun, Map<number, Guess[]>>();

/** The guesses at a position, after each residual. */
export function guesses(pos = state.pos): Guess[] {
  const found = begun(pos);
  while (another(found, pos));
  return found;
}

/** Compute the guesses at a position in advance, a little at a time. */
export async function prepareGuesses(pos: number, isWanted: () => boolean): Promise<void> {
  const found = begun(pos);
  do await breathe();
  while (isWanted() && another(found, pos));
}

function begun(pos: number): Guess[] {
  const { run } = app.story;
  const ofRun = known.get(run) ?? new Map<number, Guess[]>();
  known.set(run, ofRun);
  const found = ofRun.get(pos) ?? [];
  ofRun.set(pos, found);
  return found;
}

/** Add the next guess; false if there are no more. */
function another(found: Guess[], pos: number): boolean {
  const all = residualsOf(config().nLayers);
  const place = all[found.length];
  if (!place) return false;
  const final = topTwo(logitsAt(pos))[0];
  const isLast = found.length === all.length - 1; // after the last residual the lens shows the model's own logits
  const logits = isLast ? logitsAt(pos) : lensAt(app.story.run, pos, place);
  const probs = softmax(logits);
  const tokens = topTwo(logits);
  let rank = 1;
  for (let token = 0; token < logits.length; token++) {
    if (logits[token] > logits[final] || (logits[token] === logits[final] && token < final)) rank++;
  }
  const index = indexOf(place, config().nLayers);
  found.push({ place, index, tokens, shares: [probs[tokens[0]], probs[tokens[1]]], rank });
  return true;
}

/** The tokens with the two highest logits; on a tie, the lower first. */
export function topTwo(logits: Float32Array): [number, number] {
  let [first, second] = logits.length > 1 && logits[1] > logits[0] ? [1, 0] : [0, Math.min(1, logits.length - 1)];
  for (let token = 2; token < logits.length; token++) {
    if (logits[token] > logits[first]) [first, second] = [token, first];
    else if (logits[token] > logits[second]) second = token;
  }
  return [first, second];
}
