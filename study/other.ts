/*
 * The other run: the changes to the story that are in the address.
 */
import { ablation, combined } from "../src/trace/ablate.ts";
import { TracedModel } from "../src/trace/model.ts";
import { patch, placeNamed, withWeight } from "../src/trace/patch.ts";
import type { TracedRun } from "../src/trace/run.ts";
import { app } from "./app.ts";
import type { RunSettings } from "./session.ts";
import { type State, state } from "./state.ts";

/** The parts of the state that change the other run. */
export const OTHER = ["off", "fork", "weight", "patch", "source", "temp2", "seed2"] as const;
/** The state without another run. */
export const NO_OTHER: Partial<State> = { off: "", fork: "", weight: "", patch: "", temp2: -1, seed2: 0 };

export const offParts = (): string[] => state.off.split(",").filter((part) => part !== "");

/** "12:345": the token 345 at position 12. */
export function forkOf(text: string): { pos: number; token: number } | undefined {
  const [, pos, token] = /^(\d+):(\d+)$/.exec(text)?.map(Number) ?? [];
  const isThere = pos > 0 && token < app.session.model.config.vocabSize;
  return isThere ? { pos, token } : undefined;
}

/** "wq[1][44][176]=0.5" */
export function weightOf(text: string): { name: string; value: number } | undefined {
  const [, name, value] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  return name !== undefined && Number.isFinite(Number(value)) ? { name, value: Number(value) } : undefined;
}

/** "L2.res1@5<4": at the stop L2.res1 of position 5, the source's values at position 4. */
export function patchOf(text: string): { stop: string; pos: number; from: number } | undefined {
  const [, stop, pos, from] = /^([\w.]+)@(\d+)<(\d+)$/.exec(text) ?? [];
  return stop === undefined ? undefined : { stop, pos: Number(pos), from: Number(from) };
}

/** The run that an activation is taken from: of another prompt, read once. */
let sourceRun: { prompt: string; model: TracedModel; run: TracedRun } | undefined;
function sourceOf(prompt: string): TracedRun {
  const { model } = app.session;
  if (sourceRun?.prompt !== prompt || sourceRun.model !== model) {
    sourceRun = { prompt, model, run: model.run(model.encode(prompt).slice(0, model.config.seqLen)) };
  }
  return sourceRun.run;
}

/**
 * The settings of the other run; undefined if it has no changes.
 * @throws Llama2Error E_USAGE for parts, stops, positions and weights that this model does not have
 */
export function otherSettings(): RunSettings | undefined {
  const [off, fork, weight, pasted] = [offParts(), forkOf(state.fork), weightOf(state.weight), patchOf(state.patch)];
  const { temp2, seed2 } = state;
  if (off.length === 0 && !fork && !weight && !pasted && temp2 < 0 && seed2 === 0) return undefined;
  let { model } = app.session;
  const { config, tokenizer } = model;
  const hooks = [ablation(off, config)];
  if (pasted) hooks.push(patch(sourceOf(state.source), pasted.from, placeNamed(pasted.stop, config), pasted.pos));
  if (weight) {
    model = new TracedModel(model.name, config, withWeight(model.weights, weight.name, weight.value), tokenizer);
  }
  return {
    ...state,
    model,
    hooks: combined(hooks),
    fork,
    temp: temp2 < 0 ? state.temp : temp2,
    seed: seed2 === 0 ? state.seed : seed2,
  };
}
