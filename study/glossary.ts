/*
 * A glossary: terms of the field in a text open a note.
 */
import { $, el } from "./dom.ts";

const NOTES: Record<string, string> = {
  attention: "The part of a layer in which a position looks back at others and takes something over from them.",
  cache: "Keys and values of all positions so far, kept so that they need not be computed again for each new token.",
  classifier: "The last matrix: a row for each token, compared with x. Here it is the embedding table again.",
  "dot product":
    "Multiply two lists of numbers entry by entry and add it all up. It is large where both point the same way.",
  embedding: "The learned row of numbers that stands for a token before anything else is known about it.",
  "feed-forward":
    "The second half of a layer. Each position works alone: many detectors, and what each of them has to say.",
  head: "A part of attention with a query of its own. Heads look back independently, each for something else.",
  "KL divergence": "How far one set of probabilities is from another, in nats; 0 if they are the same.",
  layer: "Attention and feed-forward, once. The same steps follow each other in every layer, with other weights.",
  logit: "A score for a token: any number. Softmax makes probabilities of all of them.",
  logits: "A score for each token: any numbers. Softmax makes probabilities of them.",
  "logit lens":
    "The last norm and the classifier, applied before the end: what would be said if the model stopped here?",
  nucleus: "The likeliest tokens whose probabilities sum to more than top-p. The rest is cut off.",
  query: "What a position looks for, compared with the keys of all positions so far.",
  residual: "x itself, running past every layer: what a layer finds is added to it and never replaces it.",
  silu: "z / (1 + e^-z): about z for large numbers, about 0 for negative ones.",
  softmax: "e to the power of each number, divided by the sum of them all: positive shares that sum to 1.",
  SwiGLU: "This kind of feed-forward: a gate, let through silu, times an amount.",
  temperature: "Logits are divided by it. Below 1 the likeliest get likelier; at 0 the best one always wins.",
  token: "A piece of text with a number: often a word with the space before it.",
  weight: "A number that training has found. Weights do not change while the model generates.",
};

const PATTERN = new RegExp(
  `\\b(${Object.keys(NOTES)
    .sort((a, b) => b.length - a.length)
    .join("|")})s?\\b`,
  "i",
);
/** The note of a word in any form: "Softmax", "heads". */
const noteOf = (word: string): string =>
  [word, word.toLowerCase(), word.toLowerCase().replace(/s$/, "")].map((name) => NOTES[name]).find(Boolean) ?? "";

/** A text in which the first occurrence of each term opens its note. */
export function explained(text: string): (Node | string)[] {
  const parts: (Node | string)[] = [];
  const seen = new Set<string>();
  let rest = text;
  for (;;) {
    const found = PATTERN.exec(rest);
    if (!found) return [...parts, rest];
    const [term] = found;
    const note = noteOf(term);
    parts.push(rest.slice(0, found.index));
    parts.push(seen.has(note) ? term : el("button", { className: "term", textContent: term, ariaHasPopup: "dialog" }));
    seen.add(note);
    rest = rest.slice(found.index + term.length);
  }
}

export function listenToGlossary(): void {
  const note = $("note");
  document.addEventListener("click", ({ target }) => {
    if (!(target instanceof HTMLElement) || !target.matches(".term")) return;
    const term = target.textContent ?? "";
    note.replaceChildren(el("b", { textContent: term }), ` ${noteOf(term)}`);
    note.showPopover();
    const { left, bottom, top } = target.getBoundingClientRect();
    const [width, height] = [note.offsetWidth, note.offsetHeight];
    note.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
    note.style.top = `${bottom + height + 16 > innerHeight ? top - height - 6 : bottom + 6}px`;
  });
}
