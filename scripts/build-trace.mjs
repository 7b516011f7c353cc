/*
 * Generates src/trace/forward.ts: the reference's forward with a stop after each line of interest. Every line of
 * src/llama2/transformer.ts is kept; only lines that begin with `stop(` are added. So the line that a trace shows is the
 * line that ran.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isMain, root } from "./fingerprint.mjs";

export const SOURCE = join(root, "src", "llama2", "transformer.ts");
export const TRACED = join(root, "src", "trace", "forward.ts");

/**
 * For each stop, in order: the line that it shows, how many enclosing blocks must end before its values are complete, and
 * the arguments of `stop`.
 */
const STOPS = [
  ["embed", "copyRow(x, w.tokenEmbeddingTable, token);", 0, "-1, -1, x"],
  ["norm1", "rmsnorm(s.xb, x, w.rmsAttWeight[l], p.normEps);", 0, "l, -1, s.xb"],
  ["q", "matmul(s.q, s.xb, w.wq[l]);", 0, "l, -1, s.q"],
  ["k", "matmul(s.k, s.xb, w.wk[l]);", 0, "l, -1, s.k"],
  ["v", "matmul(s.v, s.xb, w.wv[l]);", 0, "l, -1, s.v"],
  ["rope", "vec[i] = f32(v0 * fcr) - f32(v1 * fci);", 2, "l, -1, s.q, s.k"],
  ["scores", "att[t] = score / f32(Math.sqrt(headSize));", 1, "l, h, att"],
  ["probs", "softmax(att, pos + 1);", 0, "l, h, att"],
  ["mix", "xb[i] += f32(a * s.valueCache[v + i]);", 3, "l, -1, s.xb"],
  ["proj", "matmul(s.xb2, s.xb, w.wo[l]);", 0, "l, -1, s.xb2"],
  ["res1", "x[i] += s.xb2[i];", 1, "l, -1, x"],
  ["norm2", "rmsnorm(s.xb, x, w.rmsFfnWeight[l], p.normEps);", 0, "l, -1, s.xb"],
  ["gate", "matmul(s.hb, s.xb, w.w1[l]);", 0, "l, -1, s.hb"],
  ["up", "matmul(s.hb2, s.xb, w.w3[l]);", 0, "l, -1, s.hb2"],
  ["act", "s.hb[i] = val * s.hb2[i];", 1, "l, -1, s.hb"],
  ["down", "matmul(s.xb, s.hb, w.w2[l]);", 0, "l, -1, s.xb"],
  ["res2", "x[i] += s.xb[i];", 1, "l, -1, x"],
  ["normOut", "rmsnorm(x, x, w.rmsFinalWeight, p.normEps);", 0, "-1, -1, x"],
  ["logits", "matmul(s.logits, x, w.wcls);", 0, "-1, -1, s.logits"],
];

const indentOf = (line) => /^ */.exec(line)[0].length;

/** The text of forward.ts, made from that of transformer.ts. */
export function trace(source) {
  const lines = source.split("\n");
  const begin = lines.findIndex((line) => line.startsWith("export function forward("));
  const end = lines.indexOf("}", begin);
  if (begin < 0 || end < 0) throw new Error("transformer.ts has no forward");
  const after = new Map(); // the lines to add, by the index of the line that they follow
  const shown = [];
  for (const [id, text, blocks, values] of STOPS) {
    const found = [];
    for (let i = begin; i < end; i++) if (lines[i].trim() === text) found.push(i);
    if (found.length !== 1) throw new Error(`transformer.ts has ${found.length} lines "${text}", expected one`);
    let at = found[0];
    shown.push(`  ${id}: { line: ${at + 1}, text: ${JSON.stringify(text)} },`);
    for (let b = 0; b < blocks; b++) at = closing(lines, at, end);
    const indent = " ".repeat(indentOf(lines[at]));
    after.set(at, `${indent}stop("${id}", ${values});`);
  }
  const body = [];
  for (let i = begin + 1; i <= end; i++) body.push(lines[i], ...(after.has(i) ? [after.get(i)] : []));
  const signature = lines[begin].replace("forward(", "tracedForward(stop: OnStop, ");
  const names = /** @type {string[]} */ (
    [...source.matchAll(/^export (?:function|const) (\w+)/gm)].map(([, name]) => name)
  );
  const used = (all) =>
    all.filter((name) => name !== "forward" && body.some((line) => new RegExp(`\\b${name}\\(`).test(line)));
  const fromMath = /import \{ (.*) \} from "\.\/math\.ts"/.exec(source)[1].split(", ");
  return `${HEADER}
import { ${used(fromMath).join(", ")} } from "../llama2/math.ts";
import {
${[...used(names), "type Transformer"]
  .sort(byName)
  .map((name) => `  ${name},\n`)
  .join("")}} from "../llama2/transformer.ts";
import type { StopId } from "./stops.ts";

${INTERFACE}
/** The line of src/llama2/transformer.ts that each stop shows. */
export const LINES: Record<StopId, { line: number; text: string }> = {
${shown.join("\n")}
};

/** \`forward\` of transformer.ts, line by line, with its stops. The same bits. */
${wrapped(signature)}
${body.join("\n")}
`;
}

/** The end of the block around line `at`. */
function closing(lines, at, end) {
  const indent = indentOf(lines[at]);
  for (let i = at + 1; i < end; i++) if (lines[i].trim() !== "" && indentOf(lines[i]) < indent) return i;
  throw new Error(`line ${at + 1} of transformer.ts is in no block`);
}

const byName = (a, b) => a.replace("type ", "").localeCompare(b.replace("type ", ""), "en", { sensitivity: "base" });

/** Breaks a signature of more than 120 columns as the formatter does. */
function wrapped(signature) {
  const [, name, parameters, rest] = /^(.*?\()(.*)(\): .*)$/.exec(signature);
  return signature.length <= 120
    ? signature
    : `${name}\n${parameters
        .split(", ")
        .map((each) => `  ${each},\n`)
        .join("")}${rest}`;
}

const HEADER = `/*
 * Generated from src/llama2/transformer.ts by scripts/build-trace.mjs: \`npm run build\` rewrites it. Do not edit.
 *
 * It has every line of forward, unchanged. Only the lines that begin with \`stop(\` are added.
 */`;

const INTERFACE = `/**
 * Called after a line of interest, when all values that it writes are complete. \`values\` are the arrays that forward
 * itself uses. In attention it is called for each head, with that head's row.
 */
export type OnStop = (id: StopId, layer: number, head: number, ...values: Float32Array[]) => void;
`;

/** Write forward.ts, unless it is up to date. */
export function buildTrace() {
  const text = trace(readFileSync(SOURCE, "utf8"));
  if (readFileSync(TRACED, "utf8") !== text) writeFileSync(TRACED, text);
}

if (isMain(import.meta.url)) buildTrace();
