/*
 * The screen RoPE: pairs of numbers as hands on dials, and the effect of a wrong pairing on the scores.
 */
import { indexOf } from "../src/trace/stops.ts";
import { app, config, go, look, number, said, valuesAt } from "./app.ts";
import { $, el } from "./dom.ts";
import { begin, heat, largest, palette } from "./draw.ts";
import { state } from "./state.ts";

const layer = (): number => Math.max(0, Math.min(config().nLayers - 1, Math.floor((state.stop - 1) / 16)));
const stopIn = (id: "q" | "rope" | "scores"): number => indexOf({ id, layer: layer() }, config().nLayers);

export function drawRope(): void {
  const { nHeads, dim } = config();
  const size = dim / nHeads;
  $("ropeWhere").textContent = `query of head ${state.head} in layer ${layer()}, at position ${state.pos}`;
  $<HTMLInputElement>("ropePos").max = `${app.story.run.tokens.length - 1}`;
  $<HTMLInputElement>("ropePos").value = `${state.pos}`;
  $("ropePosOut").textContent = `${state.pos}`;
  $("ropeHeads").replaceChildren(
    ...Array.from({ length: nHeads }, (_, h) => {
      const button = el("button", { textContent: `${h}`, ariaPressed: `${h === state.head}`, ariaLabel: `Head ${h}` });
      button.onclick = () => go({ head: h });
      return button;
    }),
  );
  const head = Math.min(state.head, nHeads - 1);
  const before = valuesAt(stopIn("q")).subarray(head * size, (head + 1) * size);
  const after = valuesAt(stopIn("rope")).subarray(head * size, (head + 1) * size);
  drawDials(before, after);
  drawScores(head, before);
}

function drawDials(before: Float32Array, after: Float32Array): void {
  const pairs = Math.min(8, before.length / 2);
  const { freq } = app.story.run.transformer.state;
  const dials = Array.from({ length: pairs }, (_, i) => {
    const pair = Math.floor((i * (before.length / 2 - 1)) / Math.max(1, pairs - 1));
    const canvas = el("canvas");
    canvas.setAttribute("role", "img");
    const angle = state.pos * freq[pair];
    canvas.ariaLabel = `Pair ${pair}, turned by ${angle.toFixed(3)} radians`;
    const words = `${number(freq[pair], 4)} rad × ${state.pos} = ${number(angle, 2)} rad`;
    const name = `q[${2 * pair}], q[${2 * pair + 1}]`;
    const figure = el(
      "figure",
      {},
      canvas,
      el("figcaption", { textContent: name }),
      el("small", { textContent: words }),
    );
    return { figure, canvas, pair };
  });
  $("dials").replaceChildren(...dials.map(({ figure }) => figure));
  for (const { canvas, pair } of dials) drawDial(canvas, before, after, pair, freq[pair]);
}

function drawDial(
  canvas: HTMLCanvasElement,
  before: Float32Array,
  after: Float32Array,
  pair: number,
  turn: number,
): void {
  const [c, w] = begin(canvas, 148);
  const [x, y, radius] = [w / 2, 74, 56];
  c.strokeStyle = palette.line;
  c.lineWidth = 1;
  c.beginPath();
  c.arc(x, y, radius, 0, 7);
  c.stroke();
  const start = Math.atan2(before[2 * pair + 1], before[2 * pair]);
  const shown = Math.min(app.story.run.tokens.length, 64);
  for (let pos = 0; pos < shown; pos++) {
    const angle = start + pos * turn;
    c.fillStyle = pos <= state.pos ? palette.soft : palette.line;
    c.beginPath();
    c.arc(x + Math.cos(angle) * (radius + 7), y - Math.sin(angle) * (radius + 7), 2, 0, 7);
    c.fill();
  }
  const length = Math.hypot(before[2 * pair], before[2 * pair + 1]) || 1;
  for (const [values, color, width] of [
    [before, palette.soft, 2],
    [after, palette.accent, 4],
  ] as const) {
    c.strokeStyle = color;
    c.lineWidth = width;
    c.lineCap = "round";
    c.beginPath();
    c.moveTo(x, y);
    c.lineTo(x + (values[2 * pair] / length) * radius, y - (values[2 * pair + 1] / length) * radius);
    c.stroke();
  }
}

/** Rotate a head's vector: pairs are neighbours, or half-split, number i with number i + half. */
function turned(v: Float32Array, pos: number, halfSplit: boolean): Float32Array {
  const { freq } = app.story.run.transformer.state;
  const half = v.length / 2;
  const out = new Float32Array(v.length);
  for (let pair = 0; pair < half; pair++) {
    const [i, j] = halfSplit ? [pair, pair + half] : [2 * pair, 2 * pair + 1];
    const [cos, sin] = [Math.cos(pos * freq[pair]), Math.sin(pos * freq[pair])];
    out[i] = v[i] * cos - v[j] * sin;
    out[j] = v[i] * sin + v[j] * cos;
  }
  return out;
}

function drawScores(head: number, query: Float32Array): void {
  const { nHeads, nKvHeads, dim } = config();
  const size = dim / nHeads;
  const group = Math.floor(head / (nHeads / nKvHeads)) * size;
  const n = state.pos + 1;
  const right = valuesAt(stopIn("scores")).subarray(head * n, (head + 1) * n);
  const wrongQuery = turned(query, state.pos, true);
  const wrong = Float32Array.from({ length: n }, (_, t) => {
    // undo the rotation of the keys in the cache, so that no pass has to be computed again
    const key = app.story.run.values(t, { id: "rope", layer: layer() }, "k").subarray(group, group + size);
    const wrongKey = turned(turned(key, -t, false), t, true);
    return wrongQuery.reduce((sum, value, i) => sum + value * wrongKey[i], 0) / Math.sqrt(size);
  });
  const tokens = app.story.run.tokens.slice(0, n);
  const shown = state.half ? [...right, ...wrong] : [...right];
  heat($<HTMLCanvasElement>("ropeScores"), shown, {
    rows: state.half ? 2 : 1,
    cols: n,
    rowLabels: state.half ? ["the run", "half-split"] : ["the run"],
    colLabels: tokens.map((token) => look(token).trim() || "␣"),
    cellHeight: 40,
    maxCell: 110,
    max: Math.max(largest(right), largest(wrong)),
  });
  $("ropeScores").ariaLabel = `Scores of head ${head} at ${n} positions`;
  $("pairRight").ariaPressed = `${!state.half}`;
  $("pairWrong").ariaPressed = `${state.half}`;
  const best = (values: Float32Array) => values.indexOf(Math.max(...values));
  const apart = Math.max(...right.map((value, t) => Math.abs(value - wrong[t])));
  const where =
    best(wrong) === best(right)
      ? `the highest stays on ${said(tokens[best(right)])}`
      : `the highest moves from ${said(tokens[best(right)])} to ${said(tokens[best(wrong)])}`;
  $("ropeWords").textContent = state.half
    ? `Computed here from the run's q and k: number i turns with number i + ${size / 2}, not with its neighbour. Nothing crashes, but scores are off by up to ${number(apart, 2)}; ${where}. That is how a wrongly imported model goes wrong.`
    : "Neighbours turn together: (0, 1), (2, 3) and so on, as these weights were trained. A score depends on how far apart two positions are, not on where they stand. Switch the pairing to see the scores change.";
}

export function listenToRope(): void {
  $("ropePos").oninput = () => go({ pos: Number($<HTMLInputElement>("ropePos").value) });
  $("pairRight").onclick = () => go({ half: false });
  $("pairWrong").onclick = () => go({ half: true });
}
