/*
 * The recipe of docs/scale.md, as printed: when one job is killed half way, no story is lost or generated twice.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadModel } from "../../src/index.ts";
import { MAIN } from "../helpers/cli.ts";
import { ROOT } from "../helpers/golden.ts";
import { tempDir } from "../helpers/temp.ts";

const hasParallel = spawnSync("parallel", ["--version"]).status === 0 || Boolean(process.env.CI);
const needsParallel = hasParallel ? "" : " (skipped: there is no GNU parallel; apt-get install parallel)";

const doc = readFileSync(join(ROOT, "docs", "scale.md"), "utf8");
const [tell, merge] = [...doc.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, block]) => block);

const TOTAL = 60;

describe.skipIf(!hasParallel)(`the recipe for many stories${needsParallel}`, () => {
  const cwd = tempDir();
  const bin = join(cwd, "bin");
  mkdirSync(bin);
  // the third job's process is killed the first time, in the middle of its stories
  const llama2 = `#!/bin/bash
if [ "$4" = 21 ] && [ ! -e "${cwd}/killed" ]; then
  touch "${cwd}/killed"
  "${process.execPath}" "${MAIN}" "$@" | head -c 3000
  kill -9 $$
fi
exec "${process.execPath}" "${MAIN}" "$@"
`;
  writeFileSync(join(bin, "llama2"), llama2, { mode: 0o755 });
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}`, TOTAL: `${TOTAL}`, SHARD: "10" };

  function bash(lines: string): Promise<number | null> {
    const child = spawn("bash", ["-c", lines], { cwd, env, stdio: "ignore" });
    return new Promise((resolve) => child.on("close", resolve));
  }

  it("generates each story once, whichever job was killed", async () => {
    expect(await bash(tell)).not.toBe(0); // as many as jobs that failed
    expect(existsSync(join(cwd, "stories", "21.part"))).toBe(true);
    expect(existsSync(join(cwd, "stories", "21.jsonl"))).toBe(false);
    expect(await bash(tell)).toBe(0);
    expect(await bash(merge)).toBe(0);
    const lines = readFileSync(join(cwd, "stories", "all.jsonl"), "utf8")
      .trimEnd()
      .split("\n");
    const stories = lines.map((line) => JSON.parse(line) as { seed: string; text: string });
    expect(stories.map(({ seed }) => seed)).toEqual(Array.from({ length: TOTAL }, (_, k) => `${k + 1}`));
    const model = await loadModel();
    for (const k of [0, 24, TOTAL - 1]) {
      expect(stories[k].text).toBe(await model.generate("", { seed: k + 1 }).text());
    }
    await model.dispose();
    // finished jobs are not run again
    const log = readFileSync(join(cwd, "stories", "jobs.log"), "utf8");
    expect(await bash(tell)).toBe(0);
    expect(readFileSync(join(cwd, "stories", "jobs.log"), "utf8")).toBe(log);
  });
});
