import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { openSafetensors } from "../../../src/checkpoint/safetensors.ts";
import { Llama2Error } from "../../../src/errors.ts";
import { rejected } from "../../helpers/errors.ts";
import type { TensorToWrite } from "../../helpers/formats/numbers.ts";
import { safetensorsBytes, safetensorsOf } from "../../helpers/formats/safetensors.ts";
import { memoryFile } from "../../helpers/formats/source.ts";

const open = (bytes: Uint8Array) => openSafetensors(memoryFile(bytes, "model.safetensors"));
const zeros = (n: number) => new Uint8Array(n);
const tensors: TensorToWrite[] = [
  { name: "a", type: "F32", shape: [2, 3], values: Float32Array.of(1, 2, 3, 4, 5, 6) },
  { name: "b", type: "F16", shape: [4], values: Float32Array.of(1, 2, 3, 4) },
  { name: "empty", type: "F32", shape: [0, 3], values: new Float32Array() },
];
const good = safetensorsBytes(tensors, { format: "pt" });

describe("a safetensors file", () => {
  it("says where its tensors are", async () => {
    const found = [...(await open(good)).values()].map(({ file: _, ...tensor }) => tensor);
    const start = good.length - 32;
    expect(found).toEqual([
      { name: "a", type: "F32", shape: [2, 3], offset: start, bytes: 24 },
      { name: "b", type: "F16", shape: [4], offset: start + 24, bytes: 8 },
      { name: "empty", type: "F32", shape: [0, 3], offset: start + 32, bytes: 0 },
    ]);
  });

  it("is opened without reading its tensors", async () => {
    const file = memoryFile(
      safetensorsOf('{"a":{"dtype":"U8","shape":[100000],"data_offsets":[0,100000]}}', zeros(100000)),
    );
    await openSafetensors(file);
    expect(file.bytesRead).toBeLessThan(200);
  });

  it("may lack metadata, and have spaces after its header", async () => {
    expect((await open(safetensorsOf("{}   ", zeros(0)))).size).toBe(0);
  });

  it("is refused if it is cut at any byte, or has one byte more", async () => {
    for (let length = 0; length < good.length; length++) await rejected("E_FORMAT", open(good.slice(0, length)));
    await rejected("E_FORMAT", open(Buffer.concat([good, zeros(1)])));
  });
});

const one = (entry: object | string | number | null, name = "a") => JSON.stringify({ [name]: entry });
const entry = { dtype: "F32", shape: [2], data_offsets: [0, 8] };

