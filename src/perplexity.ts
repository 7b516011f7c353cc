/*
 * How well a model predicts a text.
 */
import { checkFunction, checkOptions, checkSignal, checkThat } from "./check.ts";
import { encode } from "./encode.ts";
import type { Model } from "./model.ts";
import { TextStream } from "./text.ts";

/** What is reported. A nat is 1.44 bits; characters are code points. */
export interface PerplexityReport {
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

export interface PerplexityOptions {
  signal?: AbortSignal;
  /** Called before each document: its index, and how many there are. */
  onDocument?: (index: number, of: number) => void;
}

/**
 * Score every token of each document after BOS. A longer one is cut to the first seqLen + 1 tokens.
 * @param documents as byte strings: a character for each byte of their UTF-8
 * @throws Llama2Error E_USAGE, E_NUMERIC; the signal's reason
 */
export async function perplexity(
  model: Model,
  documents: readonly string[],
  options: PerplexityOptions = {},
): Promise<PerplexityReport> {
  checkThat("the model of perplexity", model, typeof (model as Partial<Model> | null)?.score === "function", "a Model");
  checkThat("the documents", documents, Array.isArray(documents), "an array of byte strings");
  for (const document of documents) checkThat("a document", document, typeof document === "string", "a byte string");
  checkOptions("perplexity", options, ["signal", "onDocument"]);
  const { signal, onDocument } = options;
  checkSignal(signal);
  checkFunction("onDocument", onDocument);
  const max = model.config.seqLen + 1;
  let documentsCut = 0;
  let tokensScored = 0;
  let characters = 0;
  let nats = 0;
  for (const [i, document] of documents.entries()) {
    onDocument?.(i, documents.length);
    const all = encode(model.tokenizer.vocabulary, document, true, false);
    const tokens = all.slice(0, max);
    if (all.length > max) documentsCut++;
    for (const { logprob } of await model.score(tokens, { signal })) nats -= logprob;
    tokensScored += tokens.length - 1;
    characters += countCharacters(model, tokens);
  }
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

function countCharacters(model: Model, [bos, ...scored]: number[]): number {
  const stream = new TextStream(model.tokenizer.vocabulary, bos);
  const text = scored.map((token) => stream.push(token)).join("") + stream.end();
  return [...text].length;
}
