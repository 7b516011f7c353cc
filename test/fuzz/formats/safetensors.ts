/*
 * Hugging Face's folders with weights in safetensors.
 */
import { openHuggingFace } from "../../../src/checkpoint/foreign.ts";
import { huggingFaceConfig, huggingFaceTensors, seededModel } from "../../helpers/formats/model.ts";
import { encodeNumbers, type TensorToWrite } from "../../helpers/formats/numbers.ts";
import { memoryFiles } from "../../helpers/formats/source.ts";
import { damaged, joined } from "../bytes.ts";
import type { Input, Target } from "../fuzz.ts";
import { changedTree, type Json, jsonBytes, treeOf } from "../json.ts";
import { readWeights } from "./reading.ts";
import { FEW, TINY } from "./sizes.ts";

export const huggingFace = seededModel(TINY, "hf", "F16", { norms: "F32" });
const tensors = huggingFaceTensors(huggingFace);

/** The header and the numbers of a file with these tensors. */
function parts(some: readonly TensorToWrite[]): { header: Json; data: Uint8Array } {
  const numbers = some.map(({ type, values }) => encodeNumbers(type, values));
  let at = 0;
  const entries = some.map(({ name, type, shape }, i) => {
    const from = at;
    at += numbers[i].length;
    return [name, { dtype: type, shape, data_offsets: [from, at] }];
  });
  const header = treeOf({ __metadata__: { format: "pt" }, ...Object.fromEntries(entries) });
  return { header, data: joined(...numbers) };
}
const all = parts(tensors);
const few = parts(tensors.slice(0, FEW));

function safetensorsFile(json: Uint8Array, data: Uint8Array, said = json.length): Uint8Array {
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt.asUintN(64, BigInt(said)), true);
  return joined(length, json, data);
}
/** A good file of the tensors from `first` to before `end`. */
export function safetensorsOf(first?: number, end?: number): Uint8Array {
  const { header, data } = parts(tensors.slice(first, end));
  return safetensorsFile(jsonBytes(header), data);
}
export const tensorNames = tensors.map(({ name }) => name);
export const configBytes = Buffer.from(huggingFaceConfig(huggingFace));

export const safetensors: Target = {
  name: "safetensors",
  files: ["checkpoint/safetensors", "checkpoint/json", "checkpoint/storedWeights"],
  make(dice) {
    const { header, data } = dice.chance(0.8) ? few : all;
    const json = jsonBytes(dice.chance(0.85) ? changedTree(header, dice) : header);
    const file = safetensorsFile(json, data, dice.chance(0.05) ? dice.whole() : undefined);
    return { "config.json": configBytes, "model.safetensors": damaged(file, dice, 0.15) };
  },
  read: readHuggingFace,
};

export async function readHuggingFace(input: Input): Promise<void> {
  const files = memoryFiles(input);
  const model = await openHuggingFace(files, Object.keys(input), (name) => files.open(name));
  await readWeights(model.weights());
}
