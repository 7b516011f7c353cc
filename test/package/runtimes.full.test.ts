/*
 * The packed library in other runtimes, whose binaries come from npm.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { loadModel } from "../../src/index.ts";
import { hasAddon } from "../helpers/backends.ts";
import { consumerFolder, pack, run } from "../helpers/packed.ts";

/** Every backend tells the story of seed 42, several at a time; an abort stops one; the process ends by itself. */
const SMOKE = `
  import { loadModel } from "llama2.ts";
  const storyWith = async (model, options) => {
    let text = "";
    for await (const piece of model.generate("Once upon a time", { seed: 42, maxTokens: 24, ...options })) text += piece;
    return text;
  };
  const texts = new Set();
  for (const backend of process.argv.slice(2)) {
    const model = await loadModel(undefined, { backend });
    for (const text of await Promise.all([storyWith(model), storyWith(model)])) texts.add(text);
    const signal = AbortSignal.abort(new Error("enough"));
    const stopped = await storyWith(model, { signal }).catch(({ message }) => message);
    const [{ logprob }] = await model.score([1, 403, 407]);
    console.log(model.backend, stopped, logprob < 0);
    await model.dispose();
  }
  console.log([...texts].join("|"));`;

const BACKENDS = ["ts", "wasm", ...(hasAddon ? ["cpu"] : [])];

/** The program of an npm package, and the arguments before those of a script. */
const RUNTIMES: [name: string, find: string[], args: string[]][] = [
  ["Node 20", ["node@20", "-p", "process.execPath"], []],
  ["Node 22", ["node@22", "-p", "process.execPath"], []],
  ["Node 24", ["node@24", "-p", "process.execPath"], []],
  ["Bun", ["bun@1", "-p", "process.execPath"], []],
  ["Deno", ["deno@2", "eval", "console.log(Deno.execPath())"], ["run", "-A"]],
];

describe.skipIf(process.platform === "win32")("the library's smoke test", () => {
  let home: string;
  let here = ""; // the story in this runtime, where other tests compare it with run.c's
  beforeAll(async () => {
    const model = await loadModel();
    const story = model.generate("Once upon a time", { seed: 42, maxTokens: 24 });
    for await (const piece of story) here += piece;
    await model.dispose();
    home = consumerFolder(pack(), { withAddon: hasAddon });
    writeFileSync(join(home, "package.json"), '{ "type": "module" }');
    writeFileSync(join(home, "smoke.js"), SMOKE);
  });

  it.each(RUNTIMES)("passes in %s", { timeout: 300_000 }, (_, find, args) => {
    const program =
      execFileSync("npx", ["-y", ...find], { cwd: home, encoding: "utf8" })
        .trim()
        .split("\n")
        .at(-1) ?? "";
    const lines = run(home, program, [...args, "smoke.js", ...BACKENDS])
      .trimEnd()
      .split("\n");
    expect(lines).toEqual([...BACKENDS.map((backend) => `${backend} enough true`), here]);
  });
});
