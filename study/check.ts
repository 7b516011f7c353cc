/*
 * Checks exactness: compares the hash of the story's logits with run.c's, and WebAssembly's keys, values and logits with
 * the reference's.
 */
import pinned from "virtual:pinned";
import { fill, prepare } from "../src/backend/wasm/load.ts";
import { open } from "../src/checkpoint/open.ts";
import { Llama2Error } from "../src/errors.ts";
import { kvDimOf } from "../src/llama2/transformer.ts";
import { diff } from "../src/trace/diff.ts";
import type { TraceFile } from "../src/trace/readTrace.ts";
import type { Stop } from "../src/trace/run.ts";
import { nameOf, shapeOf } from "../src/trace/stops.ts";
import { app, config, go } from "./app.ts";
import { $, breathe, el } from "./dom.ts";
import { sha256 } from "./session.ts";

/** The sha256 of the logits after each token of the story, as `llama2 logits` writes them. */
async function hashOfLogits(): Promise<string> {
  const { model } = app.session;
  const { tokens } = app.story.run;
  const { vocabSize } = config();
  const rows = new Float32Array(tokens.length * vocabSize);
  const run = model.run([]);
  let since = performance.now();
  for (const [pos, token] of tokens.entries()) {
    run.read(token);
    rows.set(run.logits, pos * vocabSize);
    if (performance.now() - since < 12) continue;
    await breathe();
    since = performance.now();
  }
  return sha256(rows);
}

/** Compute the hash and show it. */
async function checkHash(): Promise<void> {
  const { story } = app;
  $("hash").textContent = "computing …";
  const hash = await hashOfLogits();
  if (story !== app.story) return;
  const isPinned = pinned.includes(hash);
  $("hash").textContent =
    hash || "This page has no secure context (https, or this machine), so its browser does not hash.";
  $("hashWords").textContent = isPinned
    ? "run.c computed the same for this run: every logit, to the last bit."
    : "To compare with another machine or backend, run the command below and sum its bytes with sha256sum.";
  $("hashCommand").textContent =
    `llama2 logits ${app.session.model.name}.bin --tokens "${story.run.tokens.join(" ")}" | sha256sum`;
  $("hashBadge").hidden = !isPinned;
}

/** Read the story with the WebAssembly backend, and compare the stops that both have at its last position. */
async function checkWasm(): Promise<void> {
  const words = $("wasmWords");
  words.textContent = "reading …";
  const { story, session } = app;
  const response = await fetch("kernels.wasm");
  const module = await WebAssembly.compile(await response.arrayBuffer());
  const source = await open(session.files);
  const loaded = await fill(prepare(module, source, config().seqLen, 1, 0), source, config().seqLen);
  const context = loaded.openContext(1);
  const { tokens } = story.run;
  let logits: Float32Array = new Float32Array();
  for (const [pos, token] of tokens.entries()) logits = context.forward([{ token, pos, sequence: 0 }], 1);
  const last = tokens.length - 1;
  const kept = context.trace?.({ pos: last, sequence: 0 });
  const kvDim = kvDimOf(config());
  const stops: Stop[] = [];
  for (let layer = 0; layer < config().nLayers; layer++) {
    for (const [id, name, all] of [
      ["rope", "k", kept?.keys],
      ["v", "v", kept?.values],
    ] as const) {
      const values = all?.slice(layer * kvDim, (layer + 1) * kvDim) ?? new Float32Array();
      stops.push({ id, layer, tensors: [{ name, shape: [kvDim], values }] });
    }
  }
  stops.push({
    id: "logits",
    layer: -1,
    tensors: [{ name: "logits", shape: [logits.length], values: logits.slice() }],
  });
  context.dispose();
  loaded.dispose();
  if (story !== app.story) return;
  words.textContent = showDiff("WebAssembly", story.run.at(last).stops, stops, last);
}

/** Compare a dropped trace, of any backend, with this page's run of the same tokens. */
export async function compareTrace({ model, backend, tokens, position, stops }: TraceFile): Promise<void> {
  go({ view: "compare" });
  const words = $("traceWords");
  words.textContent = "reading …";
  await breathe();
  const { nLayers, vocabSize, seqLen } = config();
  const isOf = (stop: Stop) =>
    stop.layer < nLayers &&
    stop.tensors.every(({ name, values }) => size(shapeOf(name, config(), position)) === values.length);
  const read = tokens.slice(0, position + 1);
  if (read.length > seqLen || read.some((token) => token >= vocabSize) || !stops.every(isOf)) {
    words.textContent = "";
    throw new Llama2Error("E_FORMAT", `the trace is of ${model}, another shape than ${app.session.model.name}`);
  }
  const run = app.session.model.run(read);
  words.textContent = `${model} on ${backend}. ${showDiff(backend, run.at(position).stops, stops, position)}`;
}

const size = (shape: number[]) => shape.reduce((a, b) => a * b, 1);

/** Fill the table of differences, and return its summary. */
function showDiff(name: string, mine: Stop[], others: Stop[], position: number): string {
  const { firstDivergent, stops } = diff(mine, others, 0);
  const rows = stops.map((stop) => {
    const row = el(
      "tr",
      {},
      el("th", { textContent: nameOf(stop), scope: "row" }),
      ...[small(stop.maxAbs), `${stop.maxUlp}`, small(stop.scale)].map((textContent) => el("td", { textContent })),
    );
    row.classList.toggle("lit", nameOf(stop) === firstDivergent);
    return row;
  });
  const heads = ["stop", "max abs", "max ulp", "largest value"].map((textContent) =>
    el("th", { textContent, scope: "col" }),
  );
  $("diffTable").replaceChildren(el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows));
  $("diffTitle").textContent = `The page's TypeScript beside ${name}, position ${position}`;
  $("diffBox").hidden = false;
  const most = Math.max(...stops.map(({ maxAbs }) => maxAbs));
  const fused =
    mine.length > stops.length ? ` The other ${mine.length - stops.length} it does not have: it fuses lines.` : "";
  return firstDivergent
    ? `They differ first at ${firstDivergent}, by up to ${small(most)} in ${stops.length} stops that both have.${fused}`
    : `The same, bit for bit, at all ${stops.length} stops that both have.${fused}`;
}

const small = (value: number): string => (value === 0 ? "0" : value.toPrecision(3));

/** Clear the results for the previous story. */
export function forgetChecks(): void {
  for (const id of ["hash", "hashWords", "hashCommand", "wasmWords", "traceWords"]) $(id).textContent = "";
  $("hashBadge").hidden = true;
  $("diffBox").hidden = true;
}

export function listenToChecks(): void {
  $("checkHash").onclick = () => void checkHash();
  $("checkWasm").onclick = () => void checkWasm();
}
