/*
 * The source beside the tensor: transformer.ts with the line that ran, and run.c if the visitor has dropped it.
 */
import source from "virtual:source";
import { LINES } from "../src/trace/forward.ts";
import { partsOf } from "../src/trace/runc.ts";
import { STOPS, type StopId, stopOf } from "../src/trace/stops.ts";
import { go, here, places } from "./app.ts";
import { $, el } from "./dom.ts";
import { sha256 } from "./session.ts";
import { state } from "./state.ts";

/** The breakpoints of key `c`: stops by their ids, and layers as "L2". */
const breaks = (): string[] => state.breaks.split(",").filter((name) => name !== "");
function toggleBreak(name: string): void {
  const all = breaks();
  go({ breaks: (all.includes(name) ? all.filter((each) => each !== name) : [...all, name]).join() });
}
export const breakHere = (): void => toggleBreak(here().id);
export const breakAtLayer = (): void => {
  if (here().layer >= 0) toggleBreak(`L${here().layer}`);
};
/** run.c's lines, once it is dropped; and which sources are shown. */
let runC: string[] | undefined;
let shown: "both" | "ts" | "c" = "ts";

const gutters = new Map<StopId, HTMLButtonElement>();

/** Write the lines of transformer.ts, once. */
export function writeSource(): void {
  const stops = new Map(STOPS.map(({ id }) => [LINES[id].line, id]));
  const lines = source.map((parts, i) => {
    const line = i + 1;
    const id = stops.get(line);
    const text = el(
      "code",
      {},
      ...parts.map(([kind, text]) => (kind ? el("span", { className: kind, textContent: text }) : text)),
    );
    const gutter = el("button", {
      className: "gutter",
      textContent: `${line}`,
      disabled: id === undefined,
      tabIndex: -1,
    });
    gutter.ariaLabel = `Breakpoint at line ${line}`;
    const item = el("li", {}, gutter, text);
    if (id === undefined) return item;
    item.className = "stop";
    gutter.ariaPressed = "false";
    gutters.set(id, gutter);
    gutter.onclick = (event) => {
      event.stopPropagation();
      toggleBreak(id);
    };
    item.onclick = () => {
      const layer = Math.max(0, here().layer);
      const found = places().findIndex((place) => place.id === id && (place.layer === layer || place.layer < 0));
      if (found >= 0) go({ stop: found, cell: -1 });
    };
    return item;
  });
  $("code").replaceChildren(...lines);
}

export function drawSource(): void {
  const all = breaks();
  for (const [id, gutter] of gutters) {
    const pressed = `${all.includes(id)}`;
    if (gutter.ariaPressed !== pressed) gutter.ariaPressed = pressed;
  }
  const { line } = LINES[here().id];
  $("code").hidden = shown === "c";
  $("runc").hidden = shown === "ts";
  for (const [id, what] of Object.entries(CHOICES)) $(id).ariaPressed = `${shown === what}`;
  light($("code"), line);
  if (runC) light($("runc"), stopOf(here().id).runc);
}
const CHOICES = { showBoth: "both", showTs: "ts", showC: "c" } as const;

/** Sources whose highlighted line must be scrolled into view. */
const moved = new Set<HTMLElement>();

/** Scroll the highlighted lines into view. Separate from drawing, since it forces a layout. */
export function centerSource(): void {
  for (const list of moved) center(list);
  moved.clear();
}

/** Highlight a line. */
function light(list: HTMLElement, line: number): void {
  if (list.hidden || list.querySelector(".lit") === list.children[line - 1]) return;
  for (const lit of list.querySelectorAll(".lit")) {
    lit.classList.remove("lit");
    lit.removeAttribute("aria-current");
  }
  const item = list.children[line - 1] as HTMLElement | undefined;
  if (!item) return;
  item.classList.add("lit");
  item.setAttribute("aria-current", "step");
  moved.add(list);
}

function center(list: HTMLElement): void {
  const lit = list.querySelector<HTMLElement>(".lit");
  if (lit) list.scrollTop = lit.offsetTop - list.clientHeight * 0.42;
}

/** The lines of the stops in both sources, in order, with the beginnings. */
const PAIRS = [[1, 1], ...STOPS.map(({ id, runc }) => [LINES[id].line, runc])].sort(([a], [b]) => a - b);

/** Scroll one source to the same place as the other: between two stops in proportion. */
function follow(from: HTMLElement, to: HTMLElement, [a, b]: [number, number]): void {
  if (to.hidden || !from.matches(":hover, :focus")) return;
  const middle = (list: HTMLElement) => list.clientHeight * 0.42;
  const lineHeight = 20;
  const line = (from.scrollTop + middle(from)) / lineHeight + 1;
  const next = PAIRS.findIndex((pair) => pair[a] > line);
  const [before, after] = [PAIRS.at(next < 0 ? -1 : Math.max(0, next - 1)), PAIRS[next]];
  if (!before) return;
  const part = after ? (line - before[a]) / (after[a] - before[a]) : 0;
  const there = after ? before[b] + part * (after[b] - before[b]) : before[b] + line - before[a];
  to.scrollTop = (there - 1) * lineHeight - middle(to);
}

/** Show a dropped run.c. Returns a message: whether it is the version whose lines the stops name. */
export async function showRunC(text: string): Promise<string> {
  runC = text.replaceAll("\r\n", "\n").split("\n");
  const items = runC.map((line, i) =>
    el("li", {}, el("span", { className: "gutter", textContent: `${i + 1}` }), el("code", { textContent: line })),
  );
  $("runc").replaceChildren(...items);
  shown = "both";
  $("sources").hidden = false;
  for (const { what, text: part, sha256: expected } of partsOf(text)) {
    const found = await sha256(new TextEncoder().encode(part));
    if (found && !found.startsWith(expected))
      return `This run.c is not the version of 350e04f: ${what} differs, so lines may not match.`;
  }
  return "run.c of 350e04f: its lines are those of the stops.";
}

/** The next stop with a breakpoint, in this pass; else the last. */
export function untilBreakpoint(): number {
  const all = places();
  const next = all.findIndex((_, i) => i > state.stop && hasBreakpoint(i));
  return next < 0 ? all.length - 1 : next;
}

/** Whether a stop has a breakpoint: at its line, or at the beginning of its layer. */
export function hasBreakpoint(index: number): boolean {
  if (state.breaks === "") return false;
  const { id, layer } = places()[index];
  return breaks().includes(id) || (id === "norm1" && breaks().includes(`L${layer}`));
}

export function listenToSource(): void {
  for (const [id, what] of Object.entries(CHOICES)) {
    $(id).onclick = () => {
      shown = what;
      go({});
      for (const list of [$("code"), $("runc")]) center(list);
    };
  }
  $("code").onscroll = () => follow($("code"), $("runc"), [0, 1]);
  $("runc").onscroll = () => follow($("runc"), $("code"), [1, 0]);
  $("openSource").onclick = () => {
    $("source").classList.add("open");
    for (const list of [$("code"), $("runc")]) center(list);
    $("closeSource").focus();
  };
  $("closeSource").onclick = () => {
    $("source").classList.remove("open");
    $("openSource").focus();
  };
}
