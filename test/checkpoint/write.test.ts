import { readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { quantizeWeights } from "../../src/checkpoint/int8.ts";
import { writeCheckpoint } from "../../src/checkpoint/llama2c/write.ts";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { checkpointFile, SHAPES } from "../helpers/checkpoint.ts";
import { rejected } from "../helpers/errors.ts";
import { withoutLarge } from "../helpers/full.ts";
import { golden, hasShared, needsShared, sha256, sharedFile, sharedGolden } from "../helpers/golden.ts";
import { changed } from "../helpers/sources.ts";
import { sparseFile } from "../helpers/sparse.ts";
import { tempDir } from "../helpers/temp.ts";

interface Exported {
  bytes: number;
  sha256: string;
}

const goldens = golden<{
  cases: { shape: string; seed: number; untied: boolean; v1: Exported; v2: (Exported & { group_size: number })[] }[];
}>("export-int8.json").cases;

/** Write the checkpoint `path` as another version, and sum up the file. */
async function exported(path: string, version: 1 | 2, groupSize = 0): Promise<Exported> {
  const out = join(tempDir(), "out.bin");
  const source = await openFile(path);
  await writeCheckpoint(out, { ...source.header, version, groupSize }, source);
  source.close();
  const bytes = readFileSync(out);
  return { bytes: bytes.length, sha256: sha256(bytes) };
}

describe("files are export.py's, byte for byte", () => {
  it.each(withoutLarge(goldens))("shape $shape, untied: $untied", async ({ shape, seed, untied, v1, v2 }) => {
    const path = checkpointFile(SHAPES[shape], { seed, untied });
    expect(await exported(path, 1)).toEqual(v1);
    for (const { group_size, bytes, sha256 } of v2) {
      expect(await exported(path, 2, group_size)).toEqual({ bytes, sha256 });
    }
  });

  it.skipIf(!hasShared)(`stories260K, also in groups that straddle rows${needsShared}`, async () => {
    const { exports } = sharedGolden<{ exports: (Omit<(typeof goldens)[0], "shape"> & { source: string })[] }>(
      "export-int8.json",
    );
    const path = sharedFile("models/stories260K.bin");
    const stories = exports.filter(({ source }) => source === "stories260K");
    expect(stories.flatMap(({ v2 }) => v2.map((v) => v.group_size))).toEqual([64, 32, 4]);
    for (const { v1, v2 } of stories) {
      expect(await exported(path, 1)).toEqual(v1);
      for (const { group_size, bytes, sha256 } of v2) {
        expect(await exported(path, 2, group_size)).toEqual({ bytes, sha256 });
      }
    }
  });
});

describe("weights", () => {
  it("are rounded, halves to even", () => {
    const { q, s } = quantizeWeights(Float32Array.of(127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, -127), 8);
    expect([...q]).toEqual([127, 0, 2, 2, 0, -2, -2, -127]);
    expect([...s]).toEqual([1]);
  });

  it("become zeros in a group of zeros", () => {
    const { q, s } = quantizeWeights(Float32Array.of(0, -0, 254, 1), 2);
    expect([...q]).toEqual([0, 0, 127, 0]);
    expect([...s]).toEqual([0, 2]);
  });

  it.each([NaN, Infinity])("with a value of %d are refused by name", async (broken) => {
    const checkpoint = await openFile(checkpointFile(SHAPES.tiny));
    const source = changed(checkpoint, (piece, name, layer) => {
      if ("values" in piece && name === "w2" && layer === 1) piece.values[5] = broken;
      return piece;
    });
    const out = join(tempDir(), "out.bin");
    const writing = writeCheckpoint(out, { ...checkpoint.header, version: 2, groupSize: 8 }, source);
    expect((await rejected("E_NUMERIC", writing)).message).toContain("w2 of layer 1");
    expect(readdirSync(dirname(out))).toEqual([]);
  });
});

describe("a file is written completely or not at all", async () => {
  const source = await openFile(checkpointFile(SHAPES.tiny));
  const header = { ...source.header, version: 1 } as const;

  it("reports progress, and gets its name when all is written", async () => {
    const out = join(tempDir(), "out.bin");
    const steps: [number, number][] = [];
    const names = new Set<string>();
    const onProgress = (written: number, total: number) => {
      steps.push([written, total]);
      for (const name of readdirSync(dirname(out))) names.add(name);
    };
    await writeCheckpoint(out, header, source, { onProgress });
    expect([...names]).toEqual([expect.stringMatching(/^out\.bin\.[0-9a-f]{8}\.part$/)]);
    expect(readdirSync(dirname(out))).toEqual(["out.bin"]);
    const { size } = statSync(out);
    expect(steps.at(-1)).toEqual([size, size]);
    expect(steps.every(([written, total], i) => total === size && written > (steps[i - 1]?.[0] ?? 0))).toBe(true);
  });

  it("lets the caller's event loop run, and notices an abort, between two pieces of a tensor", async () => {
    const large = await openFile(sparseFile([96, 96, 1, 1, 1, 5_000, 1])); // a table of four pieces
    const to2 = { ...large.header, version: 2, groupSize: 48 } as const; // which end elsewhere than those of the file
    const controller = new AbortController();
    const order: string[] = [];
    const onProgress = (written: number) => {
      order.push(written > 2 ** 16 ? "piece" : "vector");
      setImmediate(() => order.push("caller"));
      if (order.filter((what) => what === "piece").length === 2) controller.abort(new Error("enough"));
    };
    const out = join(tempDir(), "out.bin");
    await expect(writeCheckpoint(out, to2, large, { onProgress, signal: controller.signal })).rejects.toThrow("enough");
    const vectors = Array(3).fill(["vector", "caller"]).flat();
    expect(order).toEqual([...vectors, "piece", "caller", "piece", "caller"]);
    large.close();
  });

  it("an abort or an error leaves the old file", async () => {
    const out = join(tempDir(), "out.bin");
    writeFileSync(out, "the old file");
    const controller = new AbortController();
    const stopped = writeCheckpoint(out, header, source, {
      signal: controller.signal,
      onProgress: () => controller.abort(new Error("enough")),
    });
    await expect(stopped).rejects.toThrow("enough");
    const failing = writeCheckpoint(out, header, source, {
      onProgress: (written) => {
        if (written > 2000) throw new Error("no more");
      },
    });
    await expect(failing).rejects.toThrow("no more");
    expect(readFileSync(out, "utf8")).toBe("the old file");
    expect(readdirSync(dirname(out))).toEqual(["out.bin"]);
  });

  it("replaces a file, also through a link, but nothing other than a file", async () => {
    const folder = tempDir();
    const [out, link] = [join(folder, "out.bin"), join(folder, "link.bin")];
    writeFileSync(out, "the old file");
    symlinkSync(out, link);
    await writeCheckpoint(link, header, source);
    expect(readdirSync(folder).sort()).toEqual(["link.bin", "out.bin"]);
    expect((await openFile(out)).header).toEqual(header);
    const message = (path: string) => rejected("E_FILE", writeCheckpoint(path, header, source)).then((e) => e.message);
    expect(await message(folder)).toContain("it is a directory");
    expect(await message("/dev/null")).toContain("it is not a regular file");
    expect(await message(join(folder, "none", "out.bin"))).toContain("there is no such folder");
    expect(await message("")).toContain("the name is empty");
  });

  it("of two written at the same time, one wins and is complete", async () => {
    const out = join(tempDir(), "out.bin");
    await Promise.all([1, 2, 3].map(() => writeCheckpoint(out, header, source)));
    expect(readdirSync(dirname(out))).toEqual(["out.bin"]);
    expect((await openFile(out)).header).toEqual(header);
  });
});
