/*
 * Ablation: switch off parts of a model, by name.
 */
import { checkThat } from "../check.ts";
import { Llama2Error } from "../errors.ts";
import { type Config, headSizeOf } from "../llama2/transformer.ts";
import type { Hook, Hooks } from "./run.ts";

/**
 * The hooks that switch parts off: `L2` a layer, `L2.att` and `L2.ffn` its two halves, `L2.H5` a head. Switching off a
 * half replaces what it would add to x by zeros; switching off a head replaces its output by zeros.
 * @throws Llama2Error E_USAGE for any other name, or a part that the model does not have
 */
export function ablation(parts: readonly string[], config: Config): Hooks {
  const isNames = Array.isArray(parts) && Array.from(parts).every((part) => typeof part === "string");
  checkThat("parts", parts, isNames, "an array of names such as L2.H5");
  checkThat("config", config, Number.isInteger((config as Partial<Config> | null)?.nLayers), "a model's config");
  return combined(parts.map((part) => hooksFor(part, config)));
}

function hooksFor(part: string, config: Config): Hooks {
  const { nLayers, nHeads } = config;
  const [, layerText, rest] =
    /^L(\d+)(?:\.(att|ffn|H\d+))?$/.exec(part) ?? refuse(part, "expected L2, L2.att, L2.ffn or L2.H5");
  const layer = Number(layerText);
  if (layer >= nLayers) refuse(part, `the layers are L0 to L${nLayers - 1}`);
  const zero: Hook = (values, at) => {
    if (at.layer === layer) values.fill(0);
  };
  if (rest === undefined) return { proj: zero, down: zero };
  if (rest === "att") return { proj: zero };
  if (rest === "ffn") return { down: zero };
  const head = Number(rest.slice(1));
  if (head >= nHeads) refuse(part, `the heads are H0 to H${nHeads - 1}`);
  const size = headSizeOf(config);
  return {
    mix(values, at) {
      if (at.layer === layer) values.fill(0, head * size, (head + 1) * size);
    },
  };
}

function refuse(part: string, why: string): never {
  throw new Llama2Error("E_USAGE", `"${part.slice(0, 40)}" is no part of this model to switch off: ${why}`);
}

/** Several sets of hooks as one: at a stop, they are called in this order. */
export function combined(all: readonly Hooks[]): Hooks {
  const hooks: Hooks = {};
  for (const each of all) {
    for (const [id, hook] of Object.entries(each) as [keyof Hooks, Hook][]) {
      const before = hooks[id];
      hooks[id] = before ? inTurn(before, hook) : hook;
    }
  }
  return hooks;
}

const inTurn =
  (first: Hook, second: Hook): Hook =>
  (values, at) => {
    first(values, at);
    second(values, at);
  };
