/*
 * The screen Compare: the story beside another run that has a part switched off, or another token; and this forward pass
 * beside WebAssembly's and run.c's.
 */
import { BOS } from "../src/llama2/tokenizer.ts";
import { diff } from "../src/trace/diff.ts";
import { divergence } from "../src/trace/lens.ts";
import { app, config, go, logitsAt, look, number, percent, ranked, said, softmax } from "./app.ts";
import { $, el } from "./dom.ts";
import { firstDifference, type Story } from "./session.ts";
import { state } from "./state.ts";

const offParts = (): string[] => state.off.split(",").filter((part) => part !== "");

export function drawCompare(): void {
  drawParts();
  drawForks();
  drawTexts();
}

function toggle(part: string): void {
  const parts = offParts();
  go({ off: (parts.includes(part) ? parts.filter((each) => each !== part) : [...parts, part]).join(",") });
}

/** A switch for each head and each half of a layer. */
function drawParts(): void {
  const { nLayers, nHeads } = config();
  const parts = offParts();
  const button = (part: string, label: string, layer: number) => {
    const made = el("button", { textContent: label, ariaPressed: `${parts.includes(part)}` });
    made.ariaLabel = `Switch off ${/H/.test(part) ? "head " : ""}${label} of layer ${layer}`;
    made.onclick = () => toggle(part);
    return made;
  };
  const rows = Array.from({ length: nLayers }, (_, l) =>
    el(
      "tr",
      {},
      el("th", { textContent: `layer ${l}`, scope: "row" }),
      ...Array.from({ length: nHeads }, (_, h) => el("td", {}, button(`L${l}.H${h}`, `${h}`, l))),
      el("td", {}, button(`L${l}.att`, "attention", l)),
      el("td", {}, button(`L${l}.ffn`, "feed-forward", l)),
    ),
  );
  $("parts").replaceChildren(el("tbody", {}, ...rows));
}

/** The likeliest tokens at the current position, each a way the story could have gone. */
function drawForks(): void {
  const { tokens } = app.story.run;
  const pos = state.pos;
  const actual = tokens[pos + 1];
  const [forkPos, forkToken] = state.fork.split(":").map(Number);
  $("forkWhere").textContent =
    `after ${said(tokens[pos])} at position ${pos}${actual === undefined ? "" : `, where the story has ${said(actual)}`}`;
  const logits = logitsAt(pos);
  const probs = softmax(logits);
  const choices = ranked(logits)
    .filter((token) => token !== actual && token !== BOS)
    .slice(0, 8);
  $("forks").replaceChildren(
    ...choices.map((token) => {
      const isOn = forkPos === pos + 1 && forkToken === token;
      const made = el(
        "button",
        { ariaPressed: `${isOn}` },
        look(token).trim() || "␣",
        " ",
        el("small", { textContent: percent(probs[token]) }),
      );
      made.onclick = () => go({ fork: isOn ? "" : `${pos + 1}:${token}` });
      return made;
    }),
  );
}

function drawTexts(): void {
  const { other, story } = app;
  $("noOther").hidden = other !== undefined;
  $("texts").hidden = other === undefined;
  $("clearOther").hidden = other === undefined;
  if (!other) {
    $("verdictOther").textContent = "";
    return;
  }
  const at = firstDifference(story.run, other.run);
  $("textStory").replaceChildren(...words(story, at));
  $("textOther").replaceChildren(...words(other, at));
  $("verdictOther").textContent = `${differenceWords(at, other)} ${stopWords(at, other)}`;
}

function words({ run, prompt }: Story, at: number): HTMLElement[] {
  return run.tokens.slice(1).map((token, i) => {
    const pos = i + 1;
    const piece = app.session.model.piece(token).replace("<0x0A>", "\n");
    const word = el("span", { textContent: i === 0 ? piece.trimStart() : piece });
    if (pos < prompt) word.className = "given";
    if (at >= 0 && pos > at) word.className = "apart";
    if (pos === at) word.className = "first";
    return word;
  });
}

function differenceWords(at: number, other: Story): string {
  const [a, b] = [app.story.run.tokens[at], other.run.tokens[at]];
  if (at < 0) return "Both tell the same tokens.";
  const word = (token: number | undefined) => (token === undefined ? "nothing more" : said(token));
  return `First different token: position ${at}, ${word(a)} in the story and ${word(b)} in the other run.`;
}

/** Where the numbers part, at the last position that both have read alike. */
function stopWords(at: number, other: Story): string {
  const last = at < 0 ? Math.min(app.story.run.tokens.length, other.run.tokens.length) - 1 : at - 1;
  if (last < 0) return "";
  const [a, b] = [app.story.run, other.run].map((run) => run.at(last).stops);
  const { firstDivergent } = diff(a, b, 0);
  if (!firstDivergent) return `Up to position ${last} all their numbers are the same.`;
  const kl = divergence(logitsAt(last), logitsAt(last, other));
  return `At position ${last} the first stop that differs is ${firstDivergent}; the probabilities are ${number(kl, 4)} nats apart (KL divergence).`;
}

export function listenToCompare(): void {
  $("clearOther").onclick = () => go({ off: "", fork: "" });
}
