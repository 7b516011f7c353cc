/*
 * llama2 quantize: from float32 to int8.
 */
import { statSync } from "node:fs";
import { quantize as quantizeFile } from "../quantize.ts";
import { endProgress, showProgress, tell } from "./io.ts";
import { withAdvice } from "./model.ts";

export interface QuantizeFlags {
  groupSize?: number;
}

/** Write the int8 model OUT from the float32 model IN, and print its size. */
export async function quantize(
  input: string,
  outPath: string,
  { groupSize }: QuantizeFlags,
  signal: AbortSignal,
): Promise<void> {
  const onProgress = (written: number, total: number) => {
    showProgress(`${outPath}: ${Math.floor((100 * written) / total)} %`);
  };
  try {
    let inPath = input;
    const header = await withAdvice(input, signal, (path = input) => {
      inPath = path;
      return quantizeFile(path, outPath, { groupSize, signal, onProgress });
    });
    endProgress();
    const mb = (path: string) => `${(statSync(path).size / 1e6).toFixed(1)} MB`;
    tell(`${outPath}: ${mb(outPath)} in groups of ${header.groupSize}, from ${mb(inPath)}`);
  } catch (error) {
    endProgress();
    throw error;
  }
}
