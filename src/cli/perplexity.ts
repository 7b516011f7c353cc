/*
 * llama2 perplexity: how well a model foretells a text.
 */

import { encode } from "../encode.ts";
import { Llama2Error } from "../errors.ts";
import { bytesText } from "../files/bytes.ts";
import { MAX_TEXT_BYTES, readText, splitDocuments } from "../files/text.ts";
import type { Model } from "../model.ts";
import { TextStream, toByteString } from "../text.ts";
import { endProgress, print, showProgress } from "./io.ts";
import { openModel } from "./model.ts";
import type { MachineFlags } from "./options.ts";

export interface PerplexityFlags extends MachineFlags {
  tokenizer?: string;
  json?: boolean;
}

/** What is reported. A nat is 1.44 bits; characters are code points. */
interface Report {
  documents: number;
  documentsCut: number; // cut to the first seqLen + 1 tokens
  tokensScored: number; // all but each document's BOS
  characters: number;
  natsPerToken: number;
  bitsPerToken: number;
  natsPerCharacter: number;
  bitsPerCharacter: number;
  perplexity: number; // e^natsPerToken
}

export async function perplexity(
  path: string,
  file: string,
  flags: PerplexityFlags,
  signal: AbortSignal,
): Promise<void> {
  const documents = readDocuments(file);
  const model = await openModel(path, flags, flags.tokenizer, signal);
  try {
    const report = await measure(model, documents, signal);
    await print(flags.json ? `${JSON.stringify(report)}\n` : table(report));
  } finally {
    await model.dispose();
  }
}

async function measure(model: Model, documents: string[], signal: AbortSignal): Promise<Report> {
  const max = model.config.seqLen + 1;
  let documentsCut = 0;
  let tokensScored = 0;
  let characters = 0;
  let nats = 0;
  for (const [i, document] of documents.entries()) {
    showProgress(`document ${i + 1} of ${documents.length} `);
    const all = encode(model.tokenizer, document, true, false);
    const tokens = all.slice(0, max);
    if (all.length > max) documentsCut++;
    for (const logprob of await model.score(tokens, { signal })) nats -= logprob;
    tokensScored += tokens.length - 1;
    characters += countCharacters(model, tokens);
  }
  endProgress();
  const natsPerToken = nats / tokensScored;
  const natsPerCharacter = nats / characters;
  return {
    documents: documents.length,
    documentsCut,
    tokensScored,
    characters,
    natsPerToken,
    bitsPerToken: natsPerToken * Math.LOG2E,
    natsPerCharacter,
    bitsPerCharacter: natsPerCharacter * Math.LOG2E,
    perplexity: Math.exp(natsPerToken),
  };
}

/** More than a set of held-out text ever has. */
const MAX_FILE_BYTES = 1 << 28;

/**
 * The documents of a file, as byte strings.
 * @throws Llama2Error E_FILE, E_FORMAT if there are none, E_LIMIT
 */
function readDocuments(path: string): string[] {
  const documents = splitDocuments(toByteString(readText(path, MAX_FILE_BYTES)));
  if (documents.length === 0) throw new Llama2Error("E_FORMAT", `${path} has no text in it`);
  for (const [i, { length }] of documents.entries()) {
    if (length <= MAX_TEXT_BYTES) continue;
    throw new Llama2Error(
      "E_LIMIT",
      `document ${i + 1} of ${path} has ${bytesText(length)}, expected at most ${bytesText(MAX_TEXT_BYTES)}. A line <|end|> separates documents`,
    );
  }
  return documents;
}

function countCharacters(model: Model, [bos, ...scored]: number[]): number {
  const stream = new TextStream(model.tokenizer, bos);
  const text = scored.map((token) => stream.push(token)).join("") + stream.end();
  return [...text].length;
}

function table(r: Report): string {
  const cut = r.documentsCut > 0 ? `, ${r.documentsCut} of them cut at the context` : "";
  return `\
${r.documents} document${r.documents === 1 ? "" : "s"}${cut}: ${r.tokensScored} tokens scored, ${r.characters} characters
                nats     bits
per token     ${r.natsPerToken.toFixed(4)}   ${r.bitsPerToken.toFixed(4)}
per character ${r.natsPerCharacter.toFixed(4)}   ${r.bitsPerCharacter.toFixed(4)}
perplexity ${r.perplexity.toFixed(4)} a token
`;
}
