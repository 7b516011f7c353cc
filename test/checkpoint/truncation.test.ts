import { readFileSync, truncateSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { SHAPES } from "../helpers/checkpoint.ts";
import { rejected } from "../helpers/errors.ts";
import { fileOf, VERSIONS, versionFile } from "../helpers/versions.ts";

const [dim, hiddenDim, nLayers, nHeads, nKvHeads, vocabSize, seqLen] = SHAPES.gqa;
const kvDim = (dim / nHeads) * nKvHeads;
const groupSize = 16;

const vocabulary = [vocabSize * dim];
const norms = Array(nLayers).fill(dim);
const attention = [dim * dim, kvDim * dim, kvDim * dim, dim * dim];
const ffn = [hiddenDim * dim, dim * hiddenDim, hiddenDim * dim];
const perLayer = (sizes: number[]) => sizes.flatMap((size) => Array(nLayers).fill(size) as number[]);

const float32 = (sizes: number[]) => sizes.map((n) => 4 * n);
const int8 = (sizes: number[]) => sizes.flatMap((n) => [n, (4 * n) / groupSize]); // numbers, then scales

/** The bytes of every part of a file, as the format has them. */
const PARTS = {
  0: [
    28,
    ...float32([...vocabulary, ...norms, ...perLayer(attention), ...norms, ...perLayer(ffn), dim]),
    ...float32([seqLen * (dim / nHeads / 2), seqLen * (dim / nHeads / 2)]),
    ...float32(vocabulary),
  ],
  1: [
    256,
    ...float32([...norms, ...norms, dim, ...vocabulary, ...perLayer(attention), ...perLayer(ffn), ...vocabulary]),
  ],
  2: [
    256,
    ...float32([...norms, ...norms, dim]),
    ...int8([...vocabulary, ...perLayer(attention), ...perLayer(ffn), ...vocabulary]),
  ],
};

describe.each(VERSIONS)("version %d", async (version) => {
  const path = await versionFile(version, SHAPES.gqa, { untied: true, groupSize });
  const bytes = readFileSync(path);
  const parts = PARTS[version];
  const refusal = async (size: number) => {
    const file = fileOf(size > bytes.length ? Buffer.concat([bytes, Buffer.alloc(size - bytes.length)]) : bytes);
    truncateSync(file, size);
    return (await rejected("E_FORMAT", openFile(file))).message;
  };
  const text = (n: number) => `${n.toLocaleString("en-US")} byte`;

  it("has the parts of the format", async () => {
    expect(parts.reduce((a, b) => a + b)).toBe(bytes.length);
    (await openFile(path)).close();
  });

  it("cut short within its header is refused, with both sizes", async () => {
    expect(await refusal(0)).toMatch(/empty/);
    for (let size = 1; size < parts[0]; size++) {
      const message = await refusal(size);
      expect(message).toContain(text(size));
      // a few bytes do not tell the version
      expect(message).toContain(size < 8 ? "28" : String(parts[0]));
    }
  });

  it("cut short or longer by a byte at the end of any part is refused, with both sizes", async () => {
    let end = 0;
    for (const part of parts) {
      end += part;
      for (const size of [end - 1, end, end + 1]) {
        if (size === bytes.length) continue;
        const message = await refusal(size);
        expect(message).toContain(text(size));
        expect(message).toContain(size < parts[0] ? String(parts[0]) : text(bytes.length));
      }
    }
  });

  it("shortened while it is read is refused", async () => {
    const file = fileOf(bytes);
    const checkpoint = await openFile(file);
    truncateSync(file, bytes.length - 1);
    const read = async () => {
      for await (const _ of checkpoint.pieces("wcls", 0, 1));
    };
    expect((await rejected("E_FORMAT", read())).message).toMatch(`ends at byte ${bytes.length - 1}`);
    checkpoint.close();
  });
});
