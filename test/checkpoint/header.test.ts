import { describe, expect, it } from "vitest";
import { formatHeader, type Header, parseHeader } from "../../src/checkpoint/llama2c/header.ts";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { DEFAULTS } from "../../src/llama2/transformer.ts";
import { SHAPES } from "../helpers/checkpoint.ts";
import { rejected } from "../helpers/errors.ts";
import { frugallyAsync } from "../helpers/frugally.ts";
import { patched, VERSIONS, versionFile } from "../helpers/versions.ts";

const refusal = async (path: string) => (await rejected("E_FORMAT", openFile(path))).message;

describe.each(VERSIONS)("hostile headers of version %d", async (version) => {
  const good = await versionFile(version, SHAPES.gqa);
  const start = version === 0 ? 0 : 8;
  const fields = ["dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len"];
  const withField = (field: string, value: number) =>
    patched(good, (view) => view.setInt32(start + 4 * fields.indexOf(field), value, true));

  it.each(fields)("%s of 0, -1 or INT_MIN is refused", async (field) => {
    const byte = start + 4 * fields.indexOf(field);
    for (const value of [0, -1, -(2 ** 31)]) {
      if (field === "vocab_size" && value === -1 && version === 0) continue; // a vocabulary of one, untied
      const path = withField(field, value);
      const message = await frugallyAsync(() => refusal(path));
      expect(message).toContain(`${path} is not a llama2.c checkpoint`);
      expect(message).toContain(`${field} at byte ${byte} is ${value}, expected a positive number`);
    }
  });

  it.each(fields)("%s of INT_MAX is refused in a file too small for it", async (field) => {
    if (field === "seq_len" && version !== 0) return; // no tensor has that size: see load.test.ts
    const path = withField(field, 2 ** 31 - 1);
    expect(await frugallyAsync(() => refusal(path))).toMatch(new RegExp(`${field}.* ${2 ** 31 - 1}`));
  });

  it("numbers that do not divide each other are refused", async () => {
    const [dim, heads, kvHeads] = [start, start + 12, start + 16];
    const bytes = (a: number, b: number) => `(bytes ${a} and ${b})`;
    const message = (field: string, value: number) => refusal(withField(field, value));
    expect(await message("n_heads", 5)).toContain(`dim 48 is not a multiple of n_heads 5 ${bytes(dim, heads)}`);
    for (const value of [4, 12]) {
      const said = `n_heads 6 is not a multiple of n_kv_heads ${value} ${bytes(heads, kvHeads)}`;
      expect(await message("n_kv_heads", value)).toContain(said);
    }
    expect(await message("n_heads", 16)).toContain("head size dim / n_heads is 3, expected an even number");
    expect(await message("n_heads", 16)).toContain(bytes(dim, heads));
  });

  it("products beyond 2^53 are counted exactly", async () => {
    const [dim, hidden, large] = [2 ** 30 + 2, 2 ** 30 + 1, 2 ** 30 + 3];
    const huge = patched(good, (view) => {
      for (const [i, value] of [dim, hidden, large, 1, 1, large, large].entries()) {
        view.setInt32(start + 4 * i, value, true);
      }
      if (version === 2) view.setInt32(37, 1, true); // a scale for each number
    });
    const [d, h, l] = [dim, hidden, large].map(BigInt);
    const matrices = l * d + l * (4n * d * d + 3n * d * h);
    const vectors = 2n * l * d + d + (version === 0 ? l * d : 0n); // with version 0's RoPE tables
    const bytes = (version === 0 ? 28n : 256n) + 4n * vectors + (version === 2 ? 5n : 4n) * matrices;
    expect(await refusal(huge)).toContain(`asks for ${bytes.toLocaleString("en-US")} bytes`);
  });
});

describe("versions 1 and 2", async () => {
  const [v1, v2] = [await versionFile(1, SHAPES.gqa), await versionFile(2, SHAPES.gqa)];

  it.each([-1, 0, 3, 2 ** 31 - 1])("version %d is named as unknown", async (version) => {
    const message = await refusal(patched(v1, (view) => view.setInt32(4, version, true)));
    expect(message).toContain(`byte 4 that it is version ${version},`);
  });

  it.each([2, 128, 255])("a shared-classifier flag of %d is refused", async (flag) => {
    for (const path of [v1, v2]) {
      expect(await refusal(patched(path, (view) => view.setUint8(36, flag)))).toMatch(
        `byte 36 is ${flag}, expected 0 or 1`,
      );
    }
  });

  it.each([0, -1, -(2 ** 31), 2 ** 16 + 1, 2 ** 31 - 1])("a group size of %d is refused", async (groupSize) => {
    const message = await refusal(patched(v2, (view) => view.setInt32(37, groupSize, true)));
    expect(message).toContain(`byte 37 is ${groupSize}, expected 1 to 65536`);
  });

  it("a group size that does not divide a tensor is refused, and the tensor named", async () => {
    expect(await refusal(patched(v2, (view) => view.setInt32(37, 7, true)))).toMatch(
      /groups of 7.*tokenEmbeddingTable/,
    );
  });

  const withConstants = (normEps: number, ropeTheta: number, tag = "eps0") =>
    patched(v2, (view) => {
      for (const [i, letter] of [...tag].entries()) view.setUint8(64 + i, letter.charCodeAt(0));
      view.setFloat32(68, normEps, true);
      view.setFloat32(72, ropeTheta, true);
    });

  it.each([NaN, Infinity, -1e-5, 1, -Infinity])("a norm epsilon of %d is refused", async (normEps) => {
    expect(await refusal(withConstants(normEps, 0))).toMatch(/norm epsilon at byte 68/);
  });

  it.each([NaN, Infinity, -10000, 0.5, -Infinity])("a RoPE theta of %d is refused", async (ropeTheta) => {
    expect(await refusal(withConstants(0, ropeTheta))).toMatch(/RoPE theta at byte 72/);
  });

  it("an unknown tag is refused", async () => {
    expect(await refusal(withConstants(1e-6, 10000, "eps1"))).toMatch(/bytes 64 to 67/);
  });

  it("carry epsilon and theta behind the tag eps0, where zeros mean llama2.c's", async () => {
    const constants = async (path: string) => {
      const { normEps, ropeTheta } = (await openFile(path)).config;
      return { normEps, ropeTheta };
    };
    expect(await constants(v2)).toEqual(DEFAULTS);
    expect(await constants(withConstants(0, 0))).toEqual(DEFAULTS);
    expect(await constants(withConstants(1e-6, 0))).toEqual({ ...DEFAULTS, normEps: Math.fround(1e-6) });
    expect(await constants(withConstants(0, 500000))).toEqual({ ...DEFAULTS, ropeTheta: 500000 });
    // without the tag these bytes mean nothing
    expect(await constants(withConstants(NaN, -1, "\0\0\0\0"))).toEqual(DEFAULTS);
  });

  it("are the same after writing and reading", async () => {
    const headers: Header[] = [
      (await openFile(v1)).header,
      (await openFile(v2)).header,
      (await openFile(withConstants(1e-6, 500000))).header,
      { ...(await openFile(v2)).header, sharedClassifier: false, groupSize: 12345 },
    ];
    for (const header of headers) expect(parseHeader(formatHeader(header), "model.bin")).toEqual(header);
  });
});
