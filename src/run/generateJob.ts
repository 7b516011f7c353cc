/*
 * Stories: one, or many at once. Each runs the loop of storyLoop.ts; here their passes are put together into batches,
 * because a pass over the weights takes hardly longer for several tokens than for one.
 */
import type { Entry } from "../backend/backend.ts";
import { buildSampler, type Sampler } from "../llama2/sampler.ts";
import type { Job, Machine } from "./job.ts";
import { checkFinite, logSumExp } from "./logits.ts";
import type { GenerateRequest, Slice } from "./protocol.ts";
import { generate, type Pass } from "./storyLoop.ts";

/** A story that is being told. */
interface Telling {
  sequence: number; // its place in the context
  slice: Slice; // what has come out and is not yet taken
  sampler: Sampler;
  loop: Generator<Pass, void, number>;
  pass: Pass | undefined; // what it wants to have read next; undefined at its end
  stuck: boolean; // it was to go on by itself, and nothing was chosen
  logprob: number; // of the token sampled last, if asked for
}

/** One that is not at its end. */
type Waiting = Telling & { pass: Pass };
const isWaiting = (telling: Telling): telling is Waiting => telling.pass !== undefined;
const isGoing = (telling: Telling): telling is Waiting => isWaiting(telling) && !telling.stuck;

export class GenerateJob implements Job {
  readonly timings = { firstTokenMs: 0, prefillMs: 0, decodeMs: 0, sampleMs: 0, tokensPerSecond: 0 };
  private readonly request: GenerateRequest;
  private readonly machine: Machine;
  private readonly begin = performance.now();
  private tellings: Telling[] = []; // those that are going on, and those whose end has not been taken
  private begun = 0; // stories
  // run.c's clock starts when the first forward call returns
  private clockStart = 0;
  private positions = 0; // read since then

  constructor(request: GenerateRequest, machine: Machine) {
    this.request = request;
    this.machine = machine;
  }

  *run(): Generator<void, void> {
    const { seeds } = this.request;
    const { sequences, maxBatch } = this.machine;
    const free = Array.from({ length: sequences }, (_, i) => sequences - 1 - i);
    const waiting: Waiting[] = []; // for their next pass, in the order in which they came
    const ready: Waiting[] = []; // to go on by themselves, as soon as all are
    const goOn = (telling: Telling) => {
      if (!isWaiting(telling)) free.push(telling.sequence);
      else if (this.canDecode(telling)) ready.push(telling);
      else waiting.push(telling);
    };
    try {
      for (;;) {
        while (free.length > 0 && this.begun < seeds.length) goOn(this.tell(free.pop() as number));
        if (waiting.length + ready.length === 0) return;
        let batch: Waiting[];
        if (waiting.length > 0) {
          batch = takeBatch(waiting, maxBatch);
          this.read(batch);
        } else {
          batch = ready.splice(0);
          yield* this.decode(batch);
        }
        for (const telling of batch) goOn(telling);
        yield;
      }
    } finally {
      const elapsed = performance.now() - this.clockStart;
      if (this.positions > 0 && elapsed > 0) this.timings.tokensPerSecond = (this.positions / elapsed) * 1000;
    }
  }

  take(): Slice[] {
    const taken: Slice[] = [];
    for (const telling of this.tellings) {
      const { slice } = telling;
      if (slice.tokens.length === 0 && !slice.ended) continue;
      taken.push(slice);
      telling.slice = { story: slice.story, tokens: [], logprobs: [], ended: false };
    }
    if (taken.some(({ ended }) => ended)) this.tellings = this.tellings.filter(isWaiting);
    return taken;
  }

  /** Begin the next story. */
  private tell(sequence: number): Telling {
    const { tokens, steps, pos, stop, temperature, topP, seeds } = this.request;
    const { vocabSize, maxBatch } = this.machine;
    const story = this.begun++;
    let prompt = tokens.length - 1; // how much of it is still to come out
    const print = (token: number) => {
      telling.slice.tokens.push(token);
      telling.slice.logprobs.push(prompt-- > 0 ? NaN : telling.logprob);
    };
    const telling: Telling = {
      sequence,
      slice: { story, tokens: [], logprobs: [], ended: false },
      sampler: buildSampler(vocabSize, temperature, topP, seeds[story]),
      loop: generate(tokens, steps, print, { pos, stop, maxBatch }),
      pass: undefined,
      stuck: false,
      logprob: NaN,
    };
    this.tellings.push(telling);
    resume(telling, NaN); // the loop's first `next` takes no token
    return telling;
  }

