/*
 * Damaged files, from a fixed seed. Each gives a Llama2Error, or something that works; never another error, and
 * never much time or memory.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { load } from "../../src/backend/load.ts";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { readTokenizer } from "../../src/checkpoint/tokenizer/find.ts";
import { Llama2Error } from "../../src/errors.ts";
import { decode, encode } from "../../src/llama2/tokenizer.ts";
import { frugallyAsync } from "../helpers/frugally.ts";
import { shortOrLong } from "../helpers/full.ts";
import { checkpointBytes, type Fields, writeSparse } from "../helpers/sparse.ts";
import { tempDir } from "../helpers/temp.ts";
import { BYTE_VOCAB, tokenizerBytes } from "../helpers/tokenizer.ts";

const RUNS = { seed: 20261124, numRuns: shortOrLong(300, 1500) };

/** What `work` returns, or undefined if it refuses with a typed error. */
async function accepted<T>(work: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await frugallyAsync(async () => work());
  } catch (error) {
    if (error instanceof Llama2Error) return undefined;
    throw error;
  }
}

/** Numbers at which something breaks. */
const edges = fc.constantFrom(
  ...[0, 1, 2, 3, 4, 7, 8, 255, 256, 2 ** 15, 2 ** 16 + 1, 2 ** 24, 2 ** 30, 2 ** 30 + 2, 2 ** 31 - 2, 2 ** 31 - 1],
  ...[-1, -2, -7, -(2 ** 30), -(2 ** 31) + 1, -(2 ** 31), 0x616b3432],
);
const int32 = fc.oneof(edges, fc.integer());

describe("checkpoints", () => {
  const small = fc.record({
    kvHeads: fc.integer({ min: 1, max: 4 }),
    queriesPerKvHead: fc.integer({ min: 1, max: 3 }),
    pairs: fc.integer({ min: 1, max: 4 }),
    hiddenDim: fc.integer({ min: 1, max: 20 }),
    nLayers: fc.integer({ min: 1, max: 3 }),
    vocabSize: fc.integer({ min: 1, max: 40 }),
    untied: fc.boolean(),
    seqLen: fc.integer({ min: 1, max: 20 }),
  });
  /** A header that is right. */
  const right = small.map(({ kvHeads, queriesPerKvHead, pairs, hiddenDim, nLayers, vocabSize, untied, seqLen }) => {
    const heads = kvHeads * queriesPerKvHead;
    return [2 * pairs * heads, hiddenDim, nLayers, heads, kvHeads, untied ? -vocabSize : vocabSize, seqLen];
  });
  const changes = fc.array(fc.tuple(fc.nat({ max: 6 }), int32), { maxLength: 3 });
  /** How many bytes more, or fewer, than the header asks for. */
  const sizeChange = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.constantFrom(-4, -1, 1, 4), fc.integer());
  const files = fc.tuple(right, changes, sizeChange).map(([fields, changes, more]) => {
    for (const [field, value] of changes) fields[field] = value;
    return { fields: fields as unknown as Fields, more };
  });

  /** Whether the header makes sense, by the rules of the format alone. */
  function makesSense([dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen]: Fields): boolean {
    const positive = [dim, hiddenDim, nLayers, nHeads, nKvHeads, seqLen].every((n) => n > 0);
    if (!positive || vocabSize === 0 || vocabSize === -(2 ** 31) || dim === 0x616b3432) return false;
    return dim % nHeads === 0 && nHeads % nKvHeads === 0 && (dim / nHeads) % 2 === 0;
  }

  it("are accepted if and only if header and size agree, and then compute", async () => {
    const path = join(tempDir(), "mutant.bin");
    const LARGEST_FILE = 2n ** 40n; // a hole, mostly
    let good = 0;
    await fc.assert(
      fc.asyncProperty(files, async ({ fields, more }) => {
        const sensible = makesSense(fields);
        const asked = sensible ? checkpointBytes(fields) : 5000n;
        const bytes = [28n, asked + BigInt(more), LARGEST_FILE].sort((a, b) => Number(a - b))[1];
        writeSparse(path, fields, bytes);
        const checkpoint = await accepted(() => openFile(path));
        expect(checkpoint !== undefined).toBe(sensible && bytes === asked);
        if (!checkpoint) return;
        if (bytes < 100_000n) {
          good++;
          const { model, config } = await load(checkpoint, "ts", 0, 0);
          const logits = model.openContext(1).forward([{ token: 0, pos: 0, sequence: 0 }], 1);
          expect(logits).toEqual(new Float32Array(config.vocabSize)); // all weights are 0
        }
        checkpoint.close();
      }),
      RUNS,
    );
    expect(good).toBeGreaterThan(RUNS.numRuns / 10);
  });

  it("of random bytes are refused", async () => {
    const path = join(tempDir(), "mutant.bin");
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300, size: "max" }), async (bytes) => {
        writeFileSync(path, bytes);
        expect(await accepted(() => openFile(path))).toBeUndefined();
      }),
      RUNS,
    );
  });
});

