import { cpSync, existsSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "../helpers/golden.ts";
import { modernNode, needsModernNode, runModern } from "../helpers/modernNode.ts";
import { tempDir } from "../helpers/temp.ts";

/** A clone after `npm ci`: sources and packages, and nothing built. */
function clone(): string {
  const folder = tempDir();
  for (const name of ["src", "models", "examples", "package.json"]) {
    cpSync(join(ROOT, name), join(folder, name), { recursive: true });
  }
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"), "junction");
  return folder;
}

describe.skipIf(!modernNode)(`the source runs without a build${needsModernNode}`, () => {
  const story = ["src/cli/main.ts", "--backend", "ts", "-t", "0", "-n", "20"];

  it("tells the story, and another one after an edit of transformer.ts", async () => {
    const folder = clone();
    const { code, stdout } = await runModern(story, { cwd: folder });
    expect(existsSync(join(folder, "dist"))).toBe(false);
    expect({ code, stdout: stdout.toString() }).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^Once upon a time/),
    });

    const path = join(folder, "src/llama2/transformer.ts");
    const source = readFileSync(path, "utf8");
    const line = "att[t] = score / f32(Math.sqrt(headSize));";
    expect(source).toContain(line); // the README names it
    writeFileSync(path, source.replace(line, "att[t] = -score / f32(Math.sqrt(headSize));"));
    const edited = await runModern(story, { cwd: folder });
    expect(edited.code).toBe(0);
    expect(edited.stdout.toString()).not.toBe(stdout.toString());
  });
});
