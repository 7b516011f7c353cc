/*
 * The guided tour: one token's way from text to text. At each stop the visitor predicts first, then the run answers. Missed
 * questions come back at the end.
 */
import { lensAt } from "../src/trace/lens.ts";
import { indexOf, type StopId } from "../src/trace/stops.ts";
import { app, config, go, logitsAt, look, number, percent, ranked, said, saidAt, valuesAt } from "./app.ts";
import { $ } from "./dom.ts";
import { type Answer, drawQuestion, type Question } from "./question.ts";
import { bench, drawFrom } from "./sampler.ts";
import { type State, state, type View } from "./state.ts";

interface TourStop {
  view?: View;
  id: StopId;
  layer?: number;
  /** The element that it is about. */
  at: string;
  title: string;
  text: () => string;
  ask: () => Question;
}

const lastLayer = (): number => config().nLayers - 1;
const stopOf = ({ id, layer = 0 }: TourStop): number => {
  const isInLayer = !["embed", "normOut", "logits"].includes(id);
  return indexOf({ id, layer: isInLayer ? layer : -1 }, config().nLayers);
};
const valuesOf = (id: StopId, layer = 0): Float32Array => valuesAt(indexOf({ id, layer }, config().nLayers));
const most = (values: Float32Array): number => Math.max(...values.map(Math.abs));
const yesNo = ["yes", "no"];
const guessAt = (id: StopId, layer: number): number => ranked(lensAt(app.story.run, state.pos, { id, layer }))[0];

