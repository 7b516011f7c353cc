/*
 * The study page: one token's way through a Llama, line by line. Everything it shows is computed by this run.
 */
import { Llama2Error } from "../src/errors.ts";
import { npz, stopJson } from "../src/trace/export.ts";
import { nameOf } from "../src/trace/stops.ts";
import { app, config, go, here, kind, look, onGo, places, saidAt } from "./app.ts";
import { drawAttention, listenToAttention } from "./attention.ts";
import { checkHash, checkWasm } from "./check.ts";
import { drawCompare, listenToCompare } from "./compare.ts";
import { $, download, el } from "./dom.ts";
import { begin, palette, readPalette, text } from "./draw.ts";
import { whyAll } from "./how.ts";
import { drawRope, listenToRope } from "./rope.ts";
import { drawSampler, listenToSampler, resetBench } from "./sampler.ts";
import { MissingTokenizer, openModel, type Session, tell } from "./session.ts";
import { drawSource, hasBreakpoint, listenToSource, showRunC, untilBreakpoint, writeSource } from "./source.ts";
import { fromHash, type State, state, toHash, VIEWS } from "./state.ts";
import { drawStep, listenToFigure } from "./step.ts";
import { drawTour, listenToTour } from "./tour.ts";

const SCREENS = {
  step: drawStep,
  attention: drawAttention,
  rope: drawRope,
  sampler: drawSampler,
  compare: drawCompare,
};

// ----------------------------------------------------------------------------
// the runs

let telling = 0;

/** Tell the story that the state asks for, and the other run if there is one. */
async function retell(): Promise<void> {
  const ticket = ++telling;
  const isWanted = () => ticket === telling;
  document.body.classList.add("busy");
  const story = await tell(app.session, state, {}, isWanted);
  if (!story) return;
  app.story = story;
  app.trail = [];
  await retellOther(isWanted);
  if (!isWanted()) return;
  document.body.classList.remove("busy");
  resetBench();
  $("hash").textContent = "";
  $("hashWords").textContent = "";
  $("hashCommand").textContent = "";
  $("hashBadge").hidden = true;
  $("wasmWords").textContent = "";
  clamp();
  draw();
}

async function retellOther(isWanted: () => boolean): Promise<void> {
  const off = state.off.split(",").filter((part) => part !== "");
  const [pos, token] = state.fork.split(":").map(Number);
  const isFork =
    Number.isInteger(pos) && Number.isInteger(token) && pos > 0 && token >= 0 && token < config().vocabSize;
  if (off.length === 0 && !isFork) {
    app.other = undefined;
    return;
  }
  try {
    app.other = await tell(app.session, state, { off, fork: isFork ? { pos, token } : undefined }, isWanted);
  } catch (error) {
    if (!(error instanceof Llama2Error)) throw error;
    app.other = undefined;
    Object.assign(state, { off: "" });
    say(error.message);
  }
}

/** Keep the place within the run. */
function clamp(): void {
  state.pos = Math.max(0, Math.min(app.story.run.tokens.length - 1, Math.floor(state.pos)));
  state.stop = Math.max(0, Math.min(places().length - 1, Math.floor(state.stop)));
  state.head = Math.max(0, Math.min(config().nHeads - 1, Math.floor(state.head)));
}

// ----------------------------------------------------------------------------
// moving and drawing

onGo((change) => {
  const isRerun = ["prompt", "seed", "temp", "topp", "more"].some(
    (name) => name in change && change[name as keyof State] !== state[name as keyof State],
  );
  const isOther = ["off", "fork"].some(
    (name) => name in change && change[name as keyof State] !== state[name as keyof State],
  );
  const from = { pos: state.pos, stop: state.stop };
  Object.assign(state, change);
  if (isRerun) {
    Object.assign(state, { fork: "", cell: -1 });
    void retell();
    return;
  }
  clamp();
  if (from.pos !== state.pos) resetBench();
  if (state.cell >= 0 && (from.pos !== state.pos || from.stop !== state.stop) && change.cell === undefined)
    state.cell = -1;
  if (state.cell < 0) app.trail = [];
  draw();
  if (isOther) {
    const ticket = ++telling;
    void retellOther(() => ticket === telling).then(() => draw());
  }
});

function draw(): void {
  const root = document.documentElement;
  root.dataset.theme = state.theme;
  readPalette();
  $("theme").textContent = state.theme === "dark" ? "Light" : "Dark";
  for (const view of VIEWS) {
    $(view).hidden = view !== state.view;
    const tab = document.querySelector<HTMLElement>(`[data-view="${view}"]`);
    if (tab) tab.ariaCurrent = view === state.view ? "page" : null;
  }
  for (const name of ["prompt", "seed", "temp", "topp", "more"] as const) {
    const input = $<HTMLInputElement>(name);
    if (document.activeElement !== input) input.value = `${state[name]}`;
  }
  toHash();
  drawTokens();
  drawTrack();
  if (state.view === "step") drawSource();
  SCREENS[state.view]();
  drawTour();
}

