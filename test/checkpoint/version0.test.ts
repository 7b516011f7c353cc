import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { expectRejection } from "../helpers/errors.ts";
import { frugallyAsync } from "../helpers/frugally.ts";
import { checkpointBytes, type Fields, sparseFile } from "../helpers/sparse.ts";
import { tempDir } from "../helpers/temp.ts";

const INT_MAX = 2 ** 31 - 1;

const bytesOf = (n: bigint) => n.toLocaleString("en-US");

function fileWith(bytes: Uint8Array | string): string {
  const path = join(tempDir(), "model.bin");
  writeFileSync(path, bytes);
  return path;
}

describe("a file of another kind", () => {
  it.each([
    ["an HTML page", "<!DOCTYPE html>\n<html><body>404</body></html>", "an HTML page"],
    ["an HTML page that begins late", "\r\n\t <html lang='en'>", "an HTML page"],
    [
      "a Git LFS pointer",
      "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 60816028\n",
      "Git LFS pointer",
    ],
    ["a zip file", "PK\x03\x04 and so on, for longer than a header has", "a zip file"],
    ["a GGUF file", "GGUF\x03\0\0\0 and so on, for longer than a header", "a GGUF file"],
  ])("is named: %s", async (_, content, name) => {
    const path = fileWith(content);
    await expectRejection(openFile(path), "E_FORMAT", path, name);
  });

  it("is recognised as text, not taken for a checkpoint", async () => {
    const path = fileWith("Once upon a time, there was a little girl named Lily. She loved to play outside.");
    await expectRejection(
      frugallyAsync(() => openFile(path)),
      "E_FORMAT",
      path,
      "not a llama2.c checkpoint",
    );
  });
});

describe("sizes beyond 2^53", () => {
  const huge: [what: string, fields: Fields][] = [
    ["everything as large as it can be", [INT_MAX - 1, INT_MAX, INT_MAX, 1, 1, -INT_MAX, INT_MAX]],
    // in float64, dim * n_kv_heads / n_heads is a fraction here
    ["as many key/value heads as there are", [992648712, 1, 1, 496324356, 496324356, 1, 1]],
    // in 64 bits, the sizes of the layers alone come out as 0
    ["products that wrap", [2 ** 30, 2 ** 30, 2 ** 30, 1, 1, 1, 1]],
  ];

  it.each(huge)("are computed exactly: %s", async (_, fields) => {
    expect(checkpointBytes(fields)).toBeGreaterThan(2n ** 53n);
    const path = sparseFile(fields, 1000);
    await expectRejection(
      frugallyAsync(() => openFile(path), { bytes: 1 << 16 }),
      "E_FORMAT",
      path,
      `has 1,000 bytes`,
      `asks for ${bytesOf(checkpointBytes(fields))} bytes`,
    );
  });
});
