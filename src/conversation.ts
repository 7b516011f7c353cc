/*
 * Conversations, as run.c's chat has them: the model reads what the user says and writes an answer, turn by turn.
 */
import { checkOptions, checkThat, checkWhole, usage } from "./check.ts";
import type { Generation } from "./generation.ts";
import { renderPrompt } from "./llama2/chat.ts";
import { buildSampler } from "./llama2/sampler.ts";
import { EOS } from "./llama2/tokenizer.ts";
import type { Model } from "./model.ts";
import { advance } from "./run/sequence.ts";
import { bytesOf, TextStream, toByteString } from "./text.ts";

export interface ConversationOptions {
  /** The system message, which comes before the first turn. */
  system?: string | Uint8Array;
  /** As for `generate`. One generator serves the whole conversation. */
  temperature?: number;
  topP?: number;
  seed?: number | bigint;
  /** The most positions of all turns together. @default the context */
  steps?: number;
}

/** A conversation with a model. One answer at a time. */
export class Conversation {
  /** The seed in use, also when the clock chose it. */
  readonly seed: bigint;
  /** The most positions of all turns together. */
  readonly steps: number;
  /** All tokens so far: each turn begins with BOS, and each answer that is complete ends with EOS. */
  readonly tokens: number[] = [];
  private readonly model: Model;
  private readonly options: ConversationOptions;
  private state: bigint; // of the generator
  private drawn = 0; // positions it has drawn for: run.c draws at every one

  /** @throws Llama2Error E_USAGE */
  constructor(model: Model, options: ConversationOptions = {}) {
    const isModel = typeof (model as Partial<Model> | null)?.generate === "function";
    checkThat("the model of a Conversation", model, isModel, "a Model");
    checkOptions("Conversation", options, ["system", "temperature", "topP", "seed", "steps"]);
    const { system, temperature, topP, seed, steps = 0 } = options;
    if (system !== undefined) checkText("system", system);
    checkWhole("steps", steps, 0, 2 ** 53 - 1);
    this.model = model;
    this.options = options;
    this.steps = steps === 0 ? model.config.seqLen : Math.min(steps, model.config.seqLen);
    this.seed = model.generate([0], { temperature, topP, seed }).seed; // which checks them
    this.state = this.seed;
  }

  /** Whether the positions are used up: no more turns fit. */
  get ended(): boolean {
    return this.tokens.length > this.steps;
  }

  /**
   * The user's turn, which is added to `tokens`. If it uses up the positions, there is no answer.
   * @throws Llama2Error E_CONTEXT for a turn longer than the context; E_USAGE
   */
  say(text: string | Uint8Array): void {
    checkText("what the user says", text);
    if (this.ended) usage("the conversation has ended: its positions are used up");
    const system = this.tokens.length === 0 ? toByteString(this.options.system ?? "") : "";
    const turn = renderPrompt(toByteString(text), system);
    this.tokens.push(...this.model.encodePrompt(bytesOf(turn)));
  }

  /**
   * The model's answer to the last turn, piece by piece, up to EOS or the end of the positions. If the signal stops it,
   * the part that was generated stays, as if the answer had ended there.
   * @throws Llama2Error E_USAGE
   */
  async *answer(options: { signal?: AbortSignal } = {}): AsyncGenerator<string, void> {
    checkOptions("answer", options, ["signal"]);
    const { signal } = options;
    if (this.tokens.length === 0) usage("nothing has been said yet");
    if (this.ended) return;
    const { temperature = 1, topP = 0.9 } = this.options;
    const prompt = [...this.tokens];
    // run.c draws at each position, also of the prompt; the last of these draws chooses the first token of the answer
    const sampler = buildSampler(1, temperature, topP, this.state);
    const state = advance(sampler, this.state, prompt.length - 1 - this.drawn);
    const maxTokens = this.steps + 1 - prompt.length;
    const choices = { temperature, topP, seed: state, maxTokens, stop: EOS, eos: false, signal };
    const generation: Generation = this.model.generate(prompt, choices);
    const text = new TextStream(this.model.tokenizer.vocabulary, prompt[prompt.length - 1]);
    let written = 0;
    try {
      for await (const { tokens } of generation.slices()) {
        this.tokens.push(...tokens);
        written += tokens.length;
        yield tokens.map((token) => text.push(token)).join("");
      }
      yield text.end();
    } finally {
      const draws = written + (generation.finishReason === "stop" ? 1 : 0);
      this.state = advance(sampler, state, draws);
      this.drawn = prompt.length - 1 + draws;
      this.tokens.push(EOS);
    }
  }
}

/** @throws Llama2Error E_USAGE */
function checkText(what: string, text: unknown): void {
  checkThat(what, text, typeof text === "string" || text instanceof Uint8Array, "text or its UTF-8 bytes");
}
