/*
 * Explains one number: its terms and their running sum, and the path back through its largest terms.
 */
import { type Explanation, explain, type Ref, type Term } from "../src/trace/explain.ts";
import { nameOf } from "../src/trace/stops.ts";
import { leadsTo, why } from "../src/trace/why.ts";
import { app, exactly, go, here, number, placeOf, refOf, said, valuesAt } from "./app.ts";
import { changeWeight } from "./compare.ts";
import { $, el } from "./dom.ts";
import { begin, cssOf, largest, palette, text } from "./draw.ts";
import { state } from "./state.ts";

/** Write the explanation of the chosen number, if there is one. `drawSum` draws its picture, after all text is set. */
export function writeHow(): Explanation | undefined {
  const isOpen = state.cell >= 0 && state.cell < valuesAt().length;
  $("how").hidden = !isOpen;
  $("hint").hidden = isOpen;
  if (!isOpen) return undefined;
  const ref = refOf(state.cell);
  const made = explain(app.story.run, ref);
  $("formula").textContent = made.formula;
  drawTerms(made);
  drawVerdict(made);
  drawTrail(ref);
  return made;
}

/** Factors as rows of colours, terms as bars, and the running sum. */
export function drawSum({ terms, sums }: Explanation): void {
  const canvas = $<HTMLCanvasElement>("sum");
  canvas.hidden = terms.length < 3;
  if (canvas.hidden) return;
  const rows = terms[0].factors.length;
  const n = terms.length;
  const [c, w] = begin(canvas, rows * 24 + 116);
  const left = Math.min(112, w * 0.28);
  const cw = (w - left) / n;
  const names = terms[0].factors.map(({ name }) => name.replace(/\[[^[]*$/, "[j]"));
  for (let r = 0; r < rows; r++) {
    const values = terms.map(({ factors }) => factors[r].value);
    const max = largest(values);
    text(c, names[r].length * 7 > left ? names[r].replace(/^.*?(\w+\[)/, "$1").slice(0, 15) : names[r], 0, r * 24 + 9);
    for (const [j, value] of values.entries()) {
      c.fillStyle = cssOf(value, max);
      c.fillRect(left + j * cw, r * 24, Math.max(cw - (cw > 5 ? 1 : 0), 0.5), 18);
    }
  }
  const y = rows * 24 + 28;
  const max = largest(terms.map(({ value }) => value)) || 1;
  text(c, rows > 1 ? "products" : "terms", 0, y);
  for (const [j, { value }] of terms.entries()) {
    const height = (value / max) * 22;
    c.fillStyle = cssOf(value < 0 ? -0.8 : 0.8, 1);
    c.fillRect(left + j * cw, Math.min(y, y - height), Math.max(cw - (cw > 5 ? 1 : 0), 0.5), Math.abs(height) || 0.5);
  }
  const base = rows * 24 + 84;
  const most = largest(sums) || 1;
  text(c, "running sum", 0, base);
  c.fillStyle = palette.line;
  c.fillRect(left, base, w - left, 1);
  c.strokeStyle = palette.ink;
  c.lineWidth = 1.5;
  c.beginPath();
  for (const [j, sum] of sums.entries()) {
    const [x, at] = [left + j * cw, base - (sum / most) * 24];
    if (j === 0) c.moveTo(x, base);
    c.lineTo(x, at);
    c.lineTo(x + cw, at);
  }
  c.stroke();
  c.fillStyle = palette.accent;
  c.beginPath();
  c.arc(left + n * cw - 3, base - (sums[n - 1] / most) * 24, 4, 0, 7);
  c.fill();
  canvas.ariaLabel = `${n} terms and their running sum, which ends at ${number(sums[n - 1])}`;
}

/** The largest terms, each with a button to the value behind it. */
function drawTerms({ terms, carries }: Explanation): void {
  const all = [...(carries ?? terms)].sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, 6);
  $("terms").replaceChildren(
    ...all.map((term) => {
      const onward = leadsTo(term);
      const why = el("button", { className: "link", textContent: onward ? "why?" : "" });
      why.hidden = !onward;
      if (onward) why.ariaLabel = `Why is ${term.factors.at(-1)?.name} ${number(term.factors.at(-1)?.value ?? 0)}?`;
      why.onclick = () => onward && follow(onward);
      return el("li", {}, el("b", { textContent: number(term.value) }), el("span", {}, ...product(term)), why);
    }),
  );
  $("termsTitle").textContent =
    all.length < terms.length && !carries
      ? `The largest of ${terms.length} terms`
      : carries
        ? "What it carries on"
        : "Its terms";
}

/** The factors of a term. A weight leads to the form that changes it. */
function product({ factors }: Term): (Node | string)[] {
  return factors.flatMap(({ name, value, ref }, i) => {
    const parts: (Node | string)[] = i > 0 ? ["  ×  "] : [];
    const isWeight = !ref && /^(w|rms|token)\w+(\[\d+\])+$/.test(name);
    if (isWeight) {
      const change = el("button", { className: "link", textContent: name, title: "Change this weight" });
      change.onclick = () => changeWeight(name);
      parts.push(change);
    } else parts.push(name);
    return [...parts, ` ${number(value)}`];
  });
}

function drawVerdict({ exact, terms, value, result, note }: Explanation): void {
  const count = `${terms.length} float32 term${terms.length === 1 ? "" : "s"}`;
  const verdict = $("verdict");
  verdict.className = exact ? "exact" : "";
  verdict.textContent = exact
    ? `${count} give ${exactly(value)}, to the last bit what the run stored.`
    : `${count} give ${exactly(result)}; the run stored ${exactly(value)}${note ? `: ${note}` : ""}.`;
}

/** Go to the value behind a term, and remember the path. */
function follow(ref: Ref): void {
  app.trail.push(refOf(state.cell));
  go(placeOf(ref));
}

/** The path so far, and a button to the end of it: the token. */
function drawTrail(ref: Ref): void {
  const steps = app.trail.map((past, i) => {
    const back = el("button", { className: "link", textContent: refText(past) });
    back.onclick = () => {
      app.trail.length = i;
      go(placeOf(past));
    };
    return el("li", {}, back);
  });
  if (steps.length > 0) steps.push(el("li", { textContent: refText(ref) }));
  $("trail").replaceChildren(...steps);
  $("trail").hidden = steps.length === 0;
  const isEnd = here().id === "embed";
  $<HTMLButtonElement>("whyAll").hidden = isEnd;
  $("origin").textContent = isEnd ? originText(ref) : "";
}

const refText = (ref: Ref): string => `${nameOf(ref)}${ref.id === "rope" ? `.${ref.tensor}` : ""}[${ref.index}]`;

function originText({ pos, index }: Ref): string {
  const token = app.story.run.tokens[pos];
  return `The end of the way: number ${index} of the row of token ${token}, ${said(token)}, at position ${pos}.`;
}

/** Follow the largest terms all the way down, to a weight and a token. */
export function whyAll(): void {
  if (state.cell < 0) return;
  let last = why(app.story.run, refOf(state.cell), 200);
  app.trail = [];
  while (last.next) {
    app.trail.push(last.ref);
    last = last.next;
  }
  go(placeOf(last.ref));
}
