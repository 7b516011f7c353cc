/*
 * The study page: one token's way through a Llama, line by line. Everything it shows is computed by this run.
 */
import { Llama2Error } from "../src/errors.ts";
import { app, config, go, onGo, places } from "./app.ts";
import { drawAttention, listenToAttention } from "./attention.ts";
import { forgetChecks, listenToChecks } from "./check.ts";
import { drawCompare, listenToCompare } from "./compare.ts";
import { $ } from "./dom.ts";
import { readPalette } from "./draw.ts";
import { dropped, listenToExports, receive, say } from "./files.ts";
import { listenToGlossary } from "./glossary.ts";
import { whyAll } from "./how.ts";
import { prepareGuesses } from "./lens.ts";
import { NO_OTHER, OTHER, otherSettings } from "./other.ts";
import { drawPredict, forgetAnswers, listenToPredict, togglePredict } from "./predict.ts";
import { drawRope, listenToRope } from "./rope.ts";
import { drawSampler, listenToSampler, resetBench } from "./sampler.ts";
import { generate, type NamedBytes, openModel, type Session, type Story } from "./session.ts";
import {
  breakAtLayer,
  breakHere,
  centerSource,
  drawSource,
  listenToSource,
  untilBreakpoint,
  writeSource,
} from "./source.ts";
import { addressOf, fromHash, type State, state, toHash, VIEWS } from "./state.ts";
import { drawStep, listenToFigure } from "./step.ts";
import { centerTokens, drawTokens, drawTrack, listenToTrack } from "./strip.ts";
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

let latest = 0;

/** Generate the story of the current state, and the other run if there is one. It is shown once it reaches this position. */
async function rerun(): Promise<void> {
  const ticket = ++latest;
  const isWanted = () => ticket === latest;
  document.body.classList.add("busy");
  let since = 0;
  const show = (story: Story) => {
    if (app.story !== story) {
      if (story.run.tokens.length <= state.pos) return; // it has not reached this position
      Object.assign(app, { story, other: undefined, trail: [] });
      forgetAnswers();
      forgetChecks();
      clamp();
      resetBench();
      draw();
    } else if (performance.now() - since > 100) {
      drawTokens();
      drawTrack();
    } else return;
    since = performance.now();
  };
  const story = await generate({ ...state, model: app.session.model, fork: undefined }, isWanted, show);
  if (!story) return;
  if (app.story !== story) Object.assign(app, { story, other: undefined, trail: [] });
  await rerunOther(isWanted);
  if (!isWanted()) return;
  document.body.classList.remove("busy");
  clamp();
  resetBench();
  draw();
}

async function rerunOther(isWanted: () => boolean): Promise<void> {
  try {
    const settings = otherSettings();
    const other = settings && (await generate(settings, isWanted));
    if (isWanted()) app.other = other;
  } catch (error) {
    if (!(error instanceof Llama2Error)) throw error;
    app.other = undefined;
    Object.assign(state, NO_OTHER);
    say(error.message);
  }
}

/** Keep the current place within the run. */
function clamp(): void {
  state.pos = Math.max(0, Math.min(app.story.run.tokens.length - 1, Math.floor(state.pos)));
  state.stop = Math.max(0, Math.min(places().length - 1, Math.floor(state.stop)));
  state.head = Math.max(0, Math.min(config().nHeads - 1, Math.floor(state.head)));
}

// ----------------------------------------------------------------------------
// moving and drawing

/** The parts of the state that change the story. */
const STORY = ["prompt", "seed", "temp", "topp", "more"] as const;

onGo((change) => {
  if (app.story?.run.transformer.config !== config()) return; // another model has just been opened
  const differs = (names: readonly (keyof State)[]) =>
    names.some((name) => name in change && change[name] !== state[name]);
  const [isRerun, isOther] = [differs(STORY), differs(OTHER)];
  const from = { pos: state.pos, stop: state.stop };
  Object.assign(state, change);
  if (isRerun) {
    Object.assign(state, { fork: "", cell: -1, bench: "" });
    void rerun();
    return;
  }
  clamp();
  if (from.pos !== state.pos) resetBench("");
  if (state.cell >= 0 && (from.pos !== state.pos || from.stop !== state.stop) && change.cell === undefined)
    state.cell = -1;
  if (state.cell < 0) app.trail = [];
  draw();
  if (isOther) {
    const ticket = ++latest;
    document.body.classList.add("busy");
    void rerunOther(() => ticket === latest).then(() => {
      if (ticket !== latest) return;
      document.body.classList.remove("busy");
      draw();
    });
  }
});

function draw(): void {
  const root = document.documentElement;
  if (root.dataset.theme !== state.theme || (root.dataset.contrast ?? "") !== state.contrast || !isPainted) {
    Object.assign(root.dataset, { theme: state.theme, contrast: state.contrast });
    readPalette();
    isPainted = true;
  }
  document.body.classList.toggle("embed", state.embed);
  $("theme").textContent = state.theme === "dark" ? "Light" : "Dark";
  $("contrast").ariaPressed = `${state.contrast === "more"}`;
  $<HTMLAnchorElement>("whole").href = addressOf({ embed: false });
  for (const view of VIEWS) {
    $(view).hidden = view !== state.view;
    const tab = document.querySelector<HTMLElement>(`[data-view="${view}"]`);
    if (tab) tab.ariaCurrent = view === state.view ? "page" : null;
  }
  for (const name of STORY) {
    const input = $<HTMLInputElement>(name);
    if (document.activeElement !== input) input.value = `${state[name]}`;
  }
  toHash();
  drawTokens();
  if (state.view === "step") {
    drawSource();
    drawPredict();
  } else document.body.classList.remove("asking");
  SCREENS[state.view]();
  drawTrack();
  centerTokens();
  centerSource();
  drawTour();
  if (!document.body.classList.contains("ready")) {
    document.body.classList.add("ready");
    requestAnimationFrame(() => performance.mark("first step"));
  }
  prepare();
}
let isPainted = false;

