import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { promptText, readText, splitDocuments, withoutMark } from "../../src/files/text.ts";
import { tempDir } from "../helpers/temp.ts";

const MARK = "\ufeff";
const utf8 = (text: string) => new TextEncoder().encode(text);
const utf16 = (text: string, swap = false) =>
  swap ? Buffer.from(text, "utf16le").swap16() : Buffer.from(text, "utf16le");
const utf32 = (text: string, swap = false) => {
  const bytes = Buffer.from(Uint32Array.from([...text], (c) => c.codePointAt(0) as number).buffer);
  return swap ? bytes.swap32() : bytes;
};
const english = "Once upon a time there was a caf\u00e9 \u2014 \u201csmall\u201d, and warm.";

describe("a text's bytes", () => {
  it("lose one byte order mark at the start, and no more", () => {
    expect(withoutMark(utf8(`${MARK}a${MARK}`), "x")).toEqual(utf8(`a${MARK}`));
    expect(withoutMark(utf8(`${MARK}${MARK}a`), "x")).toEqual(utf8(`${MARK}a`));
    expect(withoutMark(utf8("a"), "x")).toEqual(utf8("a"));
    expect(withoutMark(utf8(""), "x")).toEqual(utf8(""));
  });

  it.each([
    ["UTF-16", "little-endian with a mark", utf16(`${MARK}hi`)],
    ["UTF-16", "big-endian with a mark", utf16(`${MARK}hi`, true)],
    ["UTF-16", "little-endian without a mark", utf16(english)],
    ["UTF-16", "big-endian without a mark", utf16(english, true)],
    ["UTF-32", "little-endian with a mark", utf32(`${MARK}hi`)],
    ["UTF-32", "big-endian with a mark", utf32(`${MARK}hi`, true)],
    ["UTF-32", "little-endian without a mark", utf32(english)],
    ["UTF-32", "big-endian without a mark", utf32(english, true)],
  ])("in %s, %s, are refused by name", (encoding, _, bytes) => {
    expect(() => withoutMark(bytes, "story.txt")).toThrow(`story.txt is ${encoding} text, expected UTF-8`);
  });

  it.each([
    ["a few zeros", Buffer.from("a\0b, c\0\0d and so on, in plain words")],
    ["zeros only", Buffer.alloc(16)],
    ["bytes that are not UTF-8", Buffer.from([0xff, 0x61, 0xc3, 0x28, 0xfe, 0xf0, 0x9f, 0x61])],
    ["Latin-1", Buffer.from("caf\u00e9 caf\u00e9", "latin1")],
    ["a byte and a zero", Buffer.from([0x61, 0])],
  ])("with %s are kept as they are", (_, bytes) => {
    expect(withoutMark(bytes, "x")).toEqual(bytes);
  });
});

it.each([
  ["a\n", "a"],
  ["a\r\n", "a"],
  ["a\n\n", "a\n"],
  ["a\r\n\r\n", "a\r\n"],
  ["a\r", "a\r"],
  ["a\r\nb", "a\r\nb"],
  ["\n", ""],
  ["\r\n", ""],
  [`${MARK}a\n`, "a"],
  [MARK, ""],
])("a prompt loses the byte order mark and one newline: %j is %j", (text, prompt) => {
  expect(promptText(utf8(text), "x")).toEqual(utf8(prompt));
});

it.each([
  ["a\n<|end|>\nb\n", ["a", "b"]],
  ["a\r\n<|end|>\r\nb\r\n", ["a", "b"]],
  ["a\r\nb", ["a\nb"]],
  ["a\rb", ["a\rb"]],
  ["a\n<|end|> \t\nb", ["a", "b"]],
  ["a\n<|end|>  \r\nb", ["a", "b"]],
  ["a\n <|end|>\nb", ["a\n <|end|>\nb"]],
  ["a\n<|end|> b", ["a\n<|end|> b"]],
  ["<|end|>\na\n\n<|end|>\n<|end|>\nb\n<|end|>", ["a\n", "b"]],
  ["\r\n", []],
])("the documents of %j are %j", (text, documents) => {
  expect(splitDocuments(text)).toEqual(documents);
});

describe("a text file", () => {
  const file = (bytes: Uint8Array | string) => {
    const path = join(tempDir(), "text.txt");
    writeFileSync(path, bytes);
    return path;
  };

  it("is read without its byte order mark", () => {
    expect(readText(file(`${MARK}a\r\n`), 100)).toEqual(utf8("a\r\n"));
  });

  it("in UTF-16 is E_FORMAT, with its path", () => {
    const path = file(utf16(`${MARK}a`));
    expect(() => readText(path, 100)).toThrow(`${path} is UTF-16 text, expected UTF-8`);
  });

  it("larger than allowed is E_LIMIT, with both sizes", () => {
    expect(() => readText(file("12345"), 4)).toThrow("has 5 bytes, expected at most 4 bytes");
  });
});
