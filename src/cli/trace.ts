/*
 * llama2 trace: what a model computes for a token, stop by stop.
 */

import { Llama2Error } from "../errors.ts";
import { writeWhole } from "../files/outputFile.ts";
import { promptText } from "../files/text.ts";
import type { BackendName } from "../loadOptions.ts";
import { ablation } from "../trace/ablate.ts";
import { stopsOn } from "../trace/backends.ts";
import { diff, type TraceDiff } from "../trace/diff.ts";
import type { Ref } from "../trace/explain.ts";
import { npz, stopJson } from "../trace/export.ts";
import { divergence } from "../trace/lens.ts";
import type { TracedModel } from "../trace/model.ts";
import { BUNDLED, openTrace } from "../trace/open.ts";
import type { Stop, TracedRun } from "../trace/run.ts";
import { indexOf, isStopId, nameOf, STOPS, type StopId, stopOf } from "../trace/stops.ts";
import { type Why, why } from "../trace/why.ts";
import { print, readStdin, STDIN, tell } from "./io.ts";
import { checkBackendFlags, findModel, withAdvice } from "./model.ts";
import type { MachineFlags } from "./options.ts";
import { columns, number, picture, refName, table, tokenList, triangle, whyText } from "./traceText.ts";

export interface TraceFlags extends MachineFlags {
  prompt?: string;
  tokenizer?: string;
  pos?: number;
  temperature: number;
  topP: number;
  seed: bigint;
  at?: string;
  layer?: number;
  head?: number;
  step?: boolean;
  ablate?: string[];
  why?: string;
  depth: number;
  diff?: [BackendName, BackendName];
  tolerance?: number;
  npz?: string;
  open?: boolean;
  json?: boolean;
}

/** What is shown: a run, a position of it, and the stops of that position on the chosen backend. */
interface Look {
  model: TracedModel;
  run: TracedRun;
  pos: number;
  backend: BackendName;
  stops: readonly Stop[];
  next: number;
}

export async function trace(name: string | undefined, flags: TraceFlags, signal: AbortSignal): Promise<void> {
  checkFlags(flags);
  const prompt = flags.prompt === "-" ? promptText(await readStdin(signal), STDIN) : (flags.prompt ?? "");
  const { tokenizer, context, precision } = flags;
  const options = { tokenizer, context, precision: precision === "int8" ? precision : undefined };
  const path = name === undefined ? undefined : await findModel(name, signal);
  const model = await withAdvice(path, signal, () => openTrace(path, options));
  const { nLayers } = model.config;
  if (flags.layer !== undefined && flags.layer >= nLayers) {
    throw new Llama2Error("E_USAGE", `there is no layer ${flags.layer}: there are 0 to ${nLayers - 1}`);
  }
  const tokens = model.encode(prompt);
  const hooks = ablation(flags.ablate ?? [], model.config);
  const run = model.run(tokens, hooks);
  const sampler = model.sampler(flags);
  const pos = flags.pos ?? tokens.length - 1;
  model.continue(run, sampler, pos + 1);
  if (pos >= run.tokens.length) {
    const why = pos >= model.config.seqLen ? `the context has ${model.config.seqLen}` : "the story ends before it";
    throw new Llama2Error("E_USAGE", `there is no position ${pos}: ${why}; --pos is at most ${run.tokens.length - 1}`);
  }
  const next = run.tokens[pos + 1] ?? model.next(run, sampler);
  const backend = flags.backend === "auto" ? "ts" : flags.backend;
  const look = { model, run, pos, backend, next, stops: await stopsOf(backend, path, run, pos, flags) };
  if (flags.npz) writeWhole(flags.npz, npz(chosen(look.stops, flags), model.config.dim / model.config.nHeads));
  if (flags.open) return openStudy(look, path, flags, signal);
  if (flags.step) {
    const { Stepper, step } = await import("./traceStep.ts");
    return step(new Stepper(model, run, pos), signal);
  }
  await show(look, path, flags);
}

/** Open the study page at this position and stop. */
async function openStudy(
  { model, run, pos }: Look,
  path: string | undefined,
  flags: TraceFlags,
  signal: AbortSignal,
): Promise<void> {
  const { prompt = "", temperature, topP, seed, at, layer = 0, ablate = [], tokenizer } = flags;
  const id = at === undefined ? "embed" : idOf(at);
  const stop = indexOf({ id, layer: stopOf(id).place === "layer" ? layer : -1 }, model.config.nLayers);
  const more = Math.max(0, run.tokens.length - model.encode(prompt).length) + 24;
  const place = {
    view: "step",
    prompt,
    pos,
    stop,
    seed: `${seed}`,
    temp: temperature,
    topp: topP,
    more,
    off: ablate.join(),
  };
  const { study } = await import("./study.ts");
  const hash = new URLSearchParams(Object.entries(place).map(([name, value]): [string, string] => [name, `${value}`]));
  await study(path, { port: 0, open: true, tokenizer }, signal, `${hash}`);
}

