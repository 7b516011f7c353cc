/*
 * The screen Step: one line of source, the tensor that it wrote, its purpose, and the logit lens.
 */

import { residualBefore } from "../src/trace/explain.ts";
import { LINES } from "../src/trace/forward.ts";
import { indexOf, nameOf, type StopId, sentenceOf, withNumbers } from "../src/trace/stops.ts";
import {
  app,
  config,
  go,
  here,
  kind,
  logitsAt,
  look,
  number,
  percent,
  places,
  said,
  saidAt,
  stopAt,
  valuesAt,
} from "./app.ts";
import { drawCache } from "./cache.ts";
import { $, el } from "./dom.ts";
import { bars, type Figure, heat, largest, strip, writeScale } from "./draw.ts";
import { explained } from "./glossary.ts";
import { drawSum, writeHow } from "./how.ts";
import { type Guess, guesses, topTwo } from "./lens.ts";
import { state } from "./state.ts";

let figure: Figure | undefined;
let hover = -1;

export function drawStep(): void {
  const place = here();
  const { name, words, tensors } = kind();
  const values = valuesAt();
  // first all text, then all pictures: reading a picture's width forces a layout
  $("name").textContent = name;
  $("shape").textContent = stopAt()
    .tensors.map((tensor) => `${tensor.name} (${tensor.shape.join(" × ")})`)
    .join(", ");
  $("say").textContent = sentenceOf(place, config(), state.pos);
  const text = withNumbers(words, config());
  if ($("why").dataset.text !== text) $("why").replaceChildren(...explained(text));
  $("why").dataset.text = text;
  $("now").textContent = nowWords();
  $("openSource").textContent = `${LINES[place.id].line}  ${LINES[place.id].text}`;
  const [min, max] = [smallest(values), -smallest(values.map((value) => -value))];
  $("figure").ariaLabel =
    `${tensors.join(" and ")}, ${values.length} values from ${number(min, 3)} to ${number(max, 3)}. Arrow keys choose one.`;
  drawLegend(values);
  readout(state.cell);
  drawLens();
  const made = writeHow();
  const strips = writeReads();
  for (const { canvas, values, isShare } of strips) strip(canvas, values, isShare);
  figure = drawFigure($<HTMLCanvasElement>("figure"));
  if (made) drawSum(made);
  drawCache();
}

const smallest = (values: Float32Array): number => values.reduce((a, b) => Math.min(a, b));

function drawLegend(values: Float32Array): void {
  $("legend").hidden = isBars();
  writeScale($("legend"), here().id === "probs" ? "share" : "signed", largest(values));
}

const isBars = (): boolean => !["q", "k", "v", "rope", "scores", "probs", "mix", "logits"].includes(here().id);

/** The stop that a stop reads. */
function readStop(id: StopId | "x"): number {
  const place = here();
  if (id === "x") return indexOf(residualBefore(place, config().nLayers), config().nLayers);
  return indexOf({ id, layer: place.layer }, config().nLayers);
}

interface Strip {
  canvas: HTMLCanvasElement;
  values: Float32Array;
  isShare: boolean;
}

/** The tensors that the line reads, as strips that link to their stops. */
function writeReads(): Strip[] {
  const strips: Strip[] = [];
  const parts: HTMLElement[] = [];
  for (const [i, id] of kind().reads.entries()) {
    const index = readStop(id);
    const values = valuesAt(index);
    const tensor = id === "rope" ? "q, k" : stopAt(index).tensors[0].name;
    const canvas = el("canvas");
    const button = el("button", { className: "strip", ariaLabel: `Go to ${nameOf(places()[index])}` }, canvas);
    button.onclick = () => go({ stop: index, cell: -1 });
    parts.push(el("span", { textContent: `${i ? "and" : "reads"} ${tensor} (${values.length})` }), button);
    strips.push({ canvas, values, isShare: id === "probs" });
  }
  if (parts.length === 0) {
    parts.push(el("span", { className: "all", textContent: `reads token ${app.story.run.tokens[state.pos]}` }));
  }
  $("reads").replaceChildren(...parts);
  return strips;
}

