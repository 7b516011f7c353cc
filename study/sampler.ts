/*
 * The screen Sampler: from logits to the next token. Temperature, softmax and nucleus are computed with the functions of
 * src/llama2/, in float32, so the token that is chosen here is the one that the run would choose.
 */
import { f32 } from "../src/llama2/math.ts";
import { sampleArgmax, sampleMult, sampleTopp } from "../src/llama2/sampler.ts";
import { softmax } from "../src/llama2/transformer.ts";
import { sharesOf } from "../src/trace/lens.ts";
import { app, config, go, logitsAt, look, number, percent, ranked, said, saidAt } from "./app.ts";
import { $, el } from "./dom.ts";
import { begin, colorOf, css, cssOf, inkOn, palette, text } from "./draw.ts";
import { state, toHash } from "./state.ts";

/** The values of the sliders; they start with the run's. */
export const bench = { temp: 0, topp: 0, coin: 0 };

/** Set the sliders from the address, or else to the run's settings and its coin for the token after this position. */
export function resetBench(kept = state.bench): void {
  state.bench = kept;
  const [temp, topp, coin] = kept.split(",").map(Number);
  const isKept = [temp, topp, coin].every((value) => value >= 0 && value <= 5);
  bench.temp = isKept ? temp : state.temp;
  bench.topp = isKept ? topp : state.topp;
  bench.coin = isKept ? coin : (app.story.coins[state.pos + 1] ?? 0.5);
}

interface Draw {
  probs: Float32Array;
  order: number[];
  /** How many of `order` the nucleus keeps. */
  kept: number;
  /** Their total probability. */
  total: number;
  token: number;
}

export function drawFrom(logits: Float32Array, { temp, topp, coin }: typeof bench): Draw {
  const { vocabSize } = config();
  const order = ranked(logits);
  if (temp === 0) {
    const token = sampleArgmax(logits, vocabSize);
    const probs = new Float32Array(vocabSize);
    probs[token] = 1;
    return { probs, order, kept: 1, total: 1, token };
  }
  const probs = logits.slice();
  for (let i = 0; i < vocabSize; i++) probs[i] /= f32(temp);
  softmax(probs, vocabSize);
  if (topp <= 0 || topp >= 1) {
    return { probs, order, kept: vocabSize, total: 1, token: sampleMult(probs, vocabSize, f32(coin)) };
  }
  let total = 0;
  let kept = 0;
  while (kept < vocabSize && total <= f32(topp)) total = f32(total + probs[order[kept++]]);
  const token = sampleTopp(probs, vocabSize, f32(topp), new Uint32Array(vocabSize), f32(coin));
  return { probs, order, kept, total, token };
}

export function drawSampler(): void {
  const logits = logitsAt(state.pos);
  const drawn = drawFrom(logits, bench);
  const next = app.story.run.tokens[state.pos + 1];
  $("sampWhere").textContent = `after ${saidAt(state.pos)} at position ${state.pos}`;
  for (const [name, digits] of [
    ["temp", 2],
    ["topp", 2],
    ["coin", 4],
  ] as const) {
    $<HTMLInputElement>(`${name}Range`).value = `${bench[name]}`;
    $(`${name}Out`).textContent = bench[name].toFixed(digits);
  }
  drawTable(logits, drawn);
  drawVocabulary(drawn);
  drawCoin(drawn);
  drawChoice(drawn, next);
  drawShares(drawn.token);
}

