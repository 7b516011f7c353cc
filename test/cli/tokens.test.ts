import { describe, expect, it } from "vitest";
import { llama2 } from "../helpers/cli.ts";

const output = async (args: string[], stdin?: string | Uint8Array) => (await llama2(args, { stdin })).stdout.toString();

describe("tokenize", () => {
  it.each([
    [["Once upon a time"], "1 463 477 261 418\n"],
    [["--no-bos", "Once upon a time"], "463 477 261 418\n"],
    [["--eos", "Once upon a time"], "1 463 477 261 418 2\n"],
    [[""], "1\n"],
  ])("%j", async (args, ids) => {
    expect(await output(["tokenize", ...args])).toBe(ids);
  });

  it("takes standard input byte for byte, also what is no UTF-8", async () => {
    expect(await output(["tokenize", "--no-bos", "-"], Buffer.from([0xff, 0, 0x0a]))).toMatch(/^\d+ 258 3 13\n$/);
  });

  it("--pieces has a line for each token, with its piece as JSON", async () => {
    expect(await output(["tokenize", "--pieces", "a\n"])).toBe('1\t"\\n<s>\\n"\n261\t" a"\n13\t"<0x0A>"\n');
  });
});

describe("detokenize", () => {
  it.each([
    ["1 463 477 261 418", "Once upon a time\n"],
    ["1,463,\n477 , 261\t418 2", "Once upon a time\n"],
    ["463 477", " Once upon\n"],
    ["1 243 162 155 131 1 463", "\u{1f600}Once\n"],
    ["", "\n"],
  ])("%j", async (ids, text) => {
    expect(await output(["detokenize", ids])).toBe(text);
    expect(await output(["detokenize", "-"], ids)).toBe(text);
  });

  it.each(["2048", "abc", "1 -5", "1.5"])("refuses %j, which is not a token, with 2", async (ids) => {
    const { code, stdout } = await llama2(["detokenize", "--", ids]);
    expect({ code, stdout: stdout.toString() }).toEqual({ code: 2, stdout: "" });
  });
});

it("what tokenize makes, detokenize undoes", async () => {
  const text = "  Two spaces, café 😀 and\ttabs\n\nin 日本語 ";
  const ids = await output(["tokenize", text]);
  expect(await output(["detokenize", ids])).toBe(`${text}\n`);
});
