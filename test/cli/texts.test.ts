/*
 * Texts as editors and shells write them: with a byte order mark, with Windows' line ends, in UTF-16. All commands
 * that
 * read a text follow the same rules.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { checkpointFile } from "../helpers/checkpoint.ts";
import { llama2 } from "../helpers/cli.ts";
import { ROOT } from "../helpers/golden.ts";
import { tempDir } from "../helpers/temp.ts";

const MARK = "\ufeff";
const utf16 = (text: string) => Buffer.from(`${MARK}${text}`, "utf16le");
const bundled = join(ROOT, "models", "stories2M.bin");
const small = checkpointFile([16, 40, 2, 4, 4, 300, 64]);

function file(bytes: string | Uint8Array): string {
  const path = join(tempDir(), "text.txt");
  writeFileSync(path, bytes);
  return path;
}

/** Each command that reads a text from a file or from standard input, given the text. */
const readers: [what: string, run: (text: string | Uint8Array) => ReturnType<typeof llama2>][] = [
  ["a prompt", (stdin) => llama2(["-i", "-", "-n", "30", "-s", "1"], { stdin })],
  ["tokenize -", (stdin) => llama2(["tokenize", "-"], { stdin })],
  ["detokenize -", (stdin) => llama2(["detokenize", "-"], { stdin })],
  ["chat", (stdin) => llama2(["-m", "chat", "-y", "", "-s", "1", "-n", "30"], { stdin })],
  ["perplexity", (text) => llama2(["perplexity", bundled, file(text)])],
  ["logits --tokens", (text) => llama2(["logits", small, "--tokens", file(text)])],
];

/** A text that is sense to all of them, with an end that tokenize keeps and lines that a prompt keeps. */
const sense = "1 5 9";

describe.concurrent.each(readers)("%s", (what, run) => {
  // tokenize takes its input byte for byte, line ends too
  const [unix, windows] = what === "tokenize -" ? ["", ""] : ["\n", "\r\n"];

  it("reads a text with a byte order mark and Windows' line ends as the text without", async () => {
    const [plain, other] = await Promise.all([run(`${sense}${unix}`), run(`${MARK}${sense}${windows}`)]);
    expect(plain.code).toBe(0);
    expect(other.stdout.equals(plain.stdout)).toBe(true);
  });

  it("refuses UTF-16 by name", async () => {
    const { code, stderr } = await run(utf16(`${sense}\r\n`));
    expect(stderr).toMatch(/is UTF-16 text, expected UTF-8 \(E_FORMAT\)\n$/);
    expect(code).toBe(1);
  });
});

it.concurrent("tokenize - keeps every line end, since it takes its input byte for byte", async () => {
  const ids = async (stdin: string) => (await llama2(["tokenize", "--no-bos", "-"], { stdin })).stdout.toString();
  expect(await ids("a\r\n")).toBe("261 16 13\n");
});

it.concurrent("perplexity is the same for a file with Windows' line ends, a byte order mark and spaces after <|end|>", async () => {
  const plain = "Once upon a time\nthere was a cat.\n<|end|>\nThe dog was happy.\n";
  const measure = async (text: string) => {
    return JSON.parse((await llama2(["perplexity", bundled, file(text), "--json"])).stdout.toString());
  };
  const report = await measure(plain);
  expect(report.documents).toBe(2);
  expect(await measure(MARK + plain.replaceAll("\n", "\r\n").replace("<|end|>", "<|end|>  \t"))).toEqual(report);
});
