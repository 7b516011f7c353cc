import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { StopStrings } from "../src/stopStrings.ts";

/** What is shown of a text that comes in pieces, and how often. */
function shown(stops: string[], pieces: string[]): { text: string; found: boolean } {
  const stop = new StopStrings(stops);
  let text = "";
  for (const piece of pieces) text += stop.push(piece);
  return { text: stop.found ? text : text + stop.end(), found: stop.found };
}

/** What should be: up to the string that is complete first; of two that are complete at once the longer. */
function expected(stops: string[], text: string): { text: string; found: boolean } {
  for (let end = 1; end <= text.length; end++) {
    const done = stops.filter((stop) => text.slice(0, end).endsWith(stop)).sort((a, b) => b.length - a.length);
    if (done.length > 0) return { text: text.slice(0, end - done[0].length), found: true };
  }
  return { text, found: false };
}

describe("a stop string", () => {
  it("is never shown in part; text that only began like one is shown", () => {
    const stop = new StopStrings(["User:"]);
    expect(["Hi", "\nUs", "e", " it. U", "ser", ":", " more"].map((piece) => stop.push(piece))).toEqual([
      "Hi",
      "\n",
      "",
      "Use it. ",
      "",
      "",
      "",
    ]);
    expect(stop.found).toBe(true);
  });

  it("that is incomplete at the end of the text is shown", () => {
    expect(shown(["User:"], ["Hi Use"])).toEqual({ text: "Hi Use", found: false });
  });

  it("is found however the text is split into pieces", () => {
    const text = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 20 });
    const stops = fc.array(fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 4 }), {
      maxLength: 3,
    });
    fc.assert(
      fc.property(fc.array(text, { maxLength: 6 }), stops, (pieces, stops) => {
        expect(shown(stops, pieces)).toEqual(expected(stops, pieces.join("")));
      }),
      { seed: 1, numRuns: 2000 },
    );
  });
});