/** Refuse flags that do not go together. */
function checkFlags(flags: TraceFlags): void {
  const { step, json, backend, ablate, head, layer, at, why, diff } = flags;
  const refuse = (message: string): never => {
    throw new Llama2Error("E_USAGE", message);
  };
  if (!diff?.includes("cuda")) checkBackendFlags({ ...flags, backend: backend === "auto" ? "ts" : backend });
  if (step && json) refuse("--step does not go with --json");
  const isElsewhere = backend !== "auto" && backend !== "ts";
  if (isElsewhere && (ablate || step || why))
    refuse(`--ablate, --step and --why need --backend ts: ${backend} fuses lines`);
  if (diff && ablate) refuse("--diff does not go with --ablate");
  if (at !== undefined && at !== "att" && !isStopId(at)) {
    refuse(`there is no stop "${at.slice(0, 40)}": expected ${STOPS.map(({ id }) => id).join(" ")}`);
  }
  if (head !== undefined && (layer === undefined || at === undefined))
    refuse("--head needs --layer and --at att or scores");
}

/** The stops of a position: the reference's, or those that another backend has. */
async function stopsOf(
  backend: BackendName,
  path: string | undefined,
  run: TracedRun,
  pos: number,
  { threads = 0, context = 0, precision, kvPrecision, device }: TraceFlags,
): Promise<readonly Stop[]> {
  if (backend === "ts") return run.at(pos).stops;
  const own = { precision: precision === "int8" ? undefined : precision, kvPrecision, device };
  const options = { threads, context, precision, own };
  const { stops, notes } = await stopsOn(backend, path ?? BUNDLED, run.tokens.slice(0, pos + 1), options);
  for (const note of notes) tell(note);
  return stops;
}

async function show(look: Look, path: string | undefined, flags: TraceFlags): Promise<void> {
  const { model, run, pos, stops } = look;
  const compared = flags.diff ? await compare(flags.diff, path, run, pos, flags) : undefined;
  const reason = flags.why === undefined ? undefined : why(run, refOf(flags.why, pos), flags.depth);
  const before = flags.ablate ? withoutAblation(look) : undefined;
  if (flags.json) await print(`${JSON.stringify(json(look, flags, compared, reason, before))}\n`);
  else if (compared) await print(diffText(compared, flags.diff as [string, string]));
  else if (reason) await print(whyText(reason, model, run));
  else if (flags.at) await print(pictures(look, flags));
  else await print(heading(look, flags, before) + table(chosen(stops, flags)));
  if (compared?.firstDivergent) {
    const [a, b] = flags.diff as [string, string];
    throw new Llama2Error("E_NUMERIC", `${a} and ${b} differ at ${compared.firstDivergent}`);
  }
}

const chosen = (stops: readonly Stop[], { at, layer }: TraceFlags): Stop[] =>
  stops.filter((stop) => (layer === undefined || stop.layer === layer) && (at === undefined || stop.id === idOf(at)));

/** The source calls the attention weights `att`. */
const idOf = (at: string): StopId => (at === "att" ? "probs" : (at as StopId));

function heading({ model, run, pos, backend, next, stops }: Look, { ablate }: TraceFlags, before?: Before): string {
  const lines = [
    `${model.name} on ${backend}: ${tokenList(model, run, run.tokens.length)}`,
    `position ${pos} ${model.label(run.tokens[pos])}, ${stops.length} stops; then comes ${model.label(next)}`,
  ];
  if (before) {
    const { next, kl } = before;
    lines.push(`without ${ablate?.join(", ")}; with it, then comes ${model.label(next)} (KL ${number(kl)} nats)`);
  }
  return `${lines.join("\n")}\n\n`;
}

function pictures(look: Look, flags: TraceFlags): string {
  const { model, run } = look;
  const { head, layer } = flags;
  const stops = chosen(look.stops, flags);
  if (stops.length === 0) throw new Llama2Error("E_USAGE", `${flags.at} is not in layer ${layer}`);
  if (head !== undefined) {
    const id = idOf(flags.at as string);
    if (id !== "probs" && id !== "scores") throw new Llama2Error("E_USAGE", "--head goes with --at att or --at scores");
    if (head >= model.config.nHeads) {
      throw new Llama2Error("E_USAGE", `there is no head ${head}: there are 0 to ${model.config.nHeads - 1}`);
    }
    return `${nameOf(stops[0])}, head ${head}: a row for each position, a column for each that it looks at\n${triangle(run, model, id, layer as number, head)}`;
  }
  return stops
    .flatMap((stop) => {
      if (stop.fused) return [`${nameOf(stop)} is fused on ${look.backend}: it has no values there\n`];
      return stop.tensors.map((t) => `${nameOf(stop)}, ${t.name}\n${picture(stop, t, model, run)}`);
    })
    .join("\n");
}