  /** Read the passes of a batch, and let each story go on with the token that it asked for. */
  private read(batch: Waiting[]): void {
    const silent: Entry[] = []; // nobody wants their logits
    const wanted: Entry[] = [];
    for (const { pass, sequence } of batch) {
      const entries = pass.tokens.map((token, i) => ({ token, pos: pass.pos + i, sequence }));
      if (pass.sample) wanted.push(entries.pop() as Entry);
      silent.push(...entries);
    }
    const logits = this.forward([...silent, ...wanted], wanted.length);
    const tokens = this.sample(
      batch.filter(({ pass }) => pass.sample),
      logits,
    );
    let row = 0;
    for (const telling of batch) resume(telling, telling.pass.sample ? tokens[row++] : NaN);
  }

  private forward(entries: Entry[], wanted: number): Float32Array {
    const start = performance.now();
    const logits = this.machine.context.forward(entries, wanted);
    this.count(entries, start);
    return logits;
  }

  /** What has been read since `start`. */
  private count(passes: readonly { pos: number }[], start: number): void {
    const end = performance.now();
    const promptEnd = this.request.pos + this.request.tokens.length;
    this.timings[passes.every(({ pos }) => pos < promptEnd) ? "prefillMs" : "decodeMs"] += end - start;
    if (this.clockStart === 0) this.clockStart = end;
    else this.positions += passes.length;
  }

  /** Whether the backend can let this story go on by itself: nobody wants to see logits, which stay where they are. */
  private canDecode({ pass, stuck }: Waiting): boolean {
    const can = this.machine.context.decode !== undefined && !this.request.logprobs;
    return can && pass.sample && pass.tokens.length === 1 && !stuck;
  }

  /** Let stories go on by themselves for some tokens. What the loop does not want any more is passed over. */
  private *decode(batch: Waiting[]): Generator<void, void> {
    const { stop, steps } = this.request;
    const running = batch.map(({ pass, sequence, sampler }) => {
      return { token: pass.tokens[0], pos: pass.pos, sequence, sampler, stop };
    });
    const most = steps - Math.min(...running.map(({ pos }) => pos));
    let start = performance.now();
    for (const chosen of this.machine.context.decode?.(running, most) ?? []) {
      const passes = batch.filter(isGoing).map(({ pass }) => pass);
      if (passes.length === 0) break;
      this.count(passes, start);
      this.timings.firstTokenMs ||= performance.now() - this.begin;
      for (const [i, telling] of batch.entries()) {
        if (!isGoing(telling)) continue;
        if (chosen[i] < 0) telling.stuck = true;
        else resume(telling, chosen[i]);
      }
      yield;
      start = performance.now();
    }
  }

  /** Choose the next token of some stories, each from its row of logits. */
  private sample(tellings: Waiting[], logits: Float32Array): number[] {
    if (tellings.length === 0) return [];
    const start = performance.now();
    const { context, vocabSize } = this.machine;
    const raw = this.request.logprobs ? logits.slice() : logits; // sampling uses the logits up
    const chosen = context.sample(tellings.map(({ sampler }) => sampler));
    for (const [row, token] of chosen.entries()) {
      if (token >= 0 && !this.request.logprobs) continue;
      const telling = tellings[row];
      const { pos, tokens } = telling.pass;
      const mine = raw.subarray(row * vocabSize, (row + 1) * vocabSize);
      checkFinite(mine, pos + tokens.length - 1);
      telling.logprob = mine[token] - logSumExp(mine);
    }
    const end = performance.now();
    this.timings.sampleMs += end - start;
    if (this.timings.firstTokenMs === 0) this.timings.firstTokenMs = end - this.begin;
    return chosen;
  }
}

/** Let a story go on with the token that was sampled for it. */
function resume(telling: Telling, token: number): void {
  const { value, done } = telling.loop.next(token);
  telling.pass = value ?? undefined;
  telling.slice.ended = done ?? false;
}

/** Take the passes that fit together from the front. */
function takeBatch(waiting: Waiting[], maxBatch: number): Waiting[] {
  let size = 0;
  const tooMuch = waiting.findIndex(({ pass }) => {
    size += pass.tokens.length;
    return size > maxBatch;
  });
  return waiting.splice(0, tooMuch < 0 ? waiting.length : tooMuch);
}
