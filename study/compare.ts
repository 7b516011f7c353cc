/*
 * The screen Compare: the story beside another run with changes, such as a part switched off or another token; and this
 * forward pass compared with WebAssembly's and run.c's.
 */

import { Llama2Error } from "../src/errors.ts";
import { BOS } from "../src/llama2/tokenizer.ts";
import { diff } from "../src/trace/diff.ts";
import { divergence } from "../src/trace/lens.ts";
import { weightNamed } from "../src/trace/patch.ts";
import { nameOf } from "../src/trace/stops.ts";
import { app, config, exactly, go, here, logitsAt, look, number, percent, ranked, said, softmax } from "./app.ts";
import { $, el } from "./dom.ts";
import { NO_OTHER, offParts, patchOf, weightOf } from "./other.ts";
import { firstDifference, type Story } from "./session.ts";
import { state } from "./state.ts";

export function drawCompare(): void {
  drawParts();
  drawForks();
  drawWeight();
  drawPatch();
  for (const name of ["temp2", "seed2"] as const) {
    const input = $<HTMLInputElement>(name);
    if (document.activeElement !== input) input.value = state[name] > 0 || state.temp2 === 0 ? `${state[name]}` : "";
  }
  drawTexts();
}

/** The changed weight, and its value in the model. */
function drawWeight(): void {
  const changed = weightOf(state.weight);
  const [name, value] = [$<HTMLInputElement>("weightName"), $<HTMLInputElement>("weightValue")];
  if (changed && document.activeElement !== name && document.activeElement !== value) {
    name.value = changed.name;
    value.value = `${changed.value}`;
  }
  $("weightWords").textContent = changed
    ? `It is changed to ${changed.value} in the other run.`
    : wordsOfWeight(name.value);
}

function wordsOfWeight(name: string): string {
  if (name === "") return "In Step, choose a number: each weight of its sum leads here.";
  try {
    return `It is ${exactly(weightNamed(app.session.model.weights, name))} in the model.`;
  } catch (error) {
    if (!(error instanceof Llama2Error)) throw error;
    return error.message;
  }
}

/** Fill in the form for a weight; called from the sum that has it. */
export function changeWeight(name: string): void {
  go({ view: "compare" });
  const value = $<HTMLInputElement>("weightValue");
  $<HTMLInputElement>("weightName").value = name;
  value.value = `${weightNamed(app.session.model.weights, name)}`;
  $("weightWords").textContent = wordsOfWeight(name);
  value.scrollIntoView({ block: "center" });
  value.focus();
  value.select();
}

/** Where an activation is taken from, and where it goes: to the current stop and position. */
function drawPatch(): void {
  const source = $<HTMLInputElement>("pasteFrom");
  if (document.activeElement !== source) source.value = state.source;
  const { model } = app.session;
  const tokens = model.encode(state.source).slice(0, model.config.seqLen);
  const select = $<HTMLSelectElement>("from");
  const pasted = patchOf(state.patch);
  const from =
    pasted?.from ?? Math.min(select.selectedIndex < 0 ? tokens.length - 1 : select.selectedIndex, tokens.length - 1);
  const labels = tokens.map((token, pos) => `${pos} ${look(token).trim() || "␣"}`);
  if (labels.join("\n") !== Array.from(select.options, ({ text }) => text).join("\n")) {
    select.replaceChildren(...labels.map((textContent) => el("option", { textContent })));
  }
  select.selectedIndex = from;
  const place = pasted
    ? `${pasted.stop} of position ${pasted.pos}`
    : `${nameOf(here())} of ${said(app.story.run.tokens[state.pos])}, position ${state.pos}`;
  const fits = here().id !== "scores" && here().id !== "probs";
  $("patchWhere").textContent =
    pasted || fits ? `into ${place}` : `${nameOf(here())} does not fit another position: choose another stop below`;
  $<HTMLButtonElement>("paste").disabled = !pasted && !fits;
  $("paste").textContent = pasted ? "Take it out" : "Paste";
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

/** The likeliest tokens at the current position, from each of which the story can be forked. */
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
  if (at < 0) return "Both have the same tokens.";
  const word = (token: number | undefined) => (token === undefined ? "nothing more" : said(token));
  return `First different token: position ${at}, ${word(a)} in the story and ${word(b)} in the other run.`;
}

/** The first stop that differs, at the last position up to which both runs have the same tokens. */
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
  $("clearOther").onclick = () => go(NO_OTHER);
  const value = (id: string) => $<HTMLInputElement>(id).value.trim();
  $("weightForm").onsubmit = (event) => {
    event.preventDefault();
    go({ weight: `${value("weightName")}=${value("weightValue").replace("−", "-")}` });
  };
  $("weightName").oninput = () => {
    $("weightWords").textContent = wordsOfWeight(value("weightName"));
  };
  $("pasteFrom").onchange = () => go({ source: value("pasteFrom"), patch: "" });
  $("patchForm").onsubmit = (event) => {
    event.preventDefault();
    const from = $<HTMLSelectElement>("from").selectedIndex;
    go({ source: value("pasteFrom"), patch: state.patch ? "" : `${nameOf(here())}@${state.pos}<${from}` });
  };
  $("settingsForm").onsubmit = (event) => event.preventDefault();
  $("settingsForm").onchange = () => {
    const [temp, seed] = [value("temp2"), value("seed2")];
    go({
      temp2: temp === "" || !Number.isFinite(Number(temp)) ? -1 : Math.max(0, Math.min(5, Number(temp))),
      seed2: Math.max(0, Math.min(2 ** 31 - 1, Math.floor(Number(seed)) || 0)),
    });
  };
}
