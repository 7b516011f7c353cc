/*
 * llama2 verify: make a text again from its receipt, and compare.
 */
import { Llama2Error } from "../errors.ts";
import { readText } from "../files/text.ts";
import type { Model } from "../model.ts";
import { hashModel } from "../modelHash.ts";
import { knownModels } from "../models.ts";
import { type Difference, type Receipt, receiptsIn, verify as replay, type Verification } from "../receipt.ts";
import { print, readStdin, STDIN } from "./io.ts";
import { findModel, openModel } from "./model.ts";
import type { MachineFlags } from "./options.ts";

export interface VerifyFlags extends MachineFlags {
  json?: boolean;
}

/** A million tokens with the hash of each row. */
const MAX_BYTES = 1 << 28;

/**
 * Verify each receipt in a file, a line each.
 * @returns whether all are the same, bit for bit
 */
export async function verify(
  file: string,
  named: string | undefined,
  flags: VerifyFlags,
  signal: AbortSignal,
): Promise<boolean> {
  if (flags.backend === "cuda" || flags.precision === "fp16") {
    throw new Llama2Error("E_USAGE", "verify needs an exact backend: cpu, wasm or ts, in fp32 or int8");
  }
  const bytes = file === "-" ? await readStdin(signal) : readText(file, MAX_BYTES);
  const receipts = readReceipts(new TextDecoder().decode(bytes), file === "-" ? STDIN : file);
  let same = true;
  const models = new Map<string, Model>(); // by hash, precision and context
  try {
    for (const receipt of receipts) {
      const key = `${receipt.model} ${receipt.precision}`;
      const model = models.get(key) ?? (await modelOf(receipt, named, flags, signal));
      models.set(key, model);
      const result = await replay(receipt, model, { signal });
      same &&= result.same;
      await print(flags.json ? `${JSON.stringify(result)}\n` : `${inWords(result)}\n`);
    }
  } finally {
    for (const model of models.values()) await model.dispose();
  }
  return same;
}

/** @throws Llama2Error E_FORMAT if there are none */
function readReceipts(text: string, name: string): Receipt[] {
  const values = parsed(text) ?? text.split("\n").flatMap((line) => parsed(line) ?? []);
  const receipts = receiptsIn(values);
  if (receipts.length > 0) return receipts;
  const how = "--json --receipt adds one to a story";
  throw new Llama2Error("E_FORMAT", `${name} has no receipt in it: ${how}`);
}

/** Parsed JSON in an array; undefined if it is not valid. */
function parsed(text: string): unknown[] | undefined {
  try {
    return [JSON.parse(text)];
  } catch {
    return undefined;
  }
}

/** The model of a receipt, loaded with its precision and context. */
async function modelOf(
  receipt: Receipt,
  named: string | undefined,
  flags: VerifyFlags,
  signal: AbortSignal,
): Promise<Model> {
  const path = await pathOf(receipt, named, signal);
  const precision = receipt.precision === "int8" ? ("int8" as const) : undefined;
  const open = (backend: MachineFlags["backend"]) =>
    openModel(path, { ...flags, backend, precision, context: undefined }, null, signal);
  return flags.backend === "auto" ? exact(open) : open(flags.backend);
}

/** The path of the model with a receipt's hash: the named one, the bundled one, or a pulled one. */
async function pathOf(receipt: Receipt, named: string | undefined, signal: AbortSignal): Promise<string> {
  const paths = named === undefined ? (await knownModels()).map(({ path }) => path) : [await findModel(named, signal)];
  let hash = "";
  for (const path of paths) {
    ({ model: hash } = await hashModel(path, undefined, signal));
    if (hash === receipt.model) return path;
  }
  const what = named === undefined ? "none of those here is that one. Name it" : `${named} is another one: ${hash}`;
  throw new Llama2Error("E_FILE", `the receipt is of the model ${receipt.model}, and ${what}`);
}

/** Open a model on the fastest exact backend. */
async function exact(open: (backend: MachineFlags["backend"]) => Promise<Model>): Promise<Model> {
  try {
    return await open("cpu");
  } catch (error) {
    if (!(error instanceof Llama2Error) || error.code !== "E_DEVICE_UNAVAILABLE") throw error;
    return open("wasm");
  }
}

function inWords({ same, tokens, firstDifference }: Verification): string {
  if (same || !firstDifference) return `the same, bit for bit: ${tokens} tokens`;
  const { position, what, expected, got } = firstDifference as Difference;
  const said = (value: string | number | null) => (value === null ? "none" : `${value}`);
  return `differs at position ${position}: ${what} ${said(expected)} in the receipt, ${said(got)} here`;
}
