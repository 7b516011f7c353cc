import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadModel, meta } from "../../src/index.ts";
import { llama2 } from "../helpers/cli.ts";
import { tempDir } from "../helpers/temp.ts";

const prompts = ["Once upon a time", "Lily found a red ball", "Tom"];
const greedy = ["-t", "0", "--max-tokens", "12"];

/** A file of prompts. */
function fileOf(text: string): string {
  const path = join(tempDir(), "prompts");
  writeFileSync(path, text);
  return path;
}
const asJson = JSON.stringify(prompts);

describe("complete", () => {
  it("prints the results of the library's textCompletion in order, with a line <|end|> between them", async () => {
    const model = await loadModel();
    const expected = await meta.textCompletion(model, prompts, { temperature: 0, maxGenLen: 12 });
    await model.dispose();
    const { code, stdout } = await llama2(["complete", "--prompts", fileOf(asJson), ...greedy]);
    expect(code).toBe(0);
    expect(stdout.toString()).toBe(expected.map(({ generation }) => `${generation}\n`).join("<|end|>\n"));
  });

  it("accepts an array, lines of texts, lines of objects, a byte order mark, Windows' line ends, and a pipe", async () => {
    const lines = prompts.map((prompt) => JSON.stringify(prompt));
    const objects = prompts.map((prompt) => JSON.stringify({ id: 1, prompt }));
    const expected = (await llama2(["complete", "--prompts", fileOf(asJson), ...greedy])).stdout;
    for (const text of [lines.join("\n"), `\ufeff${objects.join("\r\n")}\r\n`, JSON.stringify(prompts, null, 2)]) {
      expect((await llama2(["complete", "--prompts", fileOf(text), ...greedy])).stdout).toEqual(expected);
    }
    expect((await llama2(["complete", "--prompts", "-", ...greedy], { stdin: asJson })).stdout).toEqual(expected);
  });

  it("with --json prints a line for each prompt, with consecutive seeds", async () => {
    const flags = ["--prompts", fileOf(asJson), "-s", "7", "--max-tokens", "6", "--json", "--logprobs", "--echo"];
    const { stdout } = await llama2(["complete", ...flags]);
    const lines = stdout
      .toString()
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines.map(({ index, prompt, seed }) => [index, prompt, seed])).toEqual(
      prompts.map((prompt, k) => [k, prompt, `${7 + k}`]),
    );
    for (const { text, prompt, tokens, logprobs, finishReason } of lines) {
      expect(text.startsWith(prompt)).toBe(true);
      expect(logprobs.map(({ id }: { id: number }) => id)).toEqual(tokens);
      expect(finishReason).toBe("length");
    }
  });

  it("ends at any --stop string, and does not print it", async () => {
    const { stdout } = await llama2([
      "complete",
      "--prompts",
      fileOf(asJson),
      "-t",
      "0",
      "--json",
      "--stop",
      ".",
      "--stop",
      ",",
    ]);
    for (const line of stdout.toString().trimEnd().split("\n")) {
      const { text, finishReason } = JSON.parse(line);
      expect(text).not.toMatch(/[.,]/);
      expect(finishReason).toBe("stop");
    }
  });

  it.each([
    ["no prompts", "\n", "has no prompts in it"],
    ["an empty array", "[]", "has no prompts in it"],
    ["a line that is no JSON", '"a"\nb\n', "line 2 of .* is no prompt"],
    ["a number", '["a", 5]', "prompt 2 of .* is no prompt"],
    ["an object without a prompt", '{"text": "a"}', "line 1 of .* is no prompt"],
  ])("refuses %s with exit code 1", async (_, text, words) => {
    const { code, stderr } = await llama2(["complete", "--prompts", fileOf(text)]);
    expect({ code }).toEqual({ code: 1 });
    expect(stderr).toMatch(new RegExp(`^llama2: .*${words}.*\\(E_FORMAT\\)`));
  });
});