function drawFigure(canvas: HTMLCanvasElement): Figure {
  const { id } = here();
  const values = valuesAt();
  const { nHeads, nKvHeads, dim } = config();
  const size = dim / nHeads;
  const chosen = state.cell;
  const names = (count: number, word: string) => Array.from({ length: count }, (_, i) => `${word} ${i}`);
  if (isBars()) {
    const isSum = id === "res1" || id === "res2";
    return bars(canvas, values, { chosen, before: isSum ? valuesAt(readStop("x")) : undefined });
  }
  if (id === "logits") {
    const cols = values.length > 1024 ? 64 : 32;
    const cellHeight = values.length > 8192 ? 2 : values.length > 1024 ? 9 : 18;
    return heat(canvas, values, {
      rows: Math.ceil(values.length / cols),
      cols,
      cellHeight,
      maxCell: 40,
      chosen,
    });
  }
  if (id === "scores" || id === "probs") {
    const tokens = app.story.run.tokens.slice(0, state.pos + 1);
    const colLabels = tokens.map((token) => look(token).trim() || "␣");
    const common = { rowLabels: names(nHeads, "head"), colLabels, cellHeight: 30, joined: nHeads / nKvHeads, chosen };
    return heat(canvas, values, {
      ...common,
      rows: nHeads,
      cols: tokens.length,
      isShare: id === "probs",
    });
  }
  if (id === "rope") {
    const rowLabels = [...names(nHeads, "q"), ...names(nKvHeads, "k")];
    const split = { row: nHeads, label: "k, shared by the query heads of a group" };
    const rows = nHeads + nKvHeads;
    return heat(canvas, values, { rows, cols: size, rowLabels, cellHeight: 22, pairs: size <= 16, split, chosen });
  }
  const rows = values.length / size;
  const rowLabels = names(rows, id === "k" ? "key" : id === "v" ? "value" : "head");
  return heat(canvas, values, { rows, cols: size, rowLabels, cellHeight: 34, chosen });
}

/** A sentence about this run's values. */
function nowWords(): string {
  const { id, layer } = here();
  const values = valuesAt();
  const n = state.pos + 1;
  const token = app.story.run.tokens[state.pos];
  if (id === "embed") return `Here: token ${token}, ${said(token)}.`;
  if (id === "scores" || id === "probs") {
    if (n === 1) return "Here: this is the first position, so it can only look at itself.";
    let best = 0;
    for (let i = 0; i < values.length; i++)
      if (i % n !== state.pos && !(values[best] >= values[i] && best % n !== state.pos)) best = i;
    const found = id === "probs" ? percent(values[best]) : number(values[best], 2);
    return `Here: looking back, head ${Math.floor(best / n)} finds ${saidAt(best % n)} most (${found}).`;
  }
  if (id === "act")
    return `Here: ${values.filter((v) => Math.abs(v) < 0.1).length} of ${values.length} end up smaller than 0.1.`;
  if (id === "k" || id === "v") return `Here: written to row ${state.pos} of layer ${layer}’s cache.`;
  if (id === "logits") {
    const [best] = topTwo(values);
    return `Here: ${said(best)} has the highest score, ${number(values[best], 2)}.`;
  }
  if (id === "res1" || id === "res2") {
    const [before, now] = [readStop("x"), state.stop].map(
      (at) => guesses().find(({ index }) => index === at)?.tokens[0] ?? 0,
    );
    return before === now
      ? `Here: the best guess stays ${said(now)}.`
      : `Here: the best guess moves from ${said(before)} to ${said(now)}.`;
  }
  return "";
}

