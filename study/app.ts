/*
 * Shared by all screens: the session, the current place, and the display of tokens and numbers.
 */
import { BOS, EOS } from "../src/llama2/tokenizer.ts";
import type { Config } from "../src/llama2/transformer.ts";
import type { Ref } from "../src/trace/explain.ts";
import type { Stop } from "../src/trace/run.ts";
import { indexOf, type Place, type StopKind, stopOf } from "../src/trace/stops.ts";
import { fixed } from "./draw.ts";
import type { Session, Story } from "./session.ts";
import { type State, state } from "./state.ts";

interface App {
  session: Session;
  story: Story;
  /** The other run, if there is one. */
  other: Story | undefined;
  /** The values that were followed to the current one with "why". */
  trail: Ref[];
}

export const app = { trail: [] } as unknown as App;

/** Change the state and show it; main.ts says how. */
let show: (change: Partial<State>) => void = () => {};
export const onGo = (handler: typeof show): void => {
  show = handler;
};
export const go = (change: Partial<State>): void => show(change);

export const config = (): Config => app.session.model.config;
/** All stops of a pass. */
export const places = (): Place[] => app.session.places;
export const here = (): Place => places()[state.stop];
export const kind = (): StopKind => stopOf(here().id);
export const stopAt = (index = state.stop, pos = state.pos, story = app.story): Stop => story.run.at(pos).stops[index];

/** The numbers of a stop; those of rope are q and then k. */
export function valuesAt(index = state.stop, pos = state.pos, story = app.story): Float32Array {
  const { tensors } = stopAt(index, pos, story);
  if (tensors.length === 1) return tensors[0].values;
  const all = new Float32Array(tensors.reduce((sum, { values }) => sum + values.length, 0));
  let at = 0;
  for (const { values } of tensors) {
    all.set(values, at);
    at += values.length;
  }
  return all;
}

/** A cell of the current stop as a value of the run. */
export function refOf(cell: number, index = state.stop, pos = state.pos): Ref {
  const { id, layer, tensors } = stopAt(index, pos);
  const [first, second] = tensors;
  const isSecond = second !== undefined && cell >= first.values.length;
  const tensor = isSecond ? second : first;
  return { id, layer, pos, tensor: tensor.name, index: isSecond ? cell - first.values.length : cell };
}

/** Where a value is shown: position, stop and cell. */
export function placeOf(ref: Ref): Pick<State, "pos" | "stop" | "cell"> {
  const stop = indexOf(ref, config().nLayers);
  const [first] = stopAt(stop, ref.pos).tensors;
  const isSecond = ref.id === "rope" && ref.tensor === "k";
  return { pos: ref.pos, stop, cell: isSecond ? first.values.length + ref.index : ref.index };
}

/** A token for display: its piece, with signs for invisible characters. */
export function look(token: number): string {
  if (token === BOS) return "<s>";
  if (token === EOS) return "</s>";
  const piece = app.session.model.piece(token).replaceAll("\n", "↵").replace("<0x0A>", "↵");
  return piece.trim() === "" ? "␣".repeat(piece.length) : piece;
}
export const said = (token: number): string => `“${look(token).trim()}”`;
export const saidAt = (pos: number, story = app.story): string => said(story.run.tokens[pos]);

export const number = (value: number, digits = 4): string =>
  Number.isFinite(value) ? fixed(value, digits) : `${value}`;
export const percent = (share: number): string => `${fixed(share * 100, share >= 0.0995 ? 0 : 1)}%`;

/** All digits of a float32. */
export const exactly = (value: number): string => {
  for (let digits = 6; digits < 10; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === value) return text.replace("-", "−");
  }
  return `${value}`;
};

/** The softmax of logits in float64, only for display. */
export function softmax(logits: Float32Array, temperature = 1): Float64Array {
  const max = logits.reduce((a, b) => Math.max(a, b));
  const all = Float64Array.from(logits, (value) => Math.exp((value - max) / temperature));
  const sum = all.reduce((a, b) => a + b);
  return all.map((value) => value / sum);
}

/** Token ids by their logits, the largest first. */
export const ranked = (logits: Float32Array): number[] =>
  Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b);

/** The logits of a position. */
export const logitsAt = (pos: number, story = app.story): Float32Array => valuesAt(places().length - 1, pos, story);
