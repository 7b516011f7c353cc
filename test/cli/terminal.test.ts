/*
 * Output on a terminal: lines that break between words. A pseudo-terminal comes from util-linux's script.
 */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { llama2, MAIN } from "../helpers/cli.ts";
import { tempDir } from "../helpers/temp.ts";
import { tokenizerBytes, vocabOf } from "../helpers/tokenizer.ts";

const canOpenTerminal = process.platform === "linux" && spawnSync("script", ["--version"]).status === 0;
const needsScript = canOpenTerminal ? "" : " (skipped: needs script of util-linux, which is not here)";

/** What appears on a terminal of so many columns, stderr included. */
function onTerminal(columns: number, args: string, input = "", environment = "TERM=xterm"): string {
  const command = `stty cols ${columns} -echo; ${environment} "${process.execPath}" "${MAIN}" ${args}`;
  const { stdout } = spawnSync("script", ["-qec", command, "/dev/null"], { input, encoding: "utf8" });
  return stdout.replaceAll("\r\n", "\n");
}

const lines = (text: string) => text.trimEnd().split("\n");
const inWords = (text: string) => text.trim().split(/\s+/).join(" ");

describe.skipIf(!canOpenTerminal)(`on a terminal${needsScript}`, () => {
  const flags = '--quiet -s 3 -n 120 -i "One day"';

  it("a story breaks between words, and is the same otherwise", async () => {
    const { stdout } = await llama2(["--quiet", "-s", "3", "-n", "120", "-i", "One day"]);
    for (const columns of [20, 40, 80]) {
      const seen = onTerminal(columns, flags);
      expect(Math.max(...lines(seen).map((line) => line.length))).toBeLessThanOrEqual(columns);
      expect(lines(seen).length).toBeGreaterThan(stdout.length / columns);
      expect(inWords(seen)).toBe(inWords(stdout.toString()));
    }
  });

  it("with --show-guesses guessed tokens are in colour, and lines break in the same places", async () => {
    const plain = onTerminal(40, flags);
    const shown = `${flags} --show-guesses --lookahead 3`;
    const seen = onTerminal(40, shown);
    const [on, off] = ["\x1b[36m", "\x1b[39m"];
    expect(seen.split(on).length).toBeGreaterThan(5);
    expect(seen.split(off).length).toBe(seen.split(on).length);
    expect(seen.lastIndexOf(off)).toBeGreaterThan(seen.lastIndexOf(on));
    expect(seen.replaceAll(on, "").replaceAll(off, "")).toBe(plain);
    expect(onTerminal(40, shown, "", "TERM=xterm NO_COLOR=1")).toBe(plain);
    expect(onTerminal(40, shown, "", "TERM=dumb")).toBe(plain);
    const { stdout } = await llama2(["--quiet", "-s", "3", "-n", "120", "-i", "One day", "--show-guesses"]);
    expect(inWords(stdout.toString())).toBe(inWords(plain));
  });

  it("with --compat no line is broken", async () => {
    const { stdout } = await llama2(["--compat", "--quiet", "-s", "3", "-n", "120"]);
    expect(onTerminal(20, "--compat --quiet -s 3 -n 120")).toBe(stdout.toString());
  });

  it("of unknown width no line is broken", async () => {
    const { stdout } = await llama2(["--quiet", "-s", "3", "-n", "120", "-i", "One day"]);
    expect(onTerminal(0, flags)).toBe(stdout.toString());
  });

  it("several stories break, with their separators on lines of their own", () => {
    const seen = lines(onTerminal(30, "--quiet -N 3 -s 3 -n 60"));
    expect(seen.filter((line) => line === "<|end|>").length).toBe(2);
    expect(Math.max(...seen.map((line) => line.length))).toBeLessThanOrEqual(30);
  });

  it("an answer of a chat breaks; the words before it on its line count", () => {
    const seen = lines(onTerminal(30, '--quiet -m chat -y "" -i Hello -s 1 -n 80'));
    expect(seen[0]).toMatch(/^Assistant: +\S/);
    expect(Math.max(...seen.map((line) => line.length))).toBeLessThanOrEqual(30);
  });

  it("a message breaks between words, but not within a command", () => {
    const missing = "stories15M-of-somebody-else.bin";
    const seen = lines(onTerminal(40, missing));
    expect(seen.filter((line) => line.length > 40 && /\s/.test(line.trim()))).toEqual([]);
    expect(inWords(seen.join("\n"))).toContain(`llama2: cannot open ${missing}: there is no such file (E_FILE)`);
    expect(onTerminal(20, "--backend cuda")).toMatch(/`(npm run build:cuda|node [^`\n]*)`|no NVIDIA/);
    const advised = onTerminal(20, "stories15M", "n\r", `TERM=xterm HF_HUB_CACHE=${tempDir()}`);
    expect(advised).toMatch(/Fetch it:\n?.*\S+ pull stories15M\n/);
    expect(onTerminal(20, "tokenise")).toMatch(/Did you mean\n.*\S+ tokenize\?\n/);
    expect(onTerminal(20, '"Once upon a time"')).toMatch(/ -i "Once upon a time"\n/);
    const refused = lines(onTerminal(30, "--temperature warm"));
    expect(Math.max(...refused.map((line) => line.length))).toBeLessThanOrEqual(30);
  });

  it.skipIf(process.platform === "win32")(
    "nothing that a file brings is obeyed: titles, the cursor, the clipboard",
    async () => {
      const evil = "\x1b]0;title\x07\x1b[2J\r\x1b[1A";
      const folder = tempDir();
      for (const name of ["a", "b"]) writeFileSync(join(folder, `${name}${evil}\x9b1A\u202e.gguf`), "GGUF");
      expect((await llama2([folder])).stderr).toMatch(/several models in it: a\ufffd\]0;title\ufffd/);
      const vocabulary = vocabOf(300);
      vocabulary[270] = [`a${evil}\tb\x1b[31mred\x1b[0m`, 0];
      const file = join(folder, "tok.bin");
      writeFileSync(file, tokenizerBytes(vocabulary));
      const seen = onTerminal(80, `detokenize -z ${file} 1,270`);
      const colours = /\[(?:31|0)m/;
      expect(
        seen
          .split("\x1b")
          .slice(1)
          .every((after) => colours.test(after.slice(0, 4))),
      ).toBe(true);
      expect(seen.replaceAll(/\s/g, "").replaceAll("\x1b", "")).not.toMatch(/\p{Cc}/u);
      expect(seen).toContain("\tb\x1b[31mred");
      const piped = (await llama2(["detokenize", "-z", file, "1,270"])).stdout.toString();
      expect(piped).toContain(evil); // bytes for programs are as they are
    },
  );

  it("progress is shown, but not where a line cannot be erased", () => {
    const best = "--best 2 -s 1 -n 8";
    expect(onTerminal(80, best)).toContain("\x1b[K1 of 2 stories");
    expect(onTerminal(80, best, "", "TERM=dumb")).not.toContain("\x1b");
  });

  it("JSON is never broken", () => {
    expect(JSON.parse(onTerminal(20, "--quiet --json -s 3 -n 60")).tokens.length).toBe(61);
  });
});

it("a piped story gets no line breaks", async () => {
  const { stdout } = await llama2(["-s", "3", "-n", "120", "-i", "One day"], { env: { COLUMNS: "20" } });
  const { text } = JSON.parse((await llama2(["-s", "3", "-n", "120", "-i", "One day", "--json"])).stdout.toString());
  expect(stdout.toString()).toBe(`${text}\n`);
});