let isPreparing = false;

/** Compute in advance what the next token needs, a little at a time. */
function prepare(): void {
  if (isPreparing) return;
  isPreparing = true;
  setTimeout(async () => {
    const { story } = app;
    const pos = state.pos + 1;
    const isWanted = () => story === app.story && pos === state.pos + 1;
    if (pos < story.run.tokens.length) {
      story.run.at(pos);
      await prepareGuesses(pos, isWanted);
    }
    isPreparing = false;
  }, 50);
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
  p: togglePredict,
  ".": breakHere,
  l: breakAtLayer,
  Escape: () => {
    $("source").classList.remove("open");
    go({ tour: 0, ask: false, cell: -1 });
  },
};

/** Move by one stop; at the end of a pass, to the next token. */
function next(by: number): void {
  const stop = state.stop + by;
  const last = places().length - 1;
  if (stop > last && state.pos + 1 < app.story.run.tokens.length) go({ pos: state.pos + 1, stop: 0, cell: -1 });
  else if (stop < 0 && state.pos > 0) go({ pos: state.pos - 1, stop: last, cell: -1 });
  else go({ stop, cell: -1 });
}

// ----------------------------------------------------------------------------
// the start

function listen(): void {
  listenToFigure();
  listenToAttention();
  listenToRope();
  listenToSampler();
  listenToCompare();
  listenToChecks();
  listenToSource();
  listenToTrack(next);
  listenToPredict();
  listenToGlossary();
  listenToExports();
  listenToTour();
  listenToFiles();
  for (const tab of document.querySelectorAll<HTMLElement>("[data-view]")) {
    tab.onclick = () => go({ view: tab.dataset.view as State["view"], tour: 0 });
  }
  $("next").onclick = KEYS.n;
  $("back").onclick = KEYS.b;
  $("closeHow").onclick = KEYS.o;
  $("whyAll").onclick = whyAll;
  $("theme").onclick = () => go({ theme: state.theme === "dark" ? "light" : "dark" });
  $("contrast").onclick = () => go({ contrast: state.contrast === "more" ? "" : "more" });
  $("showSettings").onclick = () => {
    $("showSettings").ariaExpanded = `${$("settings").classList.toggle("open")}`;
  };
  $("settings").onsubmit = (event) => {
    event.preventDefault();
    settle();
  };
  $("settings").onchange = settle;
  addEventListener("keydown", (event) => {
    const { target, key, ctrlKey, metaKey, altKey } = event;
    if (target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return;
    if (target instanceof HTMLInputElement && target.type !== "range") return;
    if (ctrlKey || metaKey || altKey || !(key in KEYS)) return;
    if (key === "Escape" && document.querySelector(":popover-open")) return; // it closes that
    event.preventDefault();
    KEYS[key]();
  });
  addEventListener("resize", () => draw());
  addEventListener("hashchange", () => {
    const before = { ...state };
    fromHash();
    if ([...STORY, ...OTHER].some((name) => before[name] !== state[name])) void rerun();
    else go({});
  });
}

function listenToFiles(): void {
  const opened = (session: Session) => begun(session, { ...NO_OTHER, cell: -1, stop: 0 });
  for (const id of ["file", "folder"]) {
    const input = $<HTMLInputElement>(id);
    input.onchange = () => {
      const files = [...(input.files ?? [])];
      const folder = id === "folder" ? (files[0]?.webkitRelativePath.split("/")[0] ?? "") : "";
      // only the files of the folder itself, not those of subfolders
      const own = files.filter((file) => folder === "" || file.webkitRelativePath.split("/").length === 2);
      $("modelBox").hidePopover();
      void receive(own, folder, opened);
      input.value = "";
    };
  }
  $("choose").onclick = () => $("file").click();
  $("chooseFolder").onclick = () => $("folder").click();
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", async (event) => {
    event.preventDefault();
    if (!event.dataTransfer) return;
    const [files, folder] = await dropped(event.dataTransfer.items);
    await receive(files, folder, opened);
  });
}

/** Apply the values of the fields. */
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
  await rerun();
}

/** page.json, which `llama2 study` serves, or which is beside the page. */
interface Page {
  model: string;
  tokenizer?: string;
  prompt?: string;
}

async function fetched(path: string): Promise<NamedBytes> {
  const bytes = new Uint8Array(await (await fetch(path)).arrayBuffer());
  return { name: decodeURIComponent(path.split("/").at(-1) ?? path), bytes };
}

async function start(): Promise<void> {
  const asked = fetch("page.json"); // first of all, since the model is large
  fromHash();
  Object.assign(document.documentElement.dataset, { theme: state.theme, contrast: state.contrast });
  const wanted = state.model;
  const page = (await (await asked).json()) as Page;
  const files = Promise.all([fetched(page.model), page.tokenizer === undefined ? undefined : fetched(page.tokenizer)]);
  if (page.prompt !== undefined && !location.hash.includes("prompt=")) state.prompt = page.prompt;
  listen();
  writeSource();
  await begun(await openModel(...(await files)), {});
  if (wanted && app.session.sha256 && !app.session.sha256.startsWith(wanted)) {
    say(
      `This link was made with another model (sha256 ${wanted}…). Drop that model and its tokenizer here to see the same.`,
    );
  }
}

start().catch((error: Error) => {
  document.body.classList.remove("busy");
  say(`The page could not start: ${error.message}`);
});
