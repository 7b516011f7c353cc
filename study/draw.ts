/*
 * Pictures on Canvas 2D. Colours come from the style sheet. A picture of cells knows the box of each cell, and the cell at
 * each point.
 */
import { el } from "./dom.ts";

export interface Box {
  x: number;
  y: number;
  w: number;
  h: number;
}

/** A picture of values, cell by cell. */
export interface Figure {
  box(cell: number): Box;
  /** The cell at a point, or -1. */
  at(x: number, y: number): number;
  /** How many cells a row has: from a cell to the one below it. */
  step: number;
}

type Rgb = [number, number, number];

interface Palette {
  ink: string;
  soft: string;
  line: string;
  paper: string;
  accent: string;
  wash: string;
  on: string;
  sans: string;
  mono: string;
}

/** The colours of a scale in small steps, as numbers and as CSS. The last one is for NaN and infinity. */
interface Scale {
  rgb: Rgb[];
  css: string[];
  /** For ImageData. */
  rgba: Uint32Array;
}
const STEPS = 512;

export let palette: Palette;
let signed: Scale;
let share: Scale;

/** Read the colours again, after a change of theme. */
export function readPalette(): void {
  const css = getComputedStyle(document.documentElement);
  const get = (name: string) => css.getPropertyValue(`--${name}`).trim();
  const rgb = (name: string) => [1, 3, 5].map((i) => Number.parseInt(get(name).slice(i, i + 2), 16)) as Rgb;
  const named = Object.fromEntries(
    ["ink", "soft", "line", "paper", "accent", "wash", "on", "sans", "mono"].map((name) => [name, get(name)]),
  );
  palette = named as unknown as Palette;
  signed = scaleOf(["d0", "d1", "d2", "d3", "d4"].map(rgb));
  share = scaleOf(["s0", "s1", "s2", "s3"].map(rgb));
}

function scaleOf(stops: Rgb[]): Scale {
  const rgb = Array.from({ length: STEPS + 1 }, (_, i) => mix(stops, i / STEPS));
  rgb.push([128, 128, 128]);
  const rgba = new Uint8Array(rgb.flatMap((color) => [...color, 255]));
  return { rgb, css: rgb.map(css), rgba: new Uint32Array(rgba.buffer) };
}

function mix(stops: Rgb[], t: number): Rgb {
  const f = Math.max(0, Math.min(1, t)) * (stops.length - 1);
  const i = Math.min(stops.length - 2, Math.floor(f));
  return stops[i].map((a, j) => Math.round(a + (stops[i + 1][j] - a) * (f - i))) as Rgb;
}

function stepOf(value: number, max: number, isShare: boolean): number {
  if (!Number.isFinite(value)) return STEPS + 1;
  const t = isShare ? value / (max || 1) : 0.5 + (0.5 * value) / (max || 1);
  return Math.round(Math.max(0, Math.min(1, t)) * STEPS);
}

/** The colour of a value: signed ones from -max to max, shares from 0 to max. */
export const colorOf = (value: number, max: number, isShare = false): Rgb =>
  (isShare ? share : signed).rgb[stepOf(value, max, isShare)];
/** The same as CSS. */
export const cssOf = (value: number, max: number, isShare = false): string =>
  (isShare ? share : signed).css[stepOf(value, max, isShare)];

export const css = (color: Rgb): string => `rgb(${color})`;

/** A scratch canvas for images with a pixel per cell: `cols` by `rows` pixels. */
const scratch = el("canvas");