function drawTable(logits: Float32Array, { probs, order, kept, token }: Draw): void {
  const shown = order.slice(0, 14);
  const room = document.documentElement.clientWidth < 1080 ? 36 : 104;
  const most = Math.max(...shown.map((t) => Math.abs(logits[t]))) * Math.max(1, 1 / (bench.temp || 1));
  const bar = (value: number, max: number, className: string) => {
    const made = el("i", { className: `bar ${className}` });
    made.style.width = `${Math.max(1, (Math.abs(value) / max) * room)}px`;
    return made;
  };
  const signed = (value: number) => [bar(value, most, value < 0 ? "neg" : "pos"), number(value, 2)];
  const cell = (far: boolean, ...children: (Node | string)[]) => el("td", { className: far ? "far" : "" }, ...children);
  const heads: [string, string, boolean][] = [
    ["Token", `of ${config().vocabSize}`, false],
    ["Logit", "from the run", true],
    ["÷ temperature", bench.temp ? bench.temp.toFixed(2) : "0: the best wins", true],
    ["Softmax", "sums to 1", false],
    ["Running sum", bench.topp > 0 && bench.topp < 1 ? `cut beyond ${bench.topp.toFixed(2)}` : "top-p is off", false],
    ["Nucleus", `${kept} kept`, true],
  ];
  const head = heads.map(([name, what, far]) =>
    el("th", { className: far ? "far" : "", scope: "col" }, name, el("small", { textContent: what })),
  );
  let sum = 0;
  const rows = shown.map((t, i) => {
    sum = f32(sum + probs[t]);
    const row = el(
      "tr",
      {},
      cell(false, look(t)),
      cell(true, ...signed(logits[t])),
      cell(true, ...(bench.temp ? signed(f32(logits[t] / f32(bench.temp))) : ["–"])),
      cell(false, bar(probs[t], 1, ""), percent(probs[t])),
      cell(false, sum.toFixed(4)),
      cell(true, i < kept ? "kept" : "cut"),
    );
    row.classList.toggle("cut", i >= kept);
    row.classList.toggle("edge", i === kept);
    row.classList.toggle("lit", t === token);
    return row;
  });
  $("bench").replaceChildren(el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
}

/** All tokens by their probability, in tenfold steps, the likeliest first. */
function drawVocabulary({ probs, order, kept, token }: Draw): void {
  const canvas = $<HTMLCanvasElement>("vocabulary");
  const [c, w] = begin(canvas, 112);
  const left = 46;
  const [decades, height] = [8, 84];
  const cw = (w - left) / order.length;
  for (let decade = 0; decade <= decades; decade += 2) {
    const y = 4 + (decade / decades) * height;
    c.fillStyle = palette.line;
    c.fillRect(left, Math.round(y), w - left, 1);
    text(c, decade === 0 ? "1" : `10⁻${"⁰¹²³⁴⁵⁶⁷⁸"[decade]}`, left - 8, y + 1, { align: "right", size: 11 });
  }
  for (const [rank, t] of order.entries()) {
    const part = Math.max(0, 1 + Math.log10(Math.max(probs[t], 1e-30)) / decades);
    c.fillStyle = t === token ? palette.accent : rank < kept ? cssOf(0.6, 1, true) : palette.line;
    const width = t === token ? Math.max(3, cw) : Math.max(1, cw - (cw > 4 ? 1 : 0));
    c.fillRect(left + rank * cw, 4 + (1 - part) * height, width, part * height);
  }
  const cut = left + kept * cw;
  if (kept < order.length) {
    c.fillStyle = palette.accent;
    for (let y = 4; y < 4 + height; y += 6) c.fillRect(cut, y, 1.5, 3);
  }
  text(c, "1", left, 102, { size: 11 });
  text(c, `${order.length}`, w, 102, { size: 11, align: "right" });
  $("vocabularyWords").textContent = `likeliest first, in tenfold steps; ${kept} of ${order.length} are kept`;
  canvas.ariaLabel = `Probabilities of all ${order.length} tokens, of which ${kept} are kept`;
}

/** The probabilities side by side, and where the coin falls. */
function drawCoin({ probs, order, kept, total, token }: Draw): void {
  const canvas = $<HTMLCanvasElement>("coin");
  const [c, w] = begin(canvas, 76);
  const isPlain = kept === config().vocabSize;
  const walk = isPlain ? Array.from(probs.keys()) : order.slice(0, kept);
  let x = 0;
  for (const [i, t] of walk.entries()) {
    const width = (probs[t] / total) * w;
    if (width > 0.2) {
      const color = colorOf(i % 2 ? 0.12 : 0.3, 1, true);
      c.fillStyle = t === token ? palette.accent : css(color);
      c.fillRect(x, 24, Math.max(width - 1, 0.5), 32);
      const label = look(t).trim() || "␣";
      const style = { align: "center", size: 13, color: t === token ? palette.on : inkOn(color) } as const;
      if (width > 9 * label.length + 12) text(c, label, x + width / 2, 40, style);
    }
    x += width;
  }
  const at = (bench.temp ? bench.coin : 0.5) * w;
  c.fillStyle = palette.ink;
  c.beginPath();
  c.moveTo(at, 23);
  c.lineTo(at - 6, 12);
  c.lineTo(at + 6, 12);
  c.fill();
  c.fillRect(at - 0.75, 12, 1.5, 44);
  text(c, "0", 0, 66, { size: 11 });
  text(c, total.toFixed(4), w, 66, { size: 11, align: "right" });
  canvas.ariaLabel = `The coin at ${bench.coin.toFixed(4)} of the nucleus`;
  const order2 = isPlain ? " (without top-p they lie in the order of their ids)" : "";
  $("coinWords").textContent = bench.temp
    ? `${bench.coin.toFixed(4)} × ${total.toFixed(4)} = ${(bench.coin * total).toFixed(4)}: the token whose stretch holds it is chosen${order2}`
    : "at temperature 0 no coin is tossed";
}

function drawChoice({ probs, token, order, total, kept }: Draw, next: number | undefined): void {
  const isPrompt = state.pos + 1 < app.story.prompt;
  const share = `${percent(probs[token])}${kept < config().vocabSize ? ` before the cut, ${percent(probs[token] / total)} after` : ""}`;
  const rank = order.indexOf(token) + 1;
  const comparison =
    next === undefined
      ? "The story stops here."
      : isPrompt
        ? `The prompt goes on with ${said(next)}, whatever is chosen.`
        : next === token
          ? "It is what the story has."
          : `The story has ${said(next)}.`;
  const words = `  ${share}; ${rank === 1 ? "it is the likeliest" : `number ${rank} of the ranking`}. ${comparison}`;
  $("chosen").replaceChildren("Next token: ", el("b", { textContent: look(token) }), words);
  const fork = $<HTMLButtonElement>("forkHere");
  fork.hidden = state.pos + 1 >= config().seqLen || token === next;
  fork.textContent = `Fork the story with ${said(token)}`;
  fork.onclick = () => go({ view: "compare", fork: `${state.pos + 1}:${token}` });
}

/** Which parts of the model wrote the logit of a token. */
function drawShares(token: number): void {
  const { shares, logit, residue } = sharesOf(app.story.run, state.pos, token);
  const { nLayers, nHeads } = config();
  const most = Math.max(...shares.map(({ value }) => Math.abs(value)));
  const cell = (value: number, label: string) => {
    const color = colorOf(value, most);
    const made = el("td", { textContent: number(value, 2), title: label });
    made.style.background = css(color);
    made.style.color = inkOn(color);
    return made;
  };
  const head = ["", ...Array.from({ length: nHeads }, (_, h) => `head ${h}`), "feed-forward"];
  const rows = Array.from({ length: nLayers }, (_, layer) => {
    const own = shares.filter((share) => share.layer === layer);
    const name = el("th", { textContent: `layer ${layer}`, scope: "row" });
    return el("tr", {}, name, ...own.map(({ value, name }) => cell(value, name)));
  });
  const [embed] = shares;
  const heads = head.map((text) => el("th", { textContent: text, scope: "col" }));
  $("shares").replaceChildren(el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows));
  $("sharesFor").textContent = `of ${said(token)}, logit ${number(logit)}`;
  $("sharesWords").textContent =
    `The embedding itself gives ${number(embed.value, 2)}. All shares sum to the logit; float32's roundings leave ${residue.toExponential(1)}.`;
}

export function listenToSampler(): void {
  for (const name of ["temp", "topp", "coin"] as const) {
    $(`${name}Range`).oninput = () => {
      bench[name] = Number($<HTMLInputElement>(`${name}Range`).value);
      state.bench = [bench.temp, bench.topp, bench.coin].join();
      toHash();
      drawSampler();
    };
  }
  $("benchReset").onclick = () => {
    resetBench("");
    toHash();
    drawSampler();
  };
}
