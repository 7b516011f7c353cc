/*
 * Against PyTorch itself: test/fixtures/torch/make.py wrote these files with torch.save, and computed the logits from
 * the original tensors in float64.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { openHuggingFace, openMeta, openTraining } from "../../../src/checkpoint/foreign.ts";
import type { WeightSource } from "../../../src/llama2/weights.ts";
import { logitsOf } from "../../helpers/formats/same.ts";
import { memoryFile } from "../../helpers/formats/source.ts";

const FOLDER = join(import.meta.dirname, "../../fixtures/torch");
const expected: { tokens: number[]; logits: Record<string, number[][]> } = JSON.parse(
  readFileSync(join(FOLDER, "logits.json"), "utf8"),
);

async function open(name: string): Promise<WeightSource> {
  const path = join(FOLDER, name);
  if (name.endsWith(".pt")) return (await openTraining(memoryFile(readFileSync(path), name))).weights();
  const names = readdirSync(path);
  const read = async (file: string) => memoryFile(readFileSync(join(path, file)), file);
  const files = { name, list: async () => names, open: read };
  const opener = existsSync(join(path, "params.json")) ? openMeta : openHuggingFace;
  return (await opener(files, names, read)).weights();
}

it.each(Object.keys(expected.logits))("%s gives PyTorch's logits", async (name) => {
  const found = await logitsOf(await open(name), expected.tokens);
  found.forEach((logits, pos) => {
    const right = expected.logits[name][pos];
    const largest = Math.max(...right.map(Math.abs));
    const error = Math.max(...right.map((value, i) => Math.abs(value - logits[i]))) / largest;
    expect(error).toBeLessThan(1e-5);
  });
});

it("the two names of the embedding in a training checkpoint are one tensor", async () => {
  expect((await open("training.pt")).sharedClassifier).toBe(true);
  expect((await open("meta-fp16")).sharedClassifier).toBe(false);
});