export function image(values: ArrayLike<number>, cols: number, rows: number, max: number): HTMLCanvasElement {
  const picture = new ImageData(cols, rows);
  const pixels = new Uint32Array(picture.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = signed.rgba[stepOf(values[i], max, false)];
  if (scratch.width < cols || scratch.height < rows) Object.assign(scratch, { width: cols, height: rows });
  scratch.getContext("2d", { willReadFrequently: true })?.putImageData(picture, 0, 0);
  return scratch;
}

/** Black or white, whichever is readable on a colour. */
export function inkOn(color: Rgb): string {
  const luminance = color.reduce((sum, part, i) => sum + [0.2126, 0.7152, 0.0722][i] * (part / 255) ** 2.2, 0);
  return luminance > 0.18 ? "#000000" : "#ffffff";
}

/** A number with a true minus sign, and no sign before zero. */
export const fixed = (value: number, digits: number): string =>
  value
    .toFixed(digits)
    .replace(/^-(0\.?0*)$/, "$1")
    .replace("-", "−");

export function largest(values: ArrayLike<number>): number {
  let max = 0;
  for (let i = 0; i < values.length; i++) max = Math.max(max, Math.abs(values[i]));
  return max;
}

/** Clear a canvas and give it the size at which it is shown, `height` CSS pixels high. Avoids layout if it has that size. */
export function begin(canvas: HTMLCanvasElement, height: number): [CanvasRenderingContext2D, number] {
  const ratio = devicePixelRatio || 1;
  const style = `${height}px`;
  if (canvas.style.height !== style) canvas.style.height = style;
  const width = canvas.clientWidth;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  else context.reset();
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return [context, width];
}

interface TextStyle {
  color?: string;
  size?: number;
  mono?: boolean;
  align?: CanvasTextAlign;
  bold?: boolean;
}

export function text(c: CanvasRenderingContext2D, string: string, x: number, y: number, style: TextStyle = {}): void {
  const { color = palette.soft, size = 12, mono = true, align = "left", bold = false } = style;
  c.fillStyle = color;
  c.font = `${bold ? 600 : 400} ${size}px ${mono ? palette.mono : palette.sans}`;
  c.textAlign = align;
  c.textBaseline = "middle";
  c.fillText(string, x, y);
}

/** Mark the chosen cell: an outline that is visible on any colour. */
function ring(c: CanvasRenderingContext2D, { x, y, w, h }: Box): void {
  c.lineWidth = 4;
  c.strokeStyle = palette.paper;
  c.strokeRect(x, y, w, h);
  c.lineWidth = 2;
  c.strokeStyle = palette.ink;
  c.strokeRect(x, y, w, h);
}

export interface HeatOptions {
  rows: number;
  cols: number;
  rowLabels?: string[];
  colLabels?: string[];
  isShare?: boolean;
  log?: boolean;
  max?: number;
  /** How many rows are joined by a bracket: query heads that share a key head. */
  joined?: number;
  cellHeight?: number;
  maxCell?: number;
  /** Columns in pairs, with a gap between. */
  pairs?: boolean;
  /** Rows from here on are another tensor, with a label above. */
  split?: { row: number; label: string };
  chosen?: number;
  row?: number;
}

/** Cells in rows and columns. */
export function heat(canvas: HTMLCanvasElement, values: ArrayLike<number>, o: HeatOptions): Figure {
  const isSlim = canvas.clientWidth < 480;
  const brackets = o.joined && o.joined > 1 ? (isSlim ? 30 : 58) : 0;
  const left = brackets + (o.rowLabels ? (isSlim && brackets ? 24 : 60) : 0);
  const cellHeight = o.cellHeight ?? 34;
  const probe = canvas.getContext("2d") as CanvasRenderingContext2D;
  probe.font = `11px ${palette.sans}`;
  const fit = (right: number) => Math.min(o.maxCell ?? 72, (canvas.clientWidth - left - right) / o.cols);
  const isTilted = !o.pairs && (o.colLabels ?? []).some((label) => probe.measureText(label).width > fit(2) - 4);
  const cw = fit(isTilted ? 22 : 2);
  const head = o.colLabels ? (isTilted ? 46 : 22) : 1;
  const gap = o.split ? 26 : 0;
  const top = (row: number) => head + row * cellHeight + (o.split && row >= o.split.row ? gap : 0);
  const [c] = begin(canvas, top(o.rows - 1) + cellHeight + 2);
  const max = o.max ?? largest(values);
  const box = (cell: number): Box => ({
    x: left + (cell % o.cols) * cw,
    y: top(Math.floor(cell / o.cols)),
    w: cw,
    h: cellHeight,
  });
  drawColumnLabels(c, o, { left, cw, head, isTilted });

  const air = cw > 12 ? 1 : 0;
  const size = cw < 46 ? 11 : 12;
  const digits = digitsThatFit(values, cw, cellHeight, size);
  for (let i = 0; i < values.length; i++) {
    const { x, y, w, h } = box(i);
    const shown = o.log ? Math.max(0, 1 + Math.log10(Math.max(values[i], 1e-4)) / 4) : values[i];
    c.fillStyle = cssOf(shown, o.log ? 1 : max, o.isShare);
    c.fillRect(x, y, w - air, h - air);
    if (digits > 0) {
      const color = inkOn(colorOf(shown, o.log ? 1 : max, o.isShare));
      text(c, fixed(values[i], digits), x + w / 2 - 0.5, y + h / 2, { color, align: "center", size });
    }
  }
  drawRowLabels(c, o, { left, isSlim, cellHeight, top, brackets });
  if (o.split) text(c, o.split.label, left, top(o.split.row) - gap / 2 + 1, { mono: false });
  if (o.pairs) {
    c.fillStyle = palette.paper;
    const end = top(o.rows - 1) + cellHeight;
    for (let i = 2; i < o.cols; i += 2) c.fillRect(left + i * cw - 2.5, head, 4, end - head);
    if (o.split) text(c, o.split.label, left, top(o.split.row) - gap / 2 + 1, { mono: false });
  }
  if (o.chosen !== undefined && o.chosen >= 0 && o.chosen < values.length) ring(c, box(o.chosen));
  const at = (x: number, y: number) => {
    for (let i = 0; i < values.length; i++) {
      const b = box(i);
      if (x >= b.x && x < b.x + b.w && y >= b.y && y < b.y + b.h) return i;
    }
    return -1;
  };
  return { box, at, step: o.cols };
}

function digitsThatFit(values: ArrayLike<number>, cw: number, ch: number, size: number): number {
  if (cw < 26 || ch < 18 || values.length > 400) return -1;
  const longest = (d: number) => Math.max(...Array.from(values, (v) => fixed(v, d).length)) * size * 0.61;
  return longest(2) < cw - 3 ? 2 : longest(1) < cw - 2 ? 1 : -1;
}

function drawColumnLabels(
  c: CanvasRenderingContext2D,
  o: HeatOptions,
  { left, cw, head, isTilted }: { left: number; cw: number; head: number; isTilted: boolean },
): void {
  const every = isTilted && cw < 11 ? Math.ceil(11 / cw) : 1; // labels must not overlap
  for (const [i, label] of (o.colLabels ?? []).entries()) {
    const isLast = i === o.cols - 1 && o.joined !== undefined;
    if (i % every !== 0 && !isLast) continue;
    const x = left + i * cw + cw / (o.pairs ? 1 : 2);
    const style: TextStyle = { size: 11, mono: false, color: isLast ? palette.ink : palette.soft, bold: isLast };
    if (!isTilted) {
      text(c, label, x, 10, { ...style, align: "center" });
      continue;
    }
    c.save();
    c.translate(x - 3, head - 5);
    c.rotate(-0.9);
    text(c, label.length > 8 ? `${label.slice(0, 7)}…` : label, 0, 0, style);
    c.restore();
  }
}

function drawRowLabels(
  c: CanvasRenderingContext2D,
  o: HeatOptions,
  p: { left: number; isSlim: boolean; cellHeight: number; top: (row: number) => number; brackets: number },
): void {
  for (const [r, label] of (o.rowLabels ?? []).entries()) {
    const shown = p.isSlim && p.brackets ? label.replace("head ", "") : label;
    const isOn = r === o.row;
    const style: TextStyle = { align: "right", color: isOn ? palette.ink : palette.soft, bold: isOn, mono: false };
    text(c, shown, p.left - 8, p.top(r) + p.cellHeight / 2, style);
  }
  if (!p.brackets || !o.joined) return;
  for (let group = 0; group < o.rows / o.joined; group++) {
    const a = p.top(group * o.joined) + 6;
    const b = p.top(group * o.joined + o.joined - 1) + p.cellHeight - 7;
    c.strokeStyle = palette.soft;
    c.lineWidth = 1.25;
    c.beginPath();
    c.moveTo(p.brackets - 2, a);
    c.lineTo(p.brackets - 8, a);
    c.lineTo(p.brackets - 8, b);
    c.lineTo(p.brackets - 2, b);
    c.stroke();
    text(c, `${p.isSlim ? "k" : "key "}${group}`, p.brackets - 14, (a + b) / 2, { align: "right", mono: false });
  }
}

/** Signed bars, in enough lines that each bar is visible. `before`: a second vector, drawn as hairlines. */
export function bars(
  canvas: HTMLCanvasElement,
  values: ArrayLike<number>,
  { chosen = -1, before }: { chosen?: number; before?: ArrayLike<number> } = {},
): Figure {
  const left = 46;
  const room = Math.max(canvas.clientWidth - left, 80); // a hidden canvas has no width
  const n = values.length;
  let lines = 1;
  while (room / Math.ceil(n / lines) < 4) lines++;
  const per = Math.ceil(n / lines);
  const bw = (room - 2) / per;
  const h = lines > 3 ? 84 : lines > 2 ? 100 : lines > 1 ? 130 : 260;
  const gap = 30;
  const max = Math.max(largest(values), before ? largest(before) : 0) || 1;
  const [c, w] = begin(canvas, lines * (h + gap));
  const middle = (line: number) => line * (h + gap) + h / 2 + 4;
  const scale = (value: number) => (value / max) * (h / 2 - 6);
  for (let line = 0; line < lines; line++) {
    for (const sign of [1, 0, -1]) {
      const y = middle(line) - sign * (h / 2 - 6);
      c.fillStyle = sign ? palette.line : palette.soft;
      c.fillRect(left, Math.round(y), w - left, 1);
      text(c, fixed(sign * max, max < 10 ? 2 : 1), left - 8, y, { align: "right", size: 11 });
    }
    const every = bw > 14 ? 4 : bw > 6 ? 8 : 16;
    for (let i = 0; i < per && line * per + i < n; i += every) {
      text(c, `${line * per + i}`, left + i * bw + bw / 2, middle(line) + h / 2 + 8, { size: 11, align: "center" });
    }
  }
  const box = (i: number): Box => ({
    x: left + (i % per) * bw,
    y: middle(Math.floor(i / per)) - h / 2 + 2,
    w: bw,
    h: h - 4,
  });
  for (let i = 0; i < n; i++) {
    const { x } = box(i);
    const y = middle(Math.floor(i / per));
    const height = scale(values[i]);
    c.fillStyle = cssOf(values[i] < 0 ? -0.8 : 0.8, 1);
    c.fillRect(x + 0.5, Math.min(y, y - height), Math.max(1, bw - (bw > 5 ? 1.5 : 0.75)), Math.abs(height) || 1);
    if (before) {
      c.fillStyle = palette.ink;
      c.fillRect(x, y - scale(before[i]) - 0.75, bw - 1, 1.5);
    }
  }
  if (chosen >= 0 && chosen < n) ring(c, box(chosen));
  const at = (x: number, y: number) => {
    const line = Math.floor(y / (h + gap));
    const i = Math.floor((x - left) / bw);
    return i < 0 || i >= per || line < 0 || line * per + i >= n ? -1 : line * per + i;
  };
  return { box, at, step: per };
}

/** A vector as a strip of colours. */
export function strip(canvas: HTMLCanvasElement, values: ArrayLike<number>, isShare = false): void {
  const [c, w] = begin(canvas, 14);
  const max = isShare ? 1 : largest(values);
  for (let i = 0; i < values.length; i++) {
    c.fillStyle = cssOf(values[i], max, isShare);
    c.fillRect((i * w) / values.length, 0, w / values.length + 0.5, 14);
  }
}

/** The legend of a picture's colours. */
export function writeScale(box: HTMLElement, kind: "signed" | "share" | "log", max: number): void {
  const bar = el("i", { className: kind === "signed" ? kind : "share" });
  const digits = max < 0.1 ? 3 : 2;
  const lowest = { signed: `−${max.toFixed(digits)}`, share: "0", log: "0.0001" }[kind];
  box.replaceChildren(lowest, bar, kind === "log" ? "1, in tenfold steps" : max.toFixed(digits));
}
