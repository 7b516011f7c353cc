import { existsSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { checkpointFile, SHAPES } from "../helpers/checkpoint.ts";
import { llama2 } from "../helpers/cli.ts";
import { tempDir } from "../helpers/temp.ts";

describe("llama2 quantize", () => {
  it("writes an int8 model that runs", async () => {
    const [path, out] = [checkpointFile(SHAPES.gqa), join(tempDir(), "int8.bin")];
    const { code, stdout, stderr } = await llama2(["quantize", path, out]);
    expect([code, stdout.length]).toEqual([0, 0]);
    expect(stderr).toBe(
      `${out}: ${(statSync(out).size / 1e6).toFixed(1)} MB in groups of 16, from ${(statSync(path).size / 1e6).toFixed(1)} MB\n`,
    );
    const logits = await llama2(["logits", out, "--tokens", "1,2,3"]);
    expect([logits.code, logits.stdout.length]).toEqual([0, 3 * 4 * 512]);
  });

  it("takes a group size", async () => {
    const out = join(tempDir(), "int8.bin");
    expect((await llama2(["quantize", checkpointFile(SHAPES.gqa), out, "--group-size", "96"])).code).toBe(0);
    expect((await openFile(out)).header.groupSize).toBe(96);
  });

  it.each(["7", "0", "-1", "1.5", "x", "65537"])("refuses a group size of %s with exit code 2", async (groupSize) => {
    const out = join(tempDir(), "int8.bin");
    const { code, stderr } = await llama2(["quantize", checkpointFile(SHAPES.gqa), out, "--group-size", groupSize]);
    expect(code).toBe(2);
    expect(stderr).toMatch(groupSize === "7" ? /groups of 7 do not divide/ : /--group-size/);
    expect(readdirSync(dirname(out))).toEqual([]);
  });

  it.each([[[]], [["model.bin"]], [["a", "b", "c"]]])("refuses the arguments %j with exit code 2", async (args) => {
    expect((await llama2(["quantize", ...args])).code).toBe(2);
  });

  it("names the file that is missing, with exit code 1", async () => {
    const out = join(tempDir(), "int8.bin");
    const { code, stderr } = await llama2(["quantize", "no such file.bin", out]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/no such file\.bin.*E_FILE/);
    expect(existsSync(out)).toBe(false);
  });
});
