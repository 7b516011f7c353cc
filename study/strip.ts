/*
 * Navigation: the tokens above, and the track of all stops below.
 */
import { app, config, go, here, kind, look, places, saidAt } from "./app.ts";
import { $, el } from "./dom.ts";
import { begin, palette, text } from "./draw.ts";
import { hasBreakpoint } from "./source.ts";
import { type State, state } from "./state.ts";

/** The buttons of a story's tokens, created once for each. */
let buttons: HTMLButtonElement[] = [];
let shown: unknown;

export function drawTokens(): void {
  const { run, prompt, ended } = app.story;
  const strip = $("tokens");
  if (shown !== app.story) buttons = [];
  shown = app.story;
  const more = strip.querySelector<HTMLButtonElement>(".more") ?? el("button", { className: "more" });
  if (buttons.length === 0) strip.replaceChildren(more);
  for (let pos = buttons.length; pos < run.tokens.length; pos++) {
    if (pos === prompt) more.before(el("span", { className: "seam" }));
    buttons.push(tokenButton(pos));
    more.before(buttons[pos]);
  }
  strip.querySelector("[aria-current]")?.removeAttribute("aria-current");
  const now = buttons[state.pos];
  if (now) now.ariaCurrent = "true";
  more.textContent = ended ? "the end" : "more";
  more.disabled = ended || run.tokens.length >= config().seqLen;
  more.onclick = () => go({ more: state.more + 32 });
}

/** Scroll the current token into view. Separate from drawing, since it forces a layout. */
export function centerTokens(): void {
  const now = buttons[state.pos];
  if (!now || now === centered) return;
  centered = now;
  const strip = $("tokens");
  strip.scrollLeft = now.offsetLeft - strip.clientWidth / 2;
}
let centered: HTMLElement | undefined;

function tokenButton(pos: number): HTMLButtonElement {
  const token = app.story.run.tokens[pos];
  const word = look(token);
  // the space before a word is a gap
  const button = el("button", { textContent: word.trim() || word, title: `position ${pos}, token ${token}` });
  button.classList.toggle("made", pos >= app.story.prompt);
  button.classList.toggle("glued", pos > 1 && !word.startsWith(" "));
  button.onclick = () => go({ pos });
  return button;
}

/** All stops of this pass, and all positions above them. */
let trackAt: (x: number, y: number) => Partial<State> = () => ({});

export function drawTrack(): void {
  const canvas = $<HTMLCanvasElement>("track");
  const [c, w] = begin(canvas, 50);
  const { nLayers } = config();
  const all = places();
  const gap = nLayers > 8 ? 3 : 8;
  const unit = (w - gap * (nLayers + 1) - 2) / all.length;
  const xs = all.map(({ layer }, i) => 1 + i * unit + gap * (layer < 0 ? (i === 0 ? 0 : nLayers + 1) : layer + 1));
  const count = app.story.run.tokens.length;
  const width = w / count;
  for (let pos = 0; pos < count; pos++) {
    c.fillStyle = pos === state.pos ? palette.accent : pos < state.pos ? palette.soft : palette.line;
    c.fillRect(pos * width, 0, Math.max(1, width - (width > 4 ? 2 : 0.5)), 5);
  }
  for (const [i, x] of xs.entries()) {
    // past, current and future stops differ in height as well as in colour
    const isNow = i === state.stop;
    c.fillStyle = isNow ? palette.accent : i < state.stop ? palette.soft : palette.line;
    c.globalAlpha = i < state.stop ? 0.6 : 1;
    const [y, h] = isNow ? [11, 22] : i < state.stop ? [16, 12] : [20, 4];
    c.fillRect(x, y, Math.max(1, unit - 1), h);
    c.globalAlpha = 1;
    if (hasBreakpoint(i)) {
      c.fillStyle = palette.ink;
      c.fillRect(x, 34, Math.max(2, unit - 1), 2);
    }
  }
  for (let l = 0; l < nLayers; l++) {
    const isHere = l === here().layer;
    const label = w > 700 && nLayers <= 8 ? `layer ${l}` : `${l}`;
    text(c, label, xs[1 + l * 16], 44, {
      size: 11,
      mono: false,
      color: isHere ? palette.ink : palette.soft,
      bold: isHere,
    });
  }
  trackAt = (x, y) => {
    if (y < 9) return { pos: Math.floor(x / width) };
    const distance = (i: number) => Math.abs(xs[i] + unit / 2 - x);
    return { stop: xs.reduce((best, _, i) => (distance(i) < distance(best) ? i : best), 0) };
  };
  const { layer } = here();
  const where = layer < 0 ? (state.stop === 0 ? "before the layers" : "after the layers") : `layer ${layer}`;
  $("where").textContent =
    `Token ${state.pos} ${saidAt(state.pos)} · ${where} · ${kind().name} · stop ${state.stop + 1} of ${all.length}`;
  canvas.ariaValueMax = `${all.length}`;
  canvas.ariaValueNow = `${state.stop + 1}`;
  canvas.ariaValueText = $("where").textContent;
}

export function listenToTrack(next: (by: number) => void): void {
  const track = $("track");
  track.addEventListener("click", (event) => go({ ...trackAt(event.offsetX, event.offsetY), cell: -1 }));
  track.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    next(by);
  });
}