// ----------------------------------------------------------------------------
// two backends

async function compare(
  [a, b]: [BackendName, BackendName],
  path: string | undefined,
  run: TracedRun,
  pos: number,
  flags: TraceFlags,
): Promise<TraceDiff> {
  const isExact = a !== "cuda" && b !== "cuda";
  const [first, second] = [await stopsOf(a, path, run, pos, flags), await stopsOf(b, path, run, pos, flags)];
  return diff(first, second, flags.tolerance ?? (isExact ? 0 : 1e-4));
}

function diffText({ firstDivergent, stops }: TraceDiff, [a, b]: [string, string]): string {
  const rows = [["stop", "max abs", "max ulp", "largest"]];
  for (const stop of stops) {
    rows.push([
      nameOf(stop),
      stop.maxAbs === 0 ? "0" : stop.maxAbs.toExponential(2),
      `${stop.maxUlp}`,
      number(stop.scale),
    ]);
  }
  const most = Math.max(...stops.map(({ maxUlp }) => maxUlp));
  const close = most === 0 ? "the same, bit for bit" : "the same within the tolerance";
  const verdict = firstDivergent ? `${a} and ${b} differ first at ${firstDivergent}` : `${a} and ${b} are ${close}`;
  return `${columns(rows, [1, 2, 3])}${verdict}: ${stops.length} stops that both have\n`;
}

// ----------------------------------------------------------------------------
// JSON, and values by name

/** The next token without the ablation, and how far the ablation has moved the probabilities. */
interface Before {
  next: number;
  kl: number;
}

function withoutAblation({ model, run, pos, stops }: Look): Before {
  const whole = model.run(run.tokens.slice(0, pos + 1));
  const ablated = stops[stops.length - 1].tensors[0].values;
  return { next: model.next(whole, model.sampler()), kl: divergence(whole.logits, ablated) };
}

function json(look: Look, flags: TraceFlags, compared?: TraceDiff, reason?: Why, before?: Before): object {
  const { model, run, pos, backend, next, stops } = look;
  const named = (id: number) => ({ id, piece: model.piece(id) });
  return {
    model: model.name,
    backend,
    prompt: flags.prompt === "-" ? undefined : (flags.prompt ?? ""),
    tokens: run.tokens,
    position: pos,
    stops: chosen(stops, flags).map(stopJson),
    next: named(next),
    ablated: before && { parts: flags.ablate, before: named(before.next), kl: before.kl },
    diff: compared && {
      ...compared,
      stops: compared.stops.map(({ layer, ...stop }) => (layer < 0 ? stop : { layer, ...stop })),
    },
    why: reason && whyJson(reason),
  };
}

function whyJson({ ref, value, formula, terms, exact, largest, next }: Why): object {
  return {
    value: refName(ref),
    number: value,
    formula,
    terms: terms.length,
    exact,
    largest: largest.slice(0, 5).map(({ value, factors }) => ({
      value,
      factors: factors.map(({ name, value }) => ({ name, value })),
    })),
    next: next && whyJson(next),
  };
}

/** "L2.q[5]", "logits[12]" or "L0.rope.k[3]" as a value. */
function refOf(text: string, pos: number): Ref {
  const [, layer, id, tensor, index] = /^(?:L(\d+)\.)?(\w+)(?:\.([qk]))?\[(\d+)\]$/.exec(text) ?? [];
  if (!id || !isStopId(id)) {
    throw new Llama2Error(
      "E_USAGE",
      `--why ${text.slice(0, 40)}: expected a stop and an index, as logits[12] or L2.q[5]`,
    );
  }
  const { tensors, place } = stopOf(id);
  if ((place === "layer") !== (layer !== undefined)) {
    const form = place === "layer" ? `L0.${id}[${index}]` : `${id}[${index}]`;
    throw new Llama2Error(
      "E_USAGE",
      `--why ${text}: ${id} is ${place === "layer" ? "" : "not "}in a layer, as ${form}`,
    );
  }
  const found = tensors.find((name) => name === tensor) ?? tensors[0];
  return { id, layer: layer === undefined ? -1 : Number(layer), pos, tensor: found, index: Number(index) };
}
