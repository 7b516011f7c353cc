import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { WordWrap, widthOf } from "../../src/cli/wrap.ts";

/** The text as it is printed when it comes in pieces of `size` code points. */
function wrapped(text: string, columns: number, size = 1): string {
  const wrap = new WordWrap(() => columns);
  const characters = [...text];
  let out = "";
  for (let i = 0; i < characters.length; i += size) out += wrap.push(characters.slice(i, i + size).join(""));
  return out + wrap.end();
}

const width = (line: string) => [...line].reduce((sum, character) => sum + widthOf(character), 0);

describe("word wrap", () => {
  it.each([
    ["breaks between words", "the quick brown fox", 10, "the quick\nbrown fox"],
    ["fills a line to its last column", "the quick brown", 9, "the quick\nbrown"],
    ["keeps newlines of the text", "one\ntwo three\n\nfour", 9, "one\ntwo three\n\nfour"],
    ["starts to count anew after a newline", "one two\nthree four", 9, "one two\nthree\nfour"],
    ["drops the spaces where it breaks, and keeps all others", "a  b   cccc", 6, "a  b\ncccc"],
    ["keeps an indentation", "  a\n  b", 6, "  a\n  b"],
    ["leaves a word that no line holds to the terminal", "a bbbbbbbbbbbbbb cc", 5, "a\nbbbbbbbbbbbbbb\ncc"],
    ["goes on behind such a word", "bbbbbbb cc", 5, "bbbbbbb cc"],
    ["counts wide characters twice, and breaks between them", "日本語です", 6, "日本語\nです"],
    ["does not begin a line with a closing mark", "日本語。", 6, "日本\n語。"],
    ["breaks between wide and narrow characters", "日本語abc", 6, "日本語\nabc"],
    ["counts an accent of its own as nothing", "cafe\u0301 au", 7, "cafe\u0301 au"],
    ["counts an emoji twice", "hi 😀😀 you", 7, "hi 😀😀\nyou"],
    ["does not take a family of emoji apart", "abcd 👩\u200d👧", 6, "abcd\n👩\u200d👧"],
    ["counts tabs to the next eighth column", "a\tbb cc", 10, "a\tbb\ncc"],
    ["keeps the spaces at the end", "a b ", 10, "a b "],
  ])("%s", (_, text, columns, expected) => {
    expect(wrapped(text, columns)).toBe(expected);
  });

  it("prints a word as soon as the next begins", () => {
    const wrap = new WordWrap(() => 80);
    expect(["Once", " up", "on", " a"].map((piece) => wrap.push(piece))).toEqual(["", "Once", "", " upon"]);
    expect(wrap.end()).toBe(" a");
  });

  it("follows a terminal that is resized", () => {
    let columns = 20;
    const wrap = new WordWrap(() => columns);
    let out = wrap.push("one two three four ");
    columns = 10;
    out += wrap.push("five six seven ") + wrap.end();
    expect(out).toBe("one two three four\nfive six\nseven ");
  });

  it("changes spaces to newlines only, keeps lines narrow, and does not depend on the pieces", () => {
    const words = fc.array(fc.constantFrom("a", "bb", "ccc", "dddd", "é", "日", " ", "  ", "\n", "😀", "."), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(words, fc.integer({ min: 10, max: 30 }), fc.integer({ min: 1, max: 9 }), (words, columns, size) => {
        const text = words.flatMap((word) => [word, ...(/\w/.test(word) ? [" "] : [])]).join("");
        const out = wrapped(text, columns, size);
        expect(out).toBe(wrapped(text, columns));
        expect(out.replace(/\s/g, "")).toBe(text.replace(/\s/g, ""));
        for (const line of out.split("\n")) expect(width(line)).toBeLessThanOrEqual(columns);
      }),
      { seed: 1, numRuns: 300 },
    );
  });
});
