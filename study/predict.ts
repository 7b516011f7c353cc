/*
 * Predict, then see, at any stop: the figure is hidden until the visitor has answered a question about it. Missed questions
 * are asked again.
 */

import { explain, residualBefore } from "../src/trace/explain.ts";
import { indexOf, type StopId } from "../src/trace/stops.ts";
import { app, config, go, here, kind, logitsAt, look, number, ranked, refOf, said, saidAt, valuesAt } from "./app.ts";
import { $, el } from "./dom.ts";
import { type Answer, drawQuestion, type Question } from "./question.ts";
import { state } from "./state.ts";

/** The answers by position, stop and cell. */
const answers = new Map<string, Answer>();
const keyHere = (): string => `${state.pos} ${state.stop} ${state.cell}`;

/** The number that is asked about: the chosen one, or the largest. */
function asked(values: Float32Array): number {
  if (state.cell >= 0 && state.cell < values.length) return state.cell;
  return values.reduce((best, value, i) => (Math.abs(value) > Math.abs(values[best]) ? i : best), 0);
}

const SIGNS = ["positive", "negative"];
const signOf = (value: number) => (value >= 0 ? SIGNS[0] : SIGNS[1]);

function question(): Question {
  const { id } = here();
  const special = QUESTIONS[id];
  return special ? special() : signQuestion();
}

/** For a sum of products: shows its largest terms of both signs, and asks for the sign of the sum. */
function signQuestion(): Question {
  const cell = asked(valuesAt());
  const { terms, value } = explain(app.story.run, refOf(cell));
  const order = terms.map((term) => term.value).sort((a, b) => a - b);
  const listed = (some: number[]) => some.map((each) => number(each, 2)).join(", ");
  const few = Math.min(3, Math.floor(order.length / 2));
  return {
    text: `${kind().tensors[0]}[${cell}] is a sum of ${order.length} products. The largest are ${listed(order.slice(-few).reverse())}, the smallest ${listed(order.slice(0, few))}. Which sign has the sum?`,
    options: SIGNS,
    answer: signOf(value),
    reveal: `It is ${number(value, 7)}.`,
  };
}

function tokenQuestion(): Question {
  const n = state.pos + 1;
  const head = Math.min(state.head, config().nHeads - 1);
  const row = valuesAt().subarray(head * n, (head + 1) * n);
  const order = Array.from(row.keys()).sort((a, b) => row[b] - row[a]);
  const name = (pos: number) => `${pos} ${look(app.story.run.tokens[pos]).trim() || "␣"}`;
  return {
    text: `Looking back from ${saidAt(state.pos)}: which token does head ${head} find most?`,
    options: order
      .slice(0, 6)
      .sort((a, b) => a - b)
      .map(name),
    answer: name(order[0]),
    reveal: `${saidAt(order[0])}, with ${number(row[order[0]], 3)}.`,
  };
}

/** For x after an addition: shows both numbers, and asks for the sum. */
function sumQuestion(): Question {
  const { id, layer } = here();
  const { nLayers } = config();
  const from: StopId = id === "res1" ? "proj" : "down";
  const before = valuesAt(indexOf(residualBefore({ id, layer }, nLayers), nLayers));
  const added = valuesAt(indexOf({ id: from, layer }, nLayers));
  const values = valuesAt();
  const cell = state.cell >= 0 ? asked(values) : asked(added);
  return {
    text: `x[${cell}] was ${number(before[cell], 2)}, and ${number(added[cell], 2)} is added. What is it now?`,
    answer: `${values[cell]}`,
    within: 0.011,
    reveal: `${number(values[cell], 7)}: added, not replaced.`,
  };
}

const QUESTIONS: Partial<Record<StopId, () => Question>> = {
  embed: () => ({
    text: "Here a row of the table is copied. How many numbers does it have?",
    answer: `${config().dim}`,
    reveal: `${config().dim}, whatever the token.`,
  }),
  norm1: () => normQuestion(),
  norm2: () => normQuestion(),
  normOut: () => normQuestion(),
  rope: () => ({
    text: "By how many radians does the first pair of each head turn here?",
    answer: `${state.pos}`,
    reveal: `${state.pos}: one radian for each position.`,
  }),
  scores: tokenQuestion,
  probs: tokenQuestion,
  res1: sumQuestion,
  res2: sumQuestion,
  act() {
    const cell = asked(valuesAt());
    const { layer } = here();
    const at = (id: StopId) => valuesAt(indexOf({ id, layer }, config().nLayers))[cell];
    return {
      text: `The gate of detector ${cell} is ${number(at("gate"), 2)}, its amount ${number(at("up"), 2)}. After silu(gate) × amount: which sign?`,
      options: SIGNS,
      answer: signOf(valuesAt()[cell]),
      reveal: `hb[${cell}] = ${number(valuesAt()[cell], 7)}.`,
    };
  },
  logits() {
    const logits = logitsAt(state.pos);
    const order = ranked(logits);
    const some = [order[0], order[1], order[2], order[5], order[20] ?? order[3]].sort((a, b) => a - b);
    return {
      text: `Which token comes first after ${saidAt(state.pos)}?`,
      options: some.map((token) => look(token).trim() || "␣"),
      answer: look(order[0]).trim() || "␣",
      reveal: `${said(order[0])}, with a logit of ${number(logits[order[0]], 2)}.`,
    };
  },
};

function normQuestion(): Question {
  const { nLayers } = config();
  const before = valuesAt(indexOf(residualBefore(here(), nLayers), nLayers));
  const values = valuesAt();
  const most = (all: Float32Array) => all.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  return {
    text: `The largest number of x is ${number(most(before), 2)}. Is the largest after the norm larger or smaller?`,
    options: ["larger", "smaller"],
    answer: most(values) > most(before) ? "larger" : "smaller",
    reveal: `It is ${number(most(values), 4)}.`,
  };
}

/** In predict mode, ask, and hide the figure until there is an answer. */
export function drawPredict(): void {
  $("predict").ariaPressed = `${state.ask}`;
  $("asked").hidden = !state.ask;
  const answer = answers.get(keyHere());
  const isHidden = state.ask && !answer;
  document.body.classList.toggle("asking", isHidden);
  if (!state.ask) return;
  drawQuestion($("ask"), question(), answer, (given) => {
    answers.set(keyHere(), given);
    go({});
    $("next").focus();
  });
  drawMissed();
}

/** A link to the questions that were missed. */
function drawMissed(): void {
  const missed = [...answers].filter(([key, { right }]) => !right && key !== keyHere());
  $("missed").hidden = missed.length === 0;
  if (missed.length === 0) return;
  const [key] = missed[0];
  const [pos, stop, cell] = key.split(" ").map(Number);
  const again = el("button", { className: "link", textContent: `Again: ${missed.length} missed` });
  again.onclick = () => {
    answers.delete(key);
    go({ pos, stop, cell });
  };
  $("missed").replaceChildren(again);
}

/** Answers belong to one story. */
export const forgetAnswers = (): void => answers.clear();

export function listenToPredict(): void {
  $("predict").onclick = togglePredict;
}

export function togglePredict(): void {
  answers.delete(keyHere());
  go({ view: "step", ask: !state.ask, tour: 0 });
}