export const TOUR: TourStop[] = [
  {
    id: "embed",
    at: "tokens",
    title: "Text becomes tokens",
    text: () =>
      `A model reads pieces of words. Each is a number between 0 and ${config().vocabSize - 1}, and a start mark <s> stands before them. We follow one of them, ${saidAt(state.pos)}.`,
    ask: () => ({
      text: `Which number does ${saidAt(state.pos)} have? Guess: above or below ${Math.floor(config().vocabSize / 2)}?`,
      options: ["above", "below"],
      answer: app.story.run.tokens[state.pos] > config().vocabSize / 2 ? "above" : "below",
      reveal: `It is token ${app.story.run.tokens[state.pos]}.`,
    }),
  },
  {
    id: "embed",
    at: "figure",
    title: "A token becomes numbers",
    text: () =>
      "The token's number picks a row of a learned table. These bars are that row. From here on this list, x, is all that the model knows about this position.",
    ask: () => ({
      text: "How many numbers does the row have?",
      answer: `${config().dim}`,
      reveal: `${config().dim}, the same for every token. The first is ${number(valuesOf("embed", -1)[0])}.`,
    }),
  },
  {
    id: "norm1",
    at: "figure",
    title: "One size for all",
    text: () =>
      "Before x is used it is brought to a common size, and each entry gets a learned weight. The line of source that did it is lit.",
    ask: () => {
      const [x, xb] = [most(valuesOf("embed", -1)), most(valuesOf("norm1"))];
      return {
        text: "Is the largest number now larger or smaller than before?",
        options: ["larger", "smaller"],
        answer: xb > x ? "larger" : "smaller",
        reveal: `It was ${number(x, 3)} in x and is ${number(xb, 3)} in xb.`,
      };
    },
  },
  {
    id: "q",
    at: "figure",
    title: "A question: the query",
    text: () =>
      `Each number of q is a sum of ${config().dim} products, a weight times an entry of xb. Click any cell to see its sum. A head uses its row to say what this position looks for.`,
    ask: () => ({
      text: "q[0], the first cell: will the sum be positive or negative?",
      options: ["positive", "negative"],
      answer: valuesOf("q")[0] >= 0 ? "positive" : "negative",
      reveal: `q[0] = ${number(valuesOf("q")[0], 7)}.`,
    }),
  },
  {
    id: "k",
    at: "cacheBox",
    title: "An address: the key",
    text: () =>
      "The key is how later tokens find this one. It is written into the KV cache and stays there, which is why a model need not read the whole text again for each word.",
    ask: () => ({
      text: "Which row of the cache does it go to? Positions count from 0.",
      answer: `${state.pos}`,
      reveal: `Row ${state.pos}: the position of ${saidAt(state.pos)}.`,
    }),
  },
  {
    view: "rope",
    id: "rope",
    at: "dials",
    title: "Where am I? Dials turn",
    text: () =>
      "A pair of numbers is a hand on a dial. It turns with the position: the first pair by one radian a token, the last hardly at all. So a score knows how far apart two tokens are.",
    ask: () => ({
      text: "By how many radians has the first pair turned here?",
      answer: `${state.pos}`,
      reveal: `${state.pos} positions × 1 radian = ${state.pos} radians.`,
    }),
  },
  {
    id: "scores",
    at: "figure",
    title: "Query meets key",
    text: () =>
      "Each head multiplies its query with the key of every token so far. A high score means: this is what I was looking for. What comes later cannot be seen.",
    ask: () => {
      const n = state.pos + 1;
      const row = valuesOf("scores").subarray(0, n);
      const best = row.indexOf(Math.max(...row));
      return {
        text: "Which token does head 0 find most?",
        options: app.story.run.tokens.slice(0, n).map((token, pos) => `${pos} ${look(token).trim()}`),
        answer: `${best} ${look(app.story.run.tokens[best]).trim()}`,
        reveal: `${saidAt(best)}, with a score of ${number(row[best], 3)}.`,
      };
    },
  },
  {
    id: "probs",
    at: "figure",
    title: "Scores become shares",
    text: () => "Softmax turns each row of scores into shares. A score that is higher by 1 gets 2.7 times the share.",
    ask: () => {
      const n = state.pos + 1;
      const row = valuesOf("probs").subarray(0, n);
      return {
        text: "What do the shares of a head sum to?",
        answer: "1",
        reveal: `1, but for float32's roundings: here ${row.reduce((a, b) => Math.fround(a + b), 0)}.`,
      };
    },
  },
  {
    id: "mix",
    at: "figure",
    title: "Carrying over",
    text: () =>
      "Each head now mixes the values of all positions by those shares. This is the only step in which anything travels from one token to another.",
    ask: () => ({
      text: "From how many positions does it come?",
      answer: `${state.pos + 1}`,
      reveal: `${state.pos + 1}: all so far, this one included.`,
    }),
  },
  {
    id: "res1",
    at: "figure",
    title: "Added, not replaced",
    text: () =>
      "What attention has found is added to x. The hairlines show x before. Everything that was written earlier is still in it.",
    ask: () => {
      const [before, now] = [guessAt("embed", -1), guessAt("res1", 0)];
      return {
        text: "If the model stopped here: is its best guess for the next token another one than before?",
        options: yesNo,
        answer: before === now ? "no" : "yes",
        reveal: before === now ? `It stays ${said(now)}.` : `It moves from ${said(before)} to ${said(now)}.`,
      };
    },
  },
  {
    id: "act",
    at: "figure",
    title: "Detectors",
    text: () =>
      `The feed-forward network has ${config().hiddenDim} detectors. Each asks whether its pattern is there; if not, its number is pressed towards 0.`,
    ask: () => {
      const values = valuesOf("act");
      const quiet = values.filter((value) => Math.abs(value) < 0.1).length / values.length;
      return {
        text: "How many of them stay below 0.1?",
        options: ["less than a third", "about half", "more than two thirds"],
        answer: quiet < 1 / 3 ? "less than a third" : quiet > 2 / 3 ? "more than two thirds" : "about half",
        reveal: `${percent(quiet)} of them.`,
      };
    },
  },
  {
    id: "res2",
    layer: -2, // the last
    at: "lensBox",
    title: "Layer upon layer",
    text: () =>
      `The same is done in each of the ${config().nLayers} layers, with other weights. The table shows what the model would say after each.`,
    ask: () => {
      const final = ranked(logitsAt(state.pos))[0];
      const first = ranked(lensAt(app.story.run, state.pos, { id: "res2", layer: 0 })).indexOf(final) + 1;
      return {
        text: `In the end it says ${said(final)}. Was that the best guess after the first layer already?`,
        options: yesNo,
        answer: first === 1 ? "yes" : "no",
        reveal: `After layer 0 it was number ${first} of ${config().vocabSize}.`,
      };
    },
  },
  {
    id: "logits",
    at: "figure",
    title: "A score for every token",
    text: () =>
      `x is compared with a row for each of the ${config().vocabSize} tokens: one dot product each. The best match has the highest logit.`,
    ask: () => {
      const order = ranked(logitsAt(state.pos));
      const some = [order[0], order[1], order[2], order[5], order[20]].sort((a, b) => a - b);
      return {
        text: `Which comes first after ${saidAt(state.pos)}?`,
        options: some.map((token) => look(token).trim()),
        answer: look(order[0]).trim(),
        reveal: `${said(order[0])}, with a logit of ${number(logitsAt(state.pos)[order[0]], 2)}.`,
      };
    },
  },
  {
    view: "sampler",
    id: "logits",
    at: "coin",
    title: "The coin decides",
    text: () =>
      "Softmax makes probabilities of the logits, top-p keeps the likeliest, and a coin falls somewhere along them. Move the sliders: another temperature, another token.",
    ask: () => {
      const { token, order, kept } = drawFrom(logitsAt(state.pos), bench);
      return {
        text: `With this coin (${bench.coin.toFixed(2)}): is the likeliest token chosen?`,
        options: yesNo,
        answer: token === order[0] ? "yes" : "no",
        reveal: `${said(token)} is chosen, of ${kept} that are kept.`,
      };
    },
  },
  {
    view: "compare",
    id: "logits",
    at: "parts",
    title: "What is it good for?",
    text: () =>
      "Switch a part off and see what becomes of the story. That is how one finds out what a head does. A part may do nothing here and much elsewhere.",
    ask: () => ({
      text: "Switch off head 0 of layer 0 (the first button): do you expect another story?",
      options: yesNo,
      answer: "yes",
      reveal: "Try it: both texts stand below, with the first token that differs.",
    }),
  },
];

