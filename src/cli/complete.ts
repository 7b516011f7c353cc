/*
 * llama2 complete: many prompts at once, as Meta's text_completion does them.
 */
import { readText, withoutMark } from "../files/text.ts";
import { completions } from "../meta.ts";
import { readPrompts } from "../prompts.ts";
import { endProgress, print, readStdin, STDIN, showProgress, TextOutput, tell } from "./io.ts";
import { openModel } from "./model.ts";
import type { MachineFlags } from "./options.ts";
import { SEPARATOR } from "./stories.ts";
import { tokenJson } from "./tokenTable.ts";

export interface CompleteFlags extends MachineFlags {
  prompts: string;
  temperature: number;
  topP: number;
  seed: bigint;
  maxTokens?: number;
  stop?: string[];
  logprobs?: boolean;
  echo?: boolean;
  json?: boolean;
  tokenizer?: string;
}

/** 256 MiB of prompts. */
const MAX_BYTES = 1 << 28;

export async function complete(path: string | undefined, flags: CompleteFlags, signal: AbortSignal): Promise<void> {
  const isPipe = flags.prompts === "-";
  const name = isPipe ? STDIN : flags.prompts;
  const bytes = isPipe ? withoutMark(await readStdin(signal), STDIN) : readText(flags.prompts, MAX_BYTES);
  const prompts = readPrompts(bytes, name);
  const model = await openModel(path, flags, flags.tokenizer, signal);
  try {
    const tokens = prompts.map((prompt) => model.encodePrompt(prompt));
    const { temperature, topP, seed, maxTokens, stop = [], logprobs, echo } = flags;
    const options = { temperature, topP, seed, maxGenLen: maxTokens, stop, bosEnds: true, logprobs, echo, signal };
    let done = 0;
    for await (const completion of completions(model, tokens, options)) {
      const { index, text, logprobs, finishReason, seed } = completion;
      if (done === 0 && flags.seed === 0n) tell(`seed: ${seed}`);
      if (flags.json) {
        const reported = logprobs?.map((token) => tokenJson(model.tokenizer, token));
        const prompt = prompts[index];
        const line = {
          index,
          prompt,
          text,
          tokens: completion.tokens,
          finishReason,
          seed: `${seed}`,
          logprobs: reported,
        };
        await print(`${JSON.stringify(line)}\n`);
      } else {
        await new TextOutput().end(`${index > 0 ? SEPARATOR : ""}${text}\n`);
      }
      if (!process.stdout.isTTY) showProgress(`${++done} of ${prompts.length} prompts `);
      else done++;
    }
  } finally {
    endProgress();
    await model.dispose();
  }
}