function drawTokens(): void {
  const { run, prompt, ended } = app.story;
  const buttons = run.tokens.flatMap((token, pos) => {
    const button = el("button", { textContent: look(token), title: `position ${pos}, token ${token}` });
    button.classList.toggle("made", pos >= prompt);
    if (pos === state.pos) button.ariaCurrent = "true";
    button.onclick = () => go({ pos });
    return pos === prompt ? [el("span", { className: "seam" }), button] : [button];
  });
  const more = el("button", {
    className: "more",
    textContent: ended ? "the end" : "more",
    disabled: ended || run.tokens.length >= config().seqLen,
  });
  more.onclick = () => go({ more: state.more + 32 });
  const strip = $("tokens");
  strip.replaceChildren(...buttons, more);
  const now = strip.querySelector<HTMLElement>("[aria-current=true]");
  if (now) strip.scrollLeft = now.offsetLeft - strip.clientWidth / 2;
}

/** All stops of this pass, and all positions above them. */
let trackAt: (x: number, y: number) => Partial<State> = () => ({});

function drawTrack(): void {
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
    // past, now and to come differ in height as well as in colour
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

const KEYS: Record<string, () => void> = {
  n: () => next(1),
  b: () => next(-1),
  "]": () => go({ pos: state.pos + 1 }),
  "[": () => go({ pos: state.pos - 1 }),
  "}": () => go({ stop: state.stop + 16, cell: -1 }),
  "{": () => go({ stop: state.stop - 16, cell: -1 }),
  s: () => go({ view: "step", cell: Math.max(0, state.cell) }),
  o: () => go({ cell: -1 }),
  c: () => go({ stop: untilBreakpoint(), cell: -1 }),
  w: () => whyAll(),
  Escape: () => {
    $("source").classList.remove("open");
    go({ tour: 0, cell: -1 });
  },
};

/** A stop on; over the end of a pass to the next token. */
function next(by: number): void {
  const stop = state.stop + by;
  const last = places().length - 1;
  if (stop > last && state.pos + 1 < app.story.run.tokens.length) go({ pos: state.pos + 1, stop: 0, cell: -1 });
  else if (stop < 0 && state.pos > 0) go({ pos: state.pos - 1, stop: last, cell: -1 });
  else go({ stop, cell: -1 });
}

// ----------------------------------------------------------------------------
// files, in and out

function say(message: string): void {
  $("message").textContent = message;
  $("message").hidden = message === "";
}

async function receive(files: FileList | File[]): Promise<void> {
  const all = [...files];
  const source = all.find(({ name }) => name.endsWith(".c"));
  if (source) {
    say(await showRunC(await source.text()));
    draw();
  }
  const binaries = all.filter(({ name }) => !name.endsWith(".c")).sort((a, b) => b.size - a.size);
  if (binaries.length === 0) return;
  const [model, tokenizer] = binaries;
  try {
    say(`opening ${model.name} …`);
    const bytesOf = async (file: File) => new Uint8Array(await file.arrayBuffer());
    const session = await openModel(
      model.name,
      await bytesOf(model),
      tokenizer && { name: tokenizer.name, bytes: await bytesOf(tokenizer) },
    );
    say("");
    await begun(session, { fork: "", off: "", cell: -1, stop: 0 });
  } catch (error) {
    if (!(error instanceof Llama2Error || error instanceof MissingTokenizer)) throw error;
    say(error.message);
  }
}

function exportAs(kind: string): void {
  const { model } = app.session;
  const name = `${model.name}-${state.pos}-${nameOf(here())}`;
  if (kind === "png") {
    const canvas =
      document.querySelector<HTMLCanvasElement>(`#${state.view} canvas.main`) ?? $<HTMLCanvasElement>("figure");
    const copy = el("canvas", { width: canvas.width + 48, height: canvas.height + 48 });
    const context = copy.getContext("2d") as CanvasRenderingContext2D;
    context.fillStyle = palette.paper;
    context.fillRect(0, 0, copy.width, copy.height);
    context.drawImage(canvas, 24, 24);
    copy.toBlob((blob) => blob && download(`${name}.png`, blob));
  }
  const { stops } = app.story.run.at(state.pos);
  if (kind === "json") {
    const object = {
      model: model.name,
      backend: "ts",
      prompt: state.prompt,
      tokens: app.story.run.tokens,
      position: state.pos,
      stops: stops.map(stopJson),
    };
    download(`${model.name}-${state.pos}.json`, new Blob([JSON.stringify(object)], { type: "application/json" }));
  }
  if (kind === "npz")
    download(
      `${model.name}-${state.pos}.npz`,
      new Blob([npz(stops, config().dim / config().nHeads) as Uint8Array<ArrayBuffer>]),
    );
  if (kind === "link") {
    void navigator.clipboard?.writeText(location.href);
    say("The address of this page brings you back here; it is in the clipboard.");
  }
}

// ----------------------------------------------------------------------------
// the start

function listen(): void {
  listenToFigure();
  listenToAttention();
  listenToRope();
  listenToSampler();
  listenToCompare();
  listenToSource();
  listenToTour();
  for (const tab of document.querySelectorAll<HTMLElement>("[data-view]")) {
    tab.onclick = () => go({ view: tab.dataset.view as State["view"], tour: 0 });
  }
  $("next").onclick = KEYS.n;
  $("back").onclick = KEYS.b;
  $("closeHow").onclick = KEYS.o;
  $("whyAll").onclick = whyAll;
  $("theme").onclick = () => go({ theme: state.theme === "dark" ? "light" : "dark" });
  $("showSettings").onclick = () => {
    $("showSettings").ariaExpanded = `${$("settings").classList.toggle("open")}`;
  };
  $("settings").onsubmit = (event) => {
    event.preventDefault();
    settle();
  };
  $("settings").onchange = settle;
  $("checkHash").onclick = () => void checkHash();
  $("checkWasm").onclick = () => void checkWasm();
  $<HTMLInputElement>("file").onchange = () => void receive($<HTMLInputElement>("file").files ?? []);
  $("choose").onclick = () => $("file").click();
  for (const button of document.querySelectorAll<HTMLElement>("[data-export]"))
    button.onclick = () => exportAs(button.dataset.export ?? "");
  const track = $("track");
  track.addEventListener("click", (event) => go({ ...trackAt(event.offsetX, event.offsetY), cell: -1 }));
  track.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    next(by);
  });
  addEventListener("keydown", (event) => {
    const { target, key, ctrlKey, metaKey, altKey } = event;
    if (target instanceof HTMLInputElement && target.type !== "range") return;
    if (ctrlKey || metaKey || altKey || !(key in KEYS)) return;
    event.preventDefault();
    KEYS[key]();
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    void receive(event.dataTransfer?.files ?? []);
  });
  addEventListener("resize", () => draw());
  addEventListener("hashchange", () => {
    const before = { ...state };
    fromHash();
    const changed = (["prompt", "seed", "temp", "topp", "more", "off", "fork"] as const).some(
      (name) => before[name] !== state[name],
    );
    if (changed) void retell();
    else go({});
  });
}

