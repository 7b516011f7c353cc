/*
 * A model for tracing: the reference's weights, and the tokenizer. Runs in browsers.
 */
import { encode, type PreparingTokenizer } from "../encode.ts";
import { Llama2Error } from "../errors.ts";
import { buildSampler, type Sampler, sample } from "../llama2/sampler.ts";
import { BOS, EOS } from "../llama2/tokenizer.ts";
import type { Config, TransformerWeights } from "../llama2/transformer.ts";
import { loadRows, loadWeights, type WeightSource } from "../llama2/weights.ts";
import { bytesOf, toByteString } from "../text.ts";
import { type Hooks, TracedRun } from "./run.ts";

/** How the tokens after the prompt are chosen. */
export interface Sampling {
  /** 0: always the likeliest token. @default 0 */
  temperature?: number;
  /** @default 0.9 */
  topP?: number;
  /** @default 1 */
  seed?: bigint;
}

/** A model for tracing: read a prompt with `run`, then see and change what each stop computed. */
export class TracedModel {
  readonly name: string;
  /** The architecture; `seqLen` is the context. */
  readonly config: Config;
  readonly weights: TransformerWeights;
  private readonly maybeTokenizer: PreparingTokenizer | undefined;

  /** @internal Models come from `openTrace`, or from `load`. */
  constructor(name: string, config: Config, weights: TransformerWeights, tokenizer: PreparingTokenizer | undefined) {
    this.name = name;
    this.config = config;
    this.weights = weights;
    this.maybeTokenizer = tokenizer;
  }

  /** Read all weights of a source, as plain rows. @param context caps the positions; 0: what the model was made for */
  static async load(
    name: string,
    source: WeightSource,
    tokenizer: PreparingTokenizer | undefined,
    context = 0,
  ): Promise<TracedModel> {
    const { seqLen } = source.config;
    const config = { ...source.config, seqLen: context === 0 ? seqLen : Math.min(context, seqLen) };
    return new TracedModel(name, config, await loadWeights(source, loadRows), tokenizer);
  }

  /** @throws Llama2Error E_USAGE if the model was opened without one */
  get tokenizer(): PreparingTokenizer {
    if (this.maybeTokenizer) return this.maybeTokenizer;
    throw new Llama2Error("E_USAGE", "this model was opened without a tokenizer");
  }

  /** The tokens of a text or of its UTF-8 bytes, BOS first. */
  encode(text: string | Uint8Array): number[] {
    return encode(this.tokenizer, toByteString(text), true, false);
  }

  /** A token for display: its piece in quotes, or <s> for BOS. */
  label(token: number): string {
    return token === BOS ? "<s>" : JSON.stringify(this.piece(token));
  }

  /** The vocabulary's entry for a token, such as " upon". */
  piece(token: number): string {
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytesOf(this.tokenizer.vocab[token]));
  }

  /**
   * Read a prompt: text, or tokens with BOS in front.
   * @param hooks called at stops with their values, which they may change
   * @throws Llama2Error E_CONTEXT if the context does not hold it
   */
  run(prompt: string | readonly number[], hooks: Hooks = {}): TracedRun {
    const tokens = typeof prompt === "string" ? this.encode(prompt) : prompt;
    const { seqLen } = this.config;
    if (tokens.length > seqLen) {
      const message = `there are ${tokens.length} tokens to read, and the context holds ${seqLen}. Shorten the text`;
      throw new Llama2Error("E_CONTEXT", message);
    }
    const run = new TracedRun(this, hooks);
    for (const token of tokens) run.read(token);
    return run;
  }

  /** A sampler for `next`. The same seed chooses the same tokens as everywhere in this package. */
  sampler({ temperature = 0, topP = 0.9, seed = 1n }: Sampling = {}): Sampler {
    return buildSampler(this.config.vocabSize, temperature, topP, seed);
  }

  /** What the sampler chooses after the last token of a run. */
  next(run: TracedRun, sampler: Sampler): number {
    return sample(sampler, run.logits.slice());
  }

  /** Let a run generate: to `positions` in all, to BOS or EOS, or to the end of the context. */
  continue(run: TracedRun, sampler: Sampler, positions: number): void {
    while (run.tokens.length < Math.min(positions, this.config.seqLen)) {
      const token = this.next(run, sampler);
      if (token === BOS || token === EOS) return;
      run.read(token);
    }
  }
}
