/*
 * The screen Attention: who looks at whom, before and after softmax.
 */

import { indexOf, type StopId } from "../src/trace/stops.ts";
import { app, config, go, look, percent, said, valuesAt } from "./app.ts";
import { $, el } from "./dom.ts";
import { colorOf, css, type Figure, heat, inkOn, largest, writeScale } from "./draw.ts";
import { state } from "./state.ts";

const figures: Partial<Record<string, Figure>> = {};

/** The layer that is shown: that of the current stop, or the nearest. */
const layer = (): number => {
  const index = Math.floor((state.stop - 1) / 16);
  return Math.max(0, Math.min(config().nLayers - 1, index));
};

const stopIn = (id: StopId): number => indexOf({ id, layer: layer() }, config().nLayers);

export function drawAttention(): void {
  const { nHeads, nKvHeads, nLayers } = config();
  const n = state.pos + 1;
  const tokens = app.story.run.tokens.slice(0, n);
  $("attWhere").textContent = `layer ${layer()}, from ${said(tokens[state.pos])} at position ${state.pos}`;
  $("attWords").textContent =
    `${nHeads} heads look back over the sentence, each at something of its own, so they are never averaged here. ${
      nKvHeads < nHeads ? `A bracket joins the ${nHeads / nKvHeads} query heads that read one key head. ` : ""
    }Choose a head to see where it looks.`;
  $("attLayers").replaceChildren(
    ...Array.from({ length: nLayers }, (_, l) => {
      const button = el("button", { textContent: `${l}`, ariaPressed: `${l === layer()}`, ariaLabel: `Layer ${l}` });
      button.onclick = () => go({ stop: indexOf({ id: "probs", layer: l }, nLayers), cell: -1 });
      return button;
    }),
  );
  $("linear").ariaPressed = `${!state.log}`;
  $("log").ariaPressed = `${state.log}`;
  const shared = {
    rows: nHeads,
    cols: n,
    rowLabels: Array.from({ length: nHeads }, (_, h) => `head ${h}`),
    colLabels: tokens.map((token) => look(token).trim() || "␣"),
    joined: nHeads / nKvHeads,
    cellHeight: 32,
    row: state.head,
  };
  const [scores, shares] = [valuesAt(stopIn("scores")), valuesAt(stopIn("probs"))];
  writeScale($("scoresScale"), "signed", largest(scores));
  writeScale($("probsScale"), state.log ? "log" : "share", largest(shares));
  figures.attScores = heat($<HTMLCanvasElement>("attScores"), scores, shared);
  figures.attProbs = heat($<HTMLCanvasElement>("attProbs"), shares, { ...shared, isShare: true, log: state.log });
  const probs = shares.subarray(state.head * n, (state.head + 1) * n);
  $("attScores").ariaLabel = `Scores of ${nHeads} heads at ${n} positions. Arrow keys choose a head.`;
  $("attProbs").ariaLabel = `Attention weights of ${nHeads} heads at ${n} positions. Arrow keys choose a head.`;
  drawSentence(tokens, probs);
}

/** From this many tokens on, the sentence is shown as text, coloured by the largest share. */
const LONG = 48;

function drawSentence(tokens: number[], probs: Float32Array): void {
  const best = probs.indexOf(Math.max(...probs));
  $("looksAt").textContent = `Where head ${state.head} looks`;
  const isLong = tokens.length > LONG;
  $("sentence").classList.toggle("long", isLong);
  const most = isLong ? probs[best] : 1;
  $("sentence").replaceChildren(
    ...tokens.map((token, pos) => {
      const color = colorOf(probs[pos], most, true);
      const word = el("span", { textContent: look(token).trim() || "␣" });
      word.style.background = css(color);
      word.style.color = inkOn(color);
      if (isLong) {
        word.title = `position ${pos}: ${percent(probs[pos])}`;
        return word;
      }
      return el("div", {}, word, el("small", { textContent: percent(probs[pos]) }));
    }),
  );
  const next = Array.from(probs.keys())
    .sort((a, b) => probs[b] - probs[a])
    .slice(1, 5)
    .map((pos) => `${said(tokens[pos])} ${percent(probs[pos])}`)
    .join(", ");
  const self = best === state.pos ? "itself" : said(tokens[best]);
  $("looksWords").textContent =
    tokens.length === 1
      ? "At the first position there is nothing else to look at."
      : `Head ${state.head} takes ${percent(probs[best])} of what it mixes from ${self}${isLong ? `, then ${next}` : ""}. Tokens that come later have no key yet: a decoder cannot look ahead.`;
}

export function listenToAttention(): void {
  for (const id of ["attScores", "attProbs"]) {
    const canvas = $<HTMLCanvasElement>(id);
    canvas.addEventListener("click", (event) => {
      const cell = figures[id]?.at(event.offsetX, event.offsetY) ?? -1;
      if (cell >= 0) go({ head: Math.floor(cell / (state.pos + 1)) });
    });
    canvas.addEventListener("keydown", (event) => {
      const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!by) return;
      event.preventDefault();
      go({ head: Math.max(0, Math.min(config().nHeads - 1, state.head + by)) });
    });
  }
  $("linear").onclick = () => go({ log: false });
  $("log").onclick = () => go({ log: true });
}
