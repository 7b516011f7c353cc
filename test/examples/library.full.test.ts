/*
 * The examples of the library, each run as its first comment says.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadModel } from "../../src/index.ts";
import { ROOT } from "../helpers/golden.ts";
import { modernNode, needsModernNode, runModern } from "../helpers/modernNode.ts";

const example = (name: string, ...args: string[]) => [join(ROOT, "examples", `${name}.ts`), ...args];

describe.skipIf(!modernNode)(`examples${needsModernNode}`, () => {
  it("jsonl.ts: a line for each story, in order, each as its seed gives it", async () => {
    const { stdout, stderr, code } = await runModern(example("jsonl", "20"));
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
    const lines = stdout
      .toString()
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines.map(({ index, seed }) => [index, seed])).toEqual(
      Array.from({ length: 20 }, (_, k) => [k, `${k + 1}`]),
    );
    const model = await loadModel();
    expect(lines[4].text).toBe(await model.generate("", { seed: 5 }).text());
    await model.dispose();
  });

  it("logprobs.ts: a line for each token, and the mean", async () => {
    const { stdout, code } = await runModern(example("logprobs", "Once upon a time"));
    const lines = stdout.toString().trimEnd().split("\n");
    expect({ code, lines: lines.length }).toEqual({ code: 0, lines: 5 });
    expect(lines[1]).toMatch(/^ +\d+\.\d\d% rank 0 {4} +upon +rather: " upon" /);
    expect(lines[4]).toMatch(/^\d+\.\d{3} nats a token, perplexity \d+\.\d\d$/);
  });

  it("two-models.ts: two stories, and how likely each model finds each", async () => {
    const { stdout, code } = await runModern(example("two-models"));
    expect(code).toBe(0);
    expect(stdout.toString()).toMatch(/^stories2M, fp32: One day/);
    expect(stdout.toString()).toMatch(/^stories2M, int8: One day/m);
    expect(stdout.toString().match(/^ {2}it finds story [12] at \d\.\d{3} nats a token$/gm)?.length).toBe(4);
  });

  it("chat.ts: answers each line, in about 30 lines of code", async () => {
    const { stdout, stderr, code } = await runModern(example("chat"), { stdin: "Hello\nTell me more\n/exit\n" });
    expect(code).toBe(0);
    expect(stderr).toContain("not made for chat");
    expect(stdout.toString().split("\n").length).toBeGreaterThan(2);
    const source = readFileSync(join(ROOT, "examples", "chat.ts"), "utf8");
    expect(source.trimEnd().split("\n").length).toBeLessThanOrEqual(36);
  });

  it("endpoint.ts: streams a story, refuses a prompt that is too long, and stops when the client leaves", async () => {
    const child = spawn(modernNode as string, example("endpoint", "0"), { stdio: ["ignore", "pipe", "inherit"] });
    const said = await new Promise<string>((resolve) => child.stdout.once("data", (chunk) => resolve(`${chunk}`)));
    const [, port] = /port: (\d+)/.exec(said) ?? [];
    const url = (prompt: string) => `http://127.0.0.1:${port}/?prompt=${encodeURIComponent(prompt)}`;
    expect(await (await fetch(url("Lily"))).text()).toMatch(/^Lily[\s\S]+\n$/);
    const refused = await fetch(url("word ".repeat(1000)));
    expect(refused.status).toBe(400);
    const left = await fetch(url("Tom"));
    await left.body?.cancel();
    expect(await (await fetch(url("One day"))).text()).toMatch(/^One day/);
    const ended = new Promise((resolve) => child.on("close", resolve));
    child.kill();
    await ended;
  });
});
