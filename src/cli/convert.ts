/*
 * llama2 convert, also called import: from any model to a checkpoint of llama2.c or a Hugging Face folder.
 */

import { convert as convertModel } from "../convert.ts";
import type { Target } from "../targets.ts";
import { endProgress, showProgress, tell } from "./io.ts";

export interface ConvertFlags {
  to: Target;
  groupSize?: number;
  context?: number;
  normEps?: number;
  ropeTheta?: number;
  tokenizer?: string;
}

/** Write the model IN to OUT, and tell what was written. */
export async function convert(input: string, output: string, flags: ConvertFlags, signal: AbortSignal): Promise<void> {
  const start = performance.now();
  const onProgress = (written: number, total: number) => {
    const seconds = ((performance.now() - start) / 1000) * (total / written - 1);
    showProgress(`${output}: ${Math.floor((100 * written) / total)} %, ${Math.ceil(seconds)} s left`);
  };
  try {
    const { tokenizer, notes } = await convertModel(input, output, { ...flags, signal, onProgress });
    endProgress();
    tell(`${output}: ${flags.to} of ${input}${tokenizer ? `, with ${tokenizer}` : ""}`);
    for (const note of notes) tell(note);
  } catch (error) {
    endProgress();
    throw error;
  }
}
