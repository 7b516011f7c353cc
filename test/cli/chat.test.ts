/*
 * llama2 chat: a turn for each line, commands that begin with a slash.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadModel } from "../../src/index.ts";
import { llama2 } from "../helpers/cli.ts";
import { ROOT } from "../helpers/golden.ts";
import { slowFile } from "../helpers/sparse.ts";
import { tempDir } from "../helpers/temp.ts";

const flags = ["-s", "6", "-n", "12"];
const NOTE = "a model this small was most likely not made for chat: expect pieces of stories for answers\n";

describe("from a pipe", () => {
  it("each line is a turn, and only answers are printed, which are the library's", async () => {
    const model = await loadModel();
    const chat = await model.chat({ system: "Be nice", seed: 6, maxTokens: 12 });
    const answers = [];
    for (const text of ["Hello", "Tell me more"]) answers.push((await chat.say(text).text()).trimStart());
    await model.dispose();
    const { code, stdout, stderr } = await llama2(["chat", "-y", "Be nice", ...flags], {
      stdin: "Hello\n\nTell me more\n",
    });
    expect({ code, stdout: stdout.toString(), stderr }).toEqual({
      code: 0,
      stdout: `${answers.join("\n")}\n`,
      stderr: NOTE,
    });
  });

  it("/save writes the conversation, /load and --load continue it, /reset drops it", async () => {
    const file = join(tempDir(), "chat.json");
    const first = await llama2(["chat", "-y", "Be nice", ...flags], {
      stdin: `Hello\n/save ${file}\n/reset\n/exit\nno more\n`,
    });
    const answer = first.stdout.toString();
    expect(JSON.parse(readFileSync(file, "utf8"))).toEqual({
      chat: 1,
      messages: [
        { role: "system", content: "Be nice" },
        { role: "user", content: "Hello" },
        { role: "assistant", content: answer.trim() },
      ],
    });
    const loaded = await llama2(["chat", "--load", file, ...flags], { stdin: "And?\n" });
    const loadedLater = await llama2(["chat", ...flags], { stdin: `/load ${file}\nAnd?\n` });
    expect(loadedLater.stdout).toEqual(loaded.stdout);
    expect(loaded.stdout.toString()).not.toBe(
      (await llama2(["chat", ...flags], { stdin: "And?\n" })).stdout.toString(),
    );
  });

  it.each([
    ["a command that does not exist", "/resett\n", "there is no /resett. Is /reset meant?", 2],
    ["/save without a file", "/save\n", "/save needs a file", 2],
    ["/load of a missing file", "/load missing.json\n", "cannot open missing.json", 1],
  ])("%s ends it with an error", async (_, stdin, words, code) => {
    const ended = await llama2(["chat", ...flags], { stdin, cwd: tempDir() });
    expect({ code: ended.code }).toEqual({ code });
    expect(ended.stderr).toContain(words);
  });

  it("refuses a file that is not a saved chat", async () => {
    const file = join(tempDir(), "chat.json");
    for (const [text, words] of [
      ["{}", "is no chat"],
      ["[]", "holds no JSON object"],
      ['{"chat":1,"messages":[{"role":"user","content":"x"}]}', "the last of the messages"],
    ]) {
      writeFileSync(file, text);
      expect((await llama2(["chat", "--load", file])).stderr).toContain(words);
    }
  });

  it("a conversation that outgrows the context ends with E_CONTEXT", async () => {
    const { code, stderr } = await llama2(["chat", "--context", "40", "-s", "1"], { stdin: "Hello\nMore\n" });
    expect(code).toBe(1);
    expect(stderr).toMatch(/the context holds 40. Start over: reset\(\) \(E_CONTEXT\)/);
  });
});

it("Ctrl-C stops the answer, not the program", async () => {
  const tokenizer = join(ROOT, "models", "tok2048.bin");
  let interrupted = false;
  const { code, stdout } = await llama2(["chat", slowFile(), "-z", tokenizer, "-s", "1", "--backend", "ts"], {
    stdin: null,
    onStdout(child, soFar) {
      if (!interrupted && soFar.length > 20) {
        interrupted = true;
        child.kill("SIGINT");
      } else if (interrupted && soFar.endsWith("\n")) child.stdin?.end("/exit\n");
    },
    onStart: (child) => child.stdin?.write("Hello\n"),
  });
  expect({ code, interrupted }).toEqual({ code: 0, interrupted: true });
  expect(stdout.length).toBeLessThan(2000);
});
