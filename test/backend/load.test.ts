import { describe, expect, it, vi } from "vitest";
import { load } from "../../src/backend/load.ts";
import type { Checkpoint } from "../../src/checkpoint/llama2c/checkpoint.ts";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { expectRejection } from "../helpers/errors.ts";
import { frugallyAsync } from "../helpers/frugally.ts";
import { type Fields, sparseFile } from "../helpers/sparse.ts";

const GOOD: Fields = [8, 6, 2, 2, 1, 7, 5];

/** Open a checkpoint that is right, all zeros, and as large as its header says. */
function opened(fields: Fields): Promise<Checkpoint> {
  return openFile(sparseFile(fields));
}

describe("a valid checkpoint that is too large", () => {
  it.each<[what: string, fields: Fields, ...parts: string[]]>([
    ["has more positions than float32 can count", [2, 1, 1, 1, 1, 4, 2 ** 30], "1073741824", "16777216", "at 4096"],
    ["has more layers than can be handled", [2, 1, 4097, 1, 1, 4, 1], "4097 layers", "4096"],
    ["has a matrix larger than an array can be", [4, 1, 1, 1, 1, 2 ** 30 + 1, 1], "4294967360", "4294967296"],
    ["has keys larger than an array can be", [8, 1, 33, 1, 1, 4, 2 ** 24], "4429185024", "at 2048"],
    [
      "has weights larger than the memory",
      [2 ** 15, 2 ** 15, 64, 1, 1, 4, 1],
      "the weights need",
      "of memory are available",
    ],
  ])("is refused before it is read when it %s", async (_, fields, ...parts) => {
    const checkpoint = await opened(fields);
    vi.spyOn(checkpoint, "pieces").mockImplementation(() => {
      throw new Error("it is read");
    });
    await expectRejection(
      frugallyAsync(() => load(checkpoint, "ts", 0, 0)),
      "E_LIMIT",
      ...parts,
    );
    checkpoint.close();
  });

  it("loads when the context is capped", async () => {
    const checkpoint = await opened([2, 1, 1, 1, 1, 4, 2 ** 30]);
    const { model, config } = await load(checkpoint, "ts", 64, 0);
    expect(config.seqLen).toBe(64);
    const context = model.openContext(1);
    expect(context.forward([{ token: 3, pos: 63, sequence: 0 }], 1)).toEqual(new Float32Array(4));
    checkpoint.close();
  });
});

describe("the context", () => {
  it.each([
    [0, 5],
    [3, 3],
    [5, 5],
    [9, 5],
  ])("asked for as %i is %i of a model made for 5 positions", async (asked, seqLen) => {
    const checkpoint = await opened(GOOD);
    expect((await load(checkpoint, "ts", asked, 0)).config.seqLen).toBe(seqLen);
    checkpoint.close();
  });
});
