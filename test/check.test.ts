import { expect, it } from "vitest";
import { show } from "../src/check.ts";

it.each(
  (
    [
      ["a", '"a"'],
      ["x".repeat(50), `"${"x".repeat(40)}..."`],
      ["\u001b[2J\n\u007f\u009b1A\u2028", '"\\u001b[2J\\n\\u007f\\u009b1A\\u2028"'],
      ["\ud800", '"\\ud800"'],
      [`${"x".repeat(39)}\u{1f600}`, `"${"x".repeat(39)}\\ud83d..."`],
      [5n, "5n"],
      [null, "null"],
      [undefined, "undefined"],
      [() => 1, "a function"],
      [[1], "an array"],
      [{}, "an object"],
      [Object.create(null), "an object"],
      [{ constructor: { name: { toString: 1 } } }, "an object"],
      [new AbortController(), "an AbortController"],
      [new Map(), "a Map"],
    ] as [unknown, string][]
  ).map(([value, shown]) => ({ value, shown })),
)("a message shows $shown", ({ value, shown }) => {
  expect(show(value)).toBe(shown);
});