/** Take what is in the fields. */
function settle(): void {
  const value = (id: string) => $<HTMLInputElement>(id).value;
  const within = (id: string, min: number, max: number, otherwise: number) => {
    const given = Number(value(id));
    return value(id) !== "" && Number.isFinite(given) ? Math.max(min, Math.min(max, given)) : otherwise;
  };
  go({
    prompt: value("prompt"),
    seed: Math.floor(within("seed", 1, 2 ** 31 - 1, state.seed)),
    temp: within("temp", 0, 5, state.temp),
    topp: within("topp", 0, 1, state.topp),
    more: Math.floor(within("more", 0, 4096, state.more)),
  });
}

async function begun(session: Session, change: Partial<State>): Promise<void> {
  app.session = session;
  Object.assign(state, change);
  const { name, config } = session.model;
  $("model").textContent = name;
  $("modelWords").textContent =
    `${config.nLayers} layers, ${config.nHeads} heads, ${config.dim} numbers a token, ${config.vocabSize} tokens`;
  state.model = session.sha256.slice(0, 16);
  await retell();
}

/** What `llama2 study` serves, or lies beside the page. */
interface Page {
  model: string;
  tokenizer?: string;
  prompt?: string;
}

async function start(): Promise<void> {
  fromHash();
  document.documentElement.dataset.theme = state.theme;
  const wanted = state.model;
  listen();
  writeSource();
  const page = (await (await fetch("page.json")).json()) as Page;
  if (page.prompt !== undefined && !location.hash.includes("prompt=")) state.prompt = page.prompt;
  const bytes = async (path: string) => new Uint8Array(await (await fetch(path)).arrayBuffer());
  const [model, tokenizer] = await Promise.all([bytes(page.model), page.tokenizer ? bytes(page.tokenizer) : undefined]);
  const nameOfFile = (path: string) => path.split("/").at(-1) ?? path;
  const named = page.tokenizer && tokenizer ? { name: nameOfFile(page.tokenizer), bytes: tokenizer } : undefined;
  await begun(await openModel(nameOfFile(page.model), model, named), {});
  if (wanted && app.session.sha256 && !app.session.sha256.startsWith(wanted)) {
    say(
      `This link was made with another model (sha256 ${wanted}…). Drop that model and its tokenizer here to see the same.`,
    );
  }
  document.body.classList.add("ready");
  requestAnimationFrame(() => performance.mark("first step"));
}

start().catch((error: Error) => {
  document.body.classList.remove("busy");
  say(`The page could not start: ${error.message}`);
});
