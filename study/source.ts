/*
 * The source beside the tensor: transformer.ts with the line that ran, and run.c when the visitor has dropped it in.
 */
import source from "virtual:source";
import { LINES } from "../src/trace/forward.ts";
import { partsOf } from "../src/trace/runc.ts";
import { STOPS, stopOf } from "../src/trace/stops.ts";
import { go, here, places } from "./app.ts";
import { $, el } from "./dom.ts";
import { sha256 } from "./session.ts";
import { state } from "./state.ts";

/** Lines at which `c` stops. */
const breakpoints = new Set<number>();
let runC: string[] | undefined;
let showsRunC = false;

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
    gutter.onclick = (event) => {
      event.stopPropagation();
      if (!breakpoints.delete(line)) breakpoints.add(line);
      gutter.ariaPressed = `${breakpoints.has(line)}`;
      go({});
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
  const { line } = LINES[here().id];
  light($("code"), line);
  $("code").hidden = showsRunC;
  $("runc").hidden = !showsRunC;
  $("showTs").ariaPressed = `${!showsRunC}`;
  $("showC").ariaPressed = `${showsRunC}`;
  if (runC && showsRunC) light($("runc"), stopOf(here().id).runc);
}

/** Light a line and bring it into view. */
function light(list: HTMLElement, line: number): void {
  for (const lit of list.querySelectorAll(".lit")) {
    lit.classList.remove("lit");
    lit.removeAttribute("aria-current");
  }
  const item = list.children[line - 1] as HTMLElement | undefined;
  if (!item) return;
  item.classList.add("lit");
  item.setAttribute("aria-current", "step");
  list.scrollTop = item.offsetTop - list.clientHeight * 0.42;
}

/** Show a run.c that was dropped in, and say whether it is the version whose lines we name. */
export async function showRunC(text: string): Promise<string> {
  runC = text.replaceAll("\r\n", "\n").split("\n");
  const items = runC.map((line, i) =>
    el("li", {}, el("span", { className: "gutter", textContent: `${i + 1}` }), el("code", { textContent: line })),
  );
  $("runc").replaceChildren(...items);
  showsRunC = true;
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
  const next = all.findIndex(({ id }, i) => i > state.stop && breakpoints.has(LINES[id].line));
  return next < 0 ? all.length - 1 : next;
}

export const hasBreakpoint = (index: number): boolean => breakpoints.has(LINES[places()[index].id].line);

export function listenToSource(): void {
  $("showTs").onclick = () => {
    showsRunC = false;
    go({});
  };
  $("showC").onclick = () => {
    showsRunC = true;
    go({});
  };
  $("openSource").onclick = () => {
    $("source").classList.add("open");
    go({});
  };
  $("closeSource").onclick = () => $("source").classList.remove("open");
}
