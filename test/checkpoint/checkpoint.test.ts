import { readFileSync, renameSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Checkpoint } from "../../src/checkpoint/llama2c/checkpoint.ts";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { floatPieces, type TensorName } from "../../src/llama2/weights.ts";
import { makeCheckpoint, type Shape } from "../helpers/checkpoint.ts";
import { expectRejection, rejected } from "../helpers/errors.ts";
import { tempDir } from "../helpers/temp.ts";

/** Grouped queries, and nothing that is a power of two. */
const SMALL: Shape = [12, 10, 2, 6, 3, 7, 5];
const HEADER_BYTES = 28;

/** The tensors of SMALL in file order, and how many numbers each has in a layer. */
const TENSORS: [name: TensorName | "ropeTables", layers: number, size: number][] = [
  ["tokenEmbeddingTable", 1, 7 * 12],
  ["rmsAttWeight", 2, 12],
  ["wq", 2, 12 * 12],
  ["wk", 2, 6 * 12],
  ["wv", 2, 6 * 12],
  ["wo", 2, 12 * 12],
  ["rmsFfnWeight", 2, 12],
  ["w1", 2, 10 * 12],
  ["w2", 2, 12 * 10],
  ["w3", 2, 10 * 12],
  ["rmsFinalWeight", 1, 12],
  ["ropeTables", 2, 5],
  ["wcls", 1, 7 * 12],
];

function fileWith(bytes: Uint8Array): string {
  const path = join(tempDir(), "model.bin");
  writeFileSync(path, bytes);
  return path;
}

async function readAll(checkpoint: Checkpoint, name: TensorName, layer: number): Promise<number[]> {
  const all: number[] = [];
  for await (const { values, offset } of floatPieces(checkpoint, name, layer)) {
    expect(offset).toBe(all.length);
    all.push(...values);
  }
  return all;
}

describe("a checkpoint", () => {
  const bytes = makeCheckpoint(SMALL, { untied: true });
  const numbers = new Float32Array(bytes.buffer.slice(HEADER_BYTES));

  it("has its tensors where the format says", async () => {
    const checkpoint = await openFile(fileWith(bytes));
    let at = 0;
    for (const [name, layers, size] of TENSORS) {
      for (let layer = 0; layer < layers; layer++, at += size) {
        if (name === "ropeTables") continue;
        expect(await readAll(checkpoint, name, layer), `${name} ${layer}`).toEqual([
          ...numbers.subarray(at, at + size),
        ]);
      }
    }
    expect(at).toBe(numbers.length);
    checkpoint.close();
  });

  it("gives a tensor larger than its buffer in pieces", async () => {
    const large: Shape = [2, 2, 1, 1, 1, 2 ** 16 + 3, 1];
    const bytes = makeCheckpoint(large);
    const checkpoint = await openFile(fileWith(bytes));
    const expected = new Float32Array(bytes.buffer.slice(HEADER_BYTES));
    const table = new Float32Array(2 * large[5]);
    let pieces = 0;
    for await (const { values, offset } of floatPieces(checkpoint, "tokenEmbeddingTable", 0)) {
      table.set(values, offset);
      pieces++;
    }
    expect(pieces).toBe(2);
    expect(Buffer.compare(Buffer.from(table.buffer), Buffer.from(expected.buffer, 0, table.byteLength))).toBe(0);
    checkpoint.close();
  });

  it("has a classifier of its own where vocab_size is negative", async () => {
    const tied = await openFile(fileWith(makeCheckpoint(SMALL)));
    const untied = await openFile(fileWith(bytes));
    expect([tied.sharedClassifier, untied.sharedClassifier]).toEqual([true, false]);
    expect([tied.config.vocabSize, untied.config.vocabSize]).toEqual([7, 7]);
    tied.close();
    untied.close();
  });
});

describe("a checkpoint of the wrong size", () => {
  const bytes = makeCheckpoint(SMALL, { untied: true });
  const sized = (n: number) => `${n.toLocaleString("en-US")} bytes`;

  it("is refused when cut within its header, with both sizes", async () => {
    const path = fileWith(bytes);
    for (let size = HEADER_BYTES - 1; size >= 0; size--) {
      truncateSync(path, size);
      const { message } = await rejected("E_FORMAT", openFile(path));
      expect(message).toMatch(size === 0 ? "it is empty" : `it has ${size} byte${size === 1 ? "," : "s,"}`);
      if (size > 0) expect(message).toMatch(`the header alone has ${HEADER_BYTES}`);
    }
  });

  it("is refused when cut anywhere after it, at a tensor's boundary or near it, with both sizes", async () => {
    const path = fileWith(bytes);
    for (let size = bytes.length - 1; size >= HEADER_BYTES; size--) {
      truncateSync(path, size);
      const { message } = await rejected("E_FORMAT", openFile(path));
      expect(message).toContain(`${path} has ${sized(size)}, but its header`);
      expect(message).toContain(`asks for ${sized(bytes.length)}. It was cut short`);
    }
  });

  it.each([1, 3, 4, 4 * 7 * 12])("is refused with %i bytes more at its end", async (more) => {
    const path = fileWith(Buffer.concat([bytes, Buffer.alloc(more)]));
    await expectRejection(
      openFile(path),
      "E_FORMAT",
      `has ${sized(bytes.length + more)}`,
      `asks for ${sized(bytes.length)}`,
      "something else at its end",
    );
  });

  it("is refused when the sign of vocab_size is wrong", async () => {
    const lying = Buffer.from(bytes);
    lying.writeInt32LE(7, 20);
    const path = fileWith(lying);
    await expectRejection(openFile(path), "E_FORMAT", sized(bytes.length), sized(bytes.length - 4 * 7 * 12));
  });
});

describe("a checkpoint that changes while it is read", () => {
  it("is refused when it was shortened, with the place where it ends", async () => {
    const path = fileWith(makeCheckpoint(SMALL));
    const size = readFileSync(path).length;
    const checkpoint = await openFile(path);
    truncateSync(path, 500);
    expect(await readAll(checkpoint, "tokenEmbeddingTable", 0)).toHaveLength(7 * 12); // up to byte 364
    await expectRejection(
      readAll(checkpoint, "w3", 1),
      "E_FORMAT",
      path,
      `it had ${size.toLocaleString("en-US")} bytes`,
      /ends at byte \d+/,
    );
    checkpoint.close();
  });

  it("is still read when another file takes its name", async () => {
    const path = fileWith(makeCheckpoint(SMALL, { seed: 1 }));
    const checkpoint = await openFile(path);
    const before = await readAll(checkpoint, "wq", 1);
    renameSync(fileWith(makeCheckpoint(SMALL, { seed: 2 })), path);
    expect(await readAll(checkpoint, "wq", 1)).toEqual(before);
    checkpoint.close();
  });
});