function cellWords(cell: number): string {
  const { id } = here();
  const { nHeads, dim } = config();
  const size = dim / nHeads;
  const n = state.pos + 1;
  if (id === "scores" || id === "probs") return `head ${Math.floor(cell / n)} to ${saidAt(cell % n)}`;
  if (id === "logits") return said(cell);
  if (id === "rope" && cell >= dim) return `key head ${Math.floor((cell - dim) / size)}, number ${(cell - dim) % size}`;
  if (["q", "rope", "mix"].includes(id)) return `head ${Math.floor(cell / size)}, number ${cell % size}`;
  if (id === "k" || id === "v") return `key head ${Math.floor(cell / size)}, number ${cell % size}`;
  return "";
}

function readout(cell: number): void {
  const values = valuesAt();
  if (cell >= 0 && cell < values.length) {
    $("readout").textContent = `${cellName(cell)} = ${number(values[cell], 7)}   ${cellWords(cell)}`;
    return;
  }
  const mean = values.reduce((a, b) => a + b) / values.length;
  const [min, max] = [Math.min(...values), Math.max(...values)];
  $("readout").textContent = `min ${number(min, 3)}  mean ${number(mean, 3)}  max ${number(max, 3)}`;
}

export function cellName(cell: number): string {
  const { id } = here();
  const n = state.pos + 1;
  if (id === "scores" || id === "probs") return `att[${Math.floor(cell / n)}][${cell % n}]`;
  if (id === "rope") return cell < config().dim ? `q[${cell}]` : `k[${cell - config().dim}]`;
  return `${kind().tensors[0]}[${cell}]`;
}

/** The rows of the lens, created once for each position. */
let lensRows: HTMLTableRowElement[] = [];
let lensOf: Guess[] | undefined;

/** Draw the lens: what the model would predict after each residual. */
function drawLens(): void {
  const all = guesses();
  if (lensOf !== all) writeLens(all);
  lensOf = all;
  const last = all.findLastIndex(({ index }) => index <= state.stop);
  for (const [i, row] of lensRows.entries()) {
    row.classList.toggle("lit", i === last);
    row.classList.toggle("later", all[i].index > state.stop);
  }
}

function writeLens(all: Guess[]): void {
  lensRows = all.map(({ place, index, tokens, shares, rank }) => {
    const label =
      place.layer < 0 ? "embedding" : `${place.layer} ${place.id === "res1" ? "attention" : "feed-forward"}`;
    const cell = (i: 0 | 1) =>
      el("td", {}, look(tokens[i]).trim() || "␣", " ", el("em", { textContent: percent(shares[i]) }));
    const open = el("button", { className: "link", textContent: label });
    open.onclick = () => go({ stop: index, cell: -1 });
    return el("tr", {}, el("td", {}, open), cell(0), cell(1), el("td", { textContent: `${rank}` }));
  });
  const heads = ["after", "likeliest", "second", "rank"].map((text) => el("th", { textContent: text, scope: "col" }));
  $("lens").replaceChildren(el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...lensRows));
  $("lensFor").textContent = `if it stopped here; rank of ${said(topTwo(logitsAt(state.pos))[0])}`;
}

/** Pointer and keys on the figure. */
export function listenToFigure(): void {
  const canvas = $<HTMLCanvasElement>("figure");
  canvas.addEventListener("pointermove", (event) => {
    hover = figure?.at(event.offsetX, event.offsetY) ?? -1;
    readout(hover >= 0 ? hover : state.cell);
  });
  canvas.addEventListener("pointerleave", () => readout(state.cell));
  canvas.addEventListener("click", (event) => {
    app.trail = [];
    go({ cell: figure?.at(event.offsetX, event.offsetY) ?? -1 });
  });
  canvas.addEventListener("keydown", (event) => {
    const step = figure?.step ?? 1;
    const by: Record<string, number> = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: step, ArrowUp: -step, Enter: 0 };
    if (!(event.key in by)) return;
    event.preventDefault();
    const cell = state.cell < 0 ? 0 : state.cell + by[event.key];
    if (cell >= 0 && cell < valuesAt().length) go({ cell });
  });
}
