/*
 * Is it exact? The sum of the story's logits beside what run.c computed, and WebAssembly's keys, values and logits beside
 * the reference's.
 */
import pinned from "virtual:pinned";
import { fill, prepare } from "../src/backend/wasm/load.ts";
import { open } from "../src/checkpoint/open.ts";
import { filesOf } from "../src/files/bytes.ts";
import { kvDimOf } from "../src/llama2/transformer.ts";
import { diff } from "../src/trace/diff.ts";
import type { Stop } from "../src/trace/run.ts";
import { app, config } from "./app.ts";
import { $, breathe } from "./dom.ts";
import { sha256 } from "./session.ts";

/** The sha256 of the logits after each token of the story, as `llama2 logits` writes them. */
export async function hashOfLogits(): Promise<string> {
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

/** Compute the sum and show it. */
export async function checkHash(): Promise<void> {
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

/** Read the story with the WebAssembly backend and compare what both have at its last position. */
export async function checkWasm(): Promise<void> {
  const words = $("wasmWords");
  words.textContent = "reading …";
  const { story, session } = app;
  const response = await fetch("kernels.wasm");
  const module = await WebAssembly.compile(await response.arrayBuffer());
  const source = await open(filesOf(session.model.name, session.bytes));
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
  const { firstDivergent, stops: compared } = diff(stops, story.run.at(last).stops, 0);
  const most = Math.max(...compared.map(({ maxAbs }) => maxAbs));
  words.textContent = firstDivergent
    ? `They differ first at ${firstDivergent}, by up to ${most}.`
    : `The same, bit for bit: keys, values and logits of position ${last}, ${compared.length} stops that both have. In between, WebAssembly fuses lines and has no values to compare.`;
}
