import { describe, expect, it } from "vitest";
import { BOS, EOS } from "../../src/llama2/tokenizer.ts";
import { generate, type Pass } from "../../src/run/storyLoop.ts";

/** Drive a loop to its end: do each pass, and hand over what `sample` says. */
function drive(loop: ReturnType<typeof generate>, read: (pass: Pass) => void, sample: () => number): void {
  for (let step = loop.next(NaN); !step.done; ) {
    read(step.value);
    step = loop.next(step.value.sample ? sample() : NaN);
  }
}

/** What a loop prints and reads, and where it wants a token, which is the next of `samples`. */
function run(samples: number[], promptTokens: number[], steps: number, options: Parameters<typeof generate>[3] = {}) {
  const printed: number[] = [];
  const read: [token: number, pos: number][] = [];
  const sampledAt: number[] = [];
  drive(
    generate(promptTokens, steps, (token) => printed.push(token), options),
    ({ tokens, pos, sample }) => {
      read.push(...tokens.map((token, i): [number, number] => [token, pos + i]));
      if (sample) sampledAt.push(pos + tokens.length - 1);
    },
    () => samples.shift() ?? 99,
  );
  return { printed, read, sampledAt };
}

describe("the generation loop", () => {
  it("reads the prompt, then what it sampled, and prints all but the first token", () => {
    const { printed, read, sampledAt } = run([20, 21, 22], [BOS, 10, 11], 5);
    expect(printed).toEqual([10, 11, 20, 21, 22]);
    expect(read).toEqual([
      [BOS, 0],
      [10, 1],
      [11, 2],
      [20, 3],
      [21, 4],
    ]);
    expect(sampledAt).toEqual([2, 3, 4]);
  });

  it("stops at BOS and does not print it", () => {
    expect(run([20, BOS, 21], [BOS], 9).printed).toEqual([20]);
  });

  it("cuts a prompt that is longer than the steps, as run.c does", () => {
    const { printed, read } = run([], [BOS, 10, 11, 12, 13], 2);
    expect(printed).toEqual([10, 11]);
    expect(read.length).toBe(2);
  });

  it.each([2, 3, 4, 8])("gives the same when a machine reads %i tokens at once", (maxBatch) => {
    const { printed, read } = run([20, 21], [BOS, 10, 11, 12], 5, { maxBatch });
    expect(printed).toEqual([10, 11, 12, 20, 21]);
    expect(read.map(([, pos]) => pos)).toEqual([0, 1, 2, 3, 4]);
  });

  it("goes on where a conversation is, up to the token that ends an answer", () => {
    const { printed, read } = run([20, BOS, EOS, 21], [EOS, BOS, 10], 99, { pos: 7, stop: EOS });
    expect(printed).toEqual([BOS, 10, 20, BOS]);
    expect(read.map(([, pos]) => pos)).toEqual([7, 8, 9, 10, 11]);
  });
});
