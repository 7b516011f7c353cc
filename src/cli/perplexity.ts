/*
 * llama2 perplexity: how well a model predicts a text.
 */
import { Llama2Error } from "../errors.ts";
import { bytesText } from "../files/bytes.ts";
import { MAX_TEXT_BYTES, readText, splitDocuments, withoutMark } from "../files/text.ts";
import { perplexity as measure, type PerplexityReport } from "../perplexity.ts";
import { toByteString } from "../text.ts";
import { endProgress, print, readStdin, STDIN, showProgress } from "./io.ts";
import { openModel } from "./model.ts";
import type { MachineFlags } from "./options.ts";

export interface PerplexityFlags extends MachineFlags {
  tokenizer?: string;
  json?: boolean;
}

export async function perplexity(
  path: string,
  file: string,
  flags: PerplexityFlags,
  signal: AbortSignal,
): Promise<void> {
  const documents = await readDocuments(file, signal);
  const model = await openModel(path, flags, flags.tokenizer, signal);
  try {
    const onDocument = (index: number, of: number) => showProgress(`document ${index + 1} of ${of} `);
    const report = await measure(model, documents, { signal, onDocument });
    endProgress();
    await print(flags.json ? `${JSON.stringify(report)}\n` : table(report));
  } finally {
    await model.dispose();
  }
}

/** More than any held-out text. */
const MAX_FILE_BYTES = 1 << 28;

/**
 * The documents of a file, or of standard input for `-`, as byte strings.
 * @throws Llama2Error E_FILE, E_FORMAT if there are none, E_LIMIT; the signal's reason
 */
export async function readDocuments(path: string, signal: AbortSignal): Promise<string[]> {
  const isPipe = path === "-";
  const name = isPipe ? STDIN : path;
  const bytes = isPipe ? withoutMark(await readStdin(signal, MAX_FILE_BYTES), name) : readText(path, MAX_FILE_BYTES);
  const documents = splitDocuments(toByteString(bytes));
  if (documents.length === 0) throw new Llama2Error("E_FORMAT", `${name} has no text in it`);
  for (const [i, { length }] of documents.entries()) {
    if (length <= MAX_TEXT_BYTES) continue;
    throw new Llama2Error(
      "E_LIMIT",
      `document ${i + 1} of ${name} has ${bytesText(length)}, expected at most ${bytesText(MAX_TEXT_BYTES)}. A line <|end|> separates documents`,
    );
  }
  return documents;
}

function table(r: PerplexityReport): string {
  const cut = r.documentsCut > 0 ? `, ${r.documentsCut} of them cut at the context` : "";
  return `\
${r.documents} document${r.documents === 1 ? "" : "s"}${cut}: ${r.tokensScored} tokens scored, ${r.characters} characters
                nats     bits
per token     ${r.natsPerToken.toFixed(4)}   ${r.bitsPerToken.toFixed(4)}
per character ${r.natsPerCharacter.toFixed(4)}   ${r.bitsPerCharacter.toFixed(4)}
perplexity ${r.perplexity.toFixed(4)} a token
`;
}