describe("tokenizers", () => {
  const pieces = [...BYTE_VOCAB, ["", 0], [" ", -1], ["a", -2], ["b", -3], ["ab", -4], [" ab", -4], ["é", -5]] as const;
  const original = tokenizerBytes(pieces);

  /** One thing that may happen to the bytes of a file. */
  const mutation: fc.Arbitrary<(bytes: Buffer) => Buffer> = fc.oneof(
    fc.tuple(fc.nat(), int32).map(([at, value]) => (bytes: Buffer) => {
      if (bytes.length >= 4) bytes.writeInt32LE(value, at % (bytes.length - 3));
      return bytes;
    }),
    fc.nat().map((at) => (bytes: Buffer) => bytes.subarray(0, at % (bytes.length + 1))),
    fc.tuple(fc.nat(), fc.uint8Array({ maxLength: 20 })).map(([at, more]) => (bytes: Buffer) => {
      const cut = at % (bytes.length + 1);
      return Buffer.concat([bytes.subarray(0, cut), more, bytes.subarray(cut)]);
    }),
    // a whole entry more, whose score may be anything
    fc.tuple(int32, fc.uint8Array({ maxLength: 3 })).map(([score, piece]) => (bytes: Buffer) => {
      const head = Buffer.alloc(8);
      head.writeInt32LE(score);
      head.writeInt32LE(piece.length, 4);
      return Buffer.concat([bytes, head, piece]);
    }),
  );
  const mutants = fc.array(mutation, { maxLength: 3 }).map((all) => {
    return all.reduce<Buffer>((bytes, mutate) => mutate(bytes), Buffer.from(original));
  });
  const texts = fc.uint8Array({ maxLength: 40, size: "max" }).map((bytes) => Buffer.from(bytes).toString("latin1"));

  it("are refused, or encode and decode any text", async () => {
    const path = join(tempDir(), "mutant.bin");
    let good = 0;
    await fc.assert(
      fc.asyncProperty(mutants, texts, async (bytes, text) => {
        writeFileSync(path, bytes);
        const tokenizer = await accepted(() => readTokenizer(path));
        if (!tokenizer) return;
        good++;
        const tokens = encode(tokenizer, `${text} ab é`, true, true);
        for (const [i, token] of tokens.entries()) {
          expect(tokenizer.vocab[token]).toBeTypeOf("string");
          expect(decode(tokenizer, tokens[i - 1] ?? -1, token)).toBeTypeOf("string");
        }
      }),
      RUNS,
    );
    expect(good).toBeGreaterThan(RUNS.numRuns / 10);
  });

  it("of random bytes are refused, or are read", async () => {
    const path = join(tempDir(), "mutant.bin");
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300, size: "max" }), async (bytes) => {
        writeFileSync(path, bytes);
        const tokenizer = await accepted(() => readTokenizer(path));
        const said = tokenizer?.vocab.reduce((sum, piece) => sum + 8 + piece.length, 4) ?? bytes.length;
        expect(said).toBe(bytes.length);
      }),
      RUNS,
    );
  });
});