/** The answer at each stop, and whether it was right. */
const answers = new Map<number, Answer>();
/** The stop whose card is shown; 0: none. */
let drawn = 0;

/** The state of a tour stop. */
export function toTourStop(index: number): Partial<State> {
  const stop = TOUR[index - 1];
  if (!stop) return { tour: 0 };
  const { view = "step", layer } = stop;
  const place = layer === -2 ? { ...stop, layer: lastLayer() } : stop;
  return { tour: index, view, stop: stopOf(place), cell: -1, head: 0 };
}

export function drawTour(): void {
  for (const marked of document.querySelectorAll(".toured")) marked.classList.remove("toured");
  const stop = TOUR[state.tour - 1];
  $("tour").hidden = !stop;
  document.body.classList.toggle("touring", Boolean(stop));
  // elements that would reveal the answer are hidden until there is one
  document.body.classList.toggle("veiled", Boolean(stop) && !answers.has(state.tour));
  if (!stop) {
    if (drawn > 0) $("startTour").focus({ preventScroll: true });
    drawn = 0;
    return;
  }
  $(stop.at).classList.add("toured");
  $("tour").classList.toggle("aside", $("explain").contains($(stop.at)));
  $("tourCount").textContent = `${state.tour} of ${TOUR.length}`;
  $("tourTitle").textContent = stop.title;
  $("tourText").textContent = stop.text();
  $<HTMLButtonElement>("tourBack").disabled = state.tour === 1;
  const missed = [...answers].filter(([, { right }]) => !right).map(([index]) => index);
  const isLast = state.tour === TOUR.length;
  $("tourNext").textContent = isLast ? (missed.length > 0 ? `Again: ${missed.length} missed` : "Done") : "Next";
  drawQuestion($("tourAsk"), stop.ask(), answers.get(state.tour), (answer) => {
    answers.set(state.tour, answer);
    drawTour();
    $("tourNext").focus();
  });
  if (drawn !== state.tour) show($(stop.at));
  drawn = state.tour;
}

/** Scroll the element into view (on a phone above the card), and focus the card. */
function show(meant: HTMLElement): void {
  $("tour").focus({ preventScroll: true });
  meant.scrollIntoView({ block: "nearest" });
  if (getComputedStyle(document.body).display === "block") meant.scrollIntoView({ block: "start" });
}

export function listenToTour(): void {
  $("startTour").onclick = () => {
    answers.clear();
    go(toTourStop(1));
  };
  $("tourLeave").onclick = () => go({ tour: 0 });
  $("tourBack").onclick = () => go(toTourStop(state.tour - 1));
  $("tourNext").onclick = () => {
    if (state.tour < TOUR.length) {
      go(toTourStop(state.tour + 1));
      return;
    }
    const [missed] = [...answers].find(([, { right }]) => !right) ?? [];
    if (missed !== undefined) answers.delete(missed);
    go(missed === undefined ? { tour: 0, view: "step" } : toTourStop(missed));
  };
}
