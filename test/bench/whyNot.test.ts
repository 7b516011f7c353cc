import { expect, it } from "vitest";
import type { Sample } from "../../src/bench/engine.ts";
import { baseOf, type RowOutput, whyNot } from "../../src/bench/judge.ts";

const sample = (tokens: number[], rows?: string[]): Sample => ({
  tokensPerSecond: 1,
  firstTokenMs: 1,
  peakBytes: 1,
  tokens,
  rows,
});
const row = (name: string, tokens: number[], rows: string[], more: Partial<RowOutput> = {}): RowOutput => ({
  name,
  exact: true,
  reference: sample(tokens, rows),
  samples: [sample(tokens)],
  promptTokens: 1,
  ...more,
});
const ts = row("ts", [1, 5, 6, 7], ["a", "b", "c"]);

it("a row with the same tokens and logits counts, also if it was shortened", () => {
  expect(whyNot(row("cpu", [1, 5, 6], ["a", "b"]), ts)).toBeUndefined();
  expect(whyNot(ts, ts)).toBeUndefined();
});

it("a row with other logits does not count, though its tokens are the same", () => {
  expect(whyNot(row("cpu", [1, 5, 6, 7], ["a", "x", "c"]), ts)).toBe(
    "its logits differ from those of ts at position 1",
  );
});

it("a row with other tokens does not count, on a backend whose logits need not be the same", () => {
  const inexact = { exact: false, reference: sample([1, 5, 9, 7]), samples: [sample([1, 5, 9, 7])] };
  expect(whyNot(row("cuda", [], [], inexact), ts)).toBe(
    "it generated other tokens than ts at position 2: token 9, not 6",
  );
});

it("a row whose runs differ among themselves does not count", () => {
  const moody = row("cpu", [1, 5, 6, 7], ["a", "b", "c"], { samples: [sample([1, 5, 6, 7]), sample([1, 5, 8, 7])] });
  expect(whyNot(moody, ts)).toBe("run 2 generated other tokens than the run before it, from position 2 on");
});

it("rows are compared with ts if that was measured, else with an exact backend", () => {
  const cuda = row("cuda", [1], [], { exact: false });
  const cpu = row("cpu", [1], []);
  expect(baseOf([cuda, cpu, ts])).toBe(ts);
  expect(baseOf([cuda, cpu])).toBe(cpu);
  expect(baseOf([cuda])).toBe(cuda);
});
