/*
 * Checks group sizes.
 */
import { Llama2Error } from "../errors.ts";
import { isVector, tensorsOf, type WeightSource } from "../llama2/weights.ts";
import { MAX_GROUP_SIZE } from "./llama2c/header.ts";

/** @throws Llama2Error E_USAGE for a group size that is out of range or does not divide every matrix */
export function checkGroupSize(
  groupSize: number,
  source: Pick<WeightSource, "config" | "sharedClassifier">,
  path: string,
): void {
  if (!Number.isInteger(groupSize) || groupSize < 1 || groupSize > MAX_GROUP_SIZE) {
    throw new Llama2Error(
      "E_USAGE",
      `the group size is ${groupSize}, expected a whole number from 1 to ${MAX_GROUP_SIZE}`,
    );
  }
  for (const { name, d, n } of tensorsOf(source)) {
    if (!isVector(name) && (d * n) % groupSize !== 0) {
      throw new Llama2Error(
        "E_USAGE",
        `groups of ${groupSize} do not divide the ${d * n} numbers of ${name} in ${path}`,
      );
    }
  }
}