describe("a safetensors file is refused with", () => {
  it.each([
    ["a header longer than the file", safetensorsOf("{}", zeros(0), 3), /the file 10/],
    ["a header longer than any", safetensorsOf("{}", zeros(0), 2n ** 64n - 1n), /has 18446744073709552000 bytes/],
    ["a header of nothing", safetensorsOf("", zeros(2)), /does not begin with \{/],
    ["a header that is a list", safetensorsOf("[]", zeros(0)), /does not begin with \{/],
    ["a header that begins with a space", safetensorsOf(" {}", zeros(0)), /does not begin with \{/],
    [
      "a header that is not UTF-8",
      safetensorsOf(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d), zeros(0)),
      /UTF-8/,
    ],
    ["a header that is no JSON", safetensorsOf("{]", zeros(0)), /not JSON/],
    [
      "a name twice",
      safetensorsOf(`{"a":${JSON.stringify(entry)},"a":${JSON.stringify(entry)}}`, zeros(8)),
      /"a" twice/,
    ],
    ["the name __proto__", safetensorsOf(`{"__proto__":${JSON.stringify(entry)}}`, zeros(8)), /__proto__/],
    ["metadata that is not an object", safetensorsOf('{"__metadata__":[]}', zeros(0)), /__metadata__/],
    ["metadata that is not text", safetensorsOf('{"__metadata__":{"a":1}}', zeros(0)), /__metadata__/],
    ["a tensor that is not an object", safetensorsOf(one(7), zeros(0)), /not an object/],
    ["a dtype that is not known", safetensorsOf(one({ ...entry, dtype: "F4" }), zeros(8)), /dtype "F4"/],
    ["a dtype of Object.prototype", safetensorsOf(one({ ...entry, dtype: "toString" }), zeros(8)), /dtype "toString"/],
    ["a dtype that is not text", safetensorsOf(one({ ...entry, dtype: { toString: 1 } }), zeros(8)), /no dtype/],
    ["a negative size", safetensorsOf(one({ ...entry, shape: [-2] }), zeros(8)), /invalid shape/],
    ["a fraction", safetensorsOf(one({ ...entry, shape: [2.5] }), zeros(8)), /invalid shape/],
    ["a size as text", safetensorsOf(one({ ...entry, shape: ["2"] }), zeros(8)), /invalid shape/],
    [
      "offsets beyond 2^53",
      safetensorsOf(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[9007199254740993,9007199254741001]}}`, zeros(8)),
      /invalid data_offsets/,
    ],
    ["one offset", safetensorsOf(one({ ...entry, data_offsets: [8] }), zeros(8)), /invalid data_offsets/],
    [
      "offsets the wrong way round",
      safetensorsOf(one({ ...entry, data_offsets: [8, 0] }), zeros(8)),
      /take 8 bytes, and has -8/,
    ],
    [
      "another size than the shape's",
      safetensorsOf(one({ ...entry, shape: [3] }), zeros(8)),
      /take 12 bytes, and has 8/,
    ],
    ["a product that wraps", safetensorsOf(one({ ...entry, shape: [2 ** 32, 2 ** 32] }), zeros(8)), /and has 8/],
    ["a field too many", safetensorsOf(one({ ...entry, strides: [1] }), zeros(8)), /"strides"/],
    ["a hole before", safetensorsOf(one({ ...entry, data_offsets: [4, 12] }), zeros(12)), /begins at byte/],
    [
      "a hole between",
      safetensorsOf(JSON.stringify({ a: entry, b: { ...entry, data_offsets: [9, 17] } }), zeros(17)),
      /begins at byte/,
    ],
    [
      "an overlap",
      safetensorsOf(JSON.stringify({ a: entry, b: { ...entry, data_offsets: [4, 12] } }), zeros(12)),
      /begins at byte/,
    ],
    ["the same bytes twice", safetensorsOf(JSON.stringify({ a: entry, b: entry }), zeros(8)), /begins at byte/],
  ])("%s", async (_, bytes, message) => {
    expect((await rejected("E_FORMAT", open(bytes))).message).toMatch(message);
  });

  it("100,000 tensors", async () => {
    const entries = Array.from(
      { length: 100_000 },
      (_, i) => `"t${i}":{"dtype":"U8","shape":[1],"data_offsets":[${i},${i + 1}]}`,
    );
    const bytes = safetensorsOf(`{${entries.join(",")}}`, zeros(100_000));
    await rejected("E_LIMIT", open(bytes));
  });
});

it("a damaged safetensors file is refused with a typed error, or all its tensors lie within it", async () => {
  const header = Buffer.from(good).toString("latin1", 8, good.length - 32);
  const change = fc.record({
    at: fc.nat(header.length),
    remove: fc.nat(4),
    insert: fc.constantFrom(
      "",
      "0",
      "9",
      "-",
      ".5",
      "e9",
      '"',
      "{",
      "}",
      "[",
      "]",
      ",",
      ":",
      "a",
      "F64",
      "BF16",
      "\\u0061",
      "\xff",
    ),
  });
  const outcomes: Record<string, number> = {};
  const property = fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
    let text = header;
    for (const { at, remove, insert } of changes) text = text.slice(0, at) + insert + text.slice(at + remove);
    const bytes = safetensorsOf(Buffer.from(text, "latin1"), good.slice(good.length - 32));
    const did = await open(bytes).then(
      () => "opened",
      (error: unknown) => {
        if (error instanceof Llama2Error) return error.code;
        throw error;
      },
    );
    outcomes[did] = (outcomes[did] ?? 0) + 1;
  });
  await fc.assert(property, { seed: 20, numRuns: 3000 });
  expect(outcomes.opened).toBeGreaterThan(50);
  expect(outcomes.E_FORMAT).toBeGreaterThan(1000);
});
