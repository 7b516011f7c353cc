import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { openFile } from "../src/checkpoint/openFile.ts";
import { defaultGroupSize } from "../src/llama2/quantize.ts";
import type { Config } from "../src/llama2/transformer.ts";
import { quantize } from "../src/quantize.ts";
import { checkpointFile, SHAPES } from "./helpers/checkpoint.ts";
import { rejected } from "./helpers/errors.ts";
import { ROOT } from "./helpers/golden.ts";
import { tempDir } from "./helpers/temp.ts";
import { patched, versionFile } from "./helpers/versions.ts";

describe("the group size", () => {
  it.each([
    [768, 2048, 64],
    [288, 768, 32],
    [512, 1376, 32], // export.py takes 64, which straddles rows of w2
    [64, 172, 4],
    [6, 10, 2],
    [3, 5, 1],
  ])("is, for dim %d and hidden_dim %d, %d", (dim, hiddenDim, expected) => {
    expect(defaultGroupSize({ dim, hiddenDim } as Config)).toBe(expected);
  });

  it("is accepted if it divides every matrix, even if it does not divide dim", async () => {
    const out = join(tempDir(), "out.bin");
    const header = await quantize(checkpointFile(SHAPES.gqa), out, { groupSize: 96 });
    expect(header.groupSize).toBe(96);
    expect((await openFile(out)).header).toEqual(header);
  });

  it.each([0, -1, 1.5, NaN, 2 ** 17, 7])("of %d is refused, and nothing written", async (groupSize) => {
    const out = join(tempDir(), "out.bin");
    const error = await rejected("E_USAGE", quantize(checkpointFile(SHAPES.gqa), out, { groupSize }));
    expect(error.message).toContain(groupSize === 7 ? "the 24576 numbers of tokenEmbeddingTable" : `${groupSize}`);
    expect(readdirSync(dirname(out))).toEqual([]);
  });
});

describe("quantize", () => {
  it("gives the same from versions 0 and 1, and keeps version 1's epsilon and theta", async () => {
    const folder = tempDir();
    const quantized = async (path: string, out: string) => {
      await quantize(path, join(folder, out));
      return readFileSync(join(folder, out));
    };
    const v1 = await versionFile(1, SHAPES.gqa);
    expect(await quantized(v1, "1")).toEqual(await quantized(checkpointFile(SHAPES.gqa), "0"));
    const special = patched(v1, (view) => {
      for (const [i, letter] of [..."eps0"].entries()) view.setUint8(64 + i, letter.charCodeAt(0));
      view.setFloat32(68, 1e-6, true);
    });
    await quantized(special, "special");
    const { config } = await openFile(join(folder, "special"));
    expect(config).toMatchObject({ normEps: Math.fround(1e-6), ropeTheta: 10000 });
  });

  it("refuses a model that is int8 already", async () => {
    const v2 = await versionFile(2, SHAPES.tiny);
    const error = await rejected("E_USAGE", quantize(v2, join(tempDir(), "out.bin")));
    expect(error.message).toContain("is int8 already");
  });

  it("refuses to replace the model that it reads", async () => {
    const path = checkpointFile(SHAPES.tiny);
    const before = readFileSync(path);
    const link = join(tempDir(), "link.bin");
    symlinkSync(path, link);
    for (const out of [path, link]) {
      expect((await rejected("E_USAGE", quantize(path, out))).message).toContain("would replace");
    }
    expect(readFileSync(path)).toEqual(before);
  });

  it.skipIf(process.platform === "win32")(
    "fails with a typed error, and leaves nothing, where it cannot write on",
    () => {
      const [path, out] = [checkpointFile(SHAPES.tiny), join(tempDir(), "out.bin")];
      const script = `
      import { quantize } from "${ROOT}/dist/quantize.js";
      await quantize(...process.argv.slice(1)).catch((error) => console.log(error.code, error.message));`;
      // a file may have 8 KiB here, and the model has 23
      const command = 'ulimit -f 8; exec "$0" --input-type=module -e "$1" "$2" "$3"';
      const said = execFileSync("bash", ["-c", command, process.execPath, script, path, out], { encoding: "utf8" });
      expect(said).toMatch(/^E_FILE cannot write .*out\.bin: .*EFBIG/);
      expect(existsSync(out)).toBe(false);
      expect(readdirSync(dirname(out))).toEqual([]);
    },
  );
});
