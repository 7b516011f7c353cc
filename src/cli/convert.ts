/*
 * llama2 convert, also called import: converts any model to a checkpoint of llama2.c or a Hugging Face folder.
 */
import { convert as convertModel, type Proof } from "../convert.ts";
import type { Target } from "../targets.ts";
import { endProgress, showProgress, tell } from "./io.ts";
import { withAdvice } from "./model.ts";

export interface ConvertFlags {
  to: Target;
  groupSize?: number;
  context?: number;
  normEps?: number;
  ropeTheta?: number;
  tokenizer?: string;
  prove?: boolean;
}

/** Write the model IN to OUT, and say what was written. */
export async function convert(input: string, output: string, flags: ConvertFlags, signal: AbortSignal): Promise<void> {
  const progress = (what: string) => {
    const start = performance.now();
    return (done: number, total: number) => {
      const seconds = ((performance.now() - start) / 1000) * (total / done - 1);
      showProgress(`${what}: ${Math.floor((100 * done) / total)} %, ${Math.ceil(seconds)} s left`);
    };
  };
  let onProof: ReturnType<typeof progress> | undefined;
  const options = {
    ...flags,
    signal,
    onProgress: progress(output),
    onProof: (done: number, total: number) => {
      onProof ??= progress("the proof");
      onProof(done, total);
    },
  };
  try {
    const { tokenizer, notes, proof } = await withAdvice(input, signal, (path = input) =>
      convertModel(path, output, options),
    );
    endProgress();
    tell(`${output}: ${flags.to} of ${input}${tokenizer ? `, with ${tokenizer}` : ""}`);
    if (proof) tell(proofText(proof, flags.to));
    for (const note of notes) tell(note);
  } catch (error) {
    endProgress();
    throw error;
  }
}

/** The result of the proof: how far the logits are from the original's. */
function proofText({ error, rounding, tokens }: Proof, to: Target): string {
  const found = `largest relative error ${error.toExponential(1)}, on the tokens ${tokens.join(", ")}`;
  if (rounding === undefined) return `proved against the original tensors: ${found}`;
  return `proved against the original tensors rounded as ${to} has them: ${found}. The rounding itself moves the logits by ${rounding.toExponential(1)}`;
}
