import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readZip } from "../../../src/checkpoint/torch/zip.ts";
import { Llama2Error } from "../../../src/errors.ts";
import { rejected } from "../../helpers/errors.ts";
import { memoryFile } from "../../helpers/formats/source.ts";
import { bytesOf, type Entry, struct, type ZipOptions, zipBytes } from "../../helpers/formats/zip.ts";

const data = (length: number) => Uint8Array.from({ length }, (_, i) => i);
const entries: Entry[] = [
  { name: "archive/data.pkl", data: data(5) },
  { name: "archive/data/0", data: data(40) },
  { name: "archive/data/1", data: data(0) },
  { name: "archive/version", data: data(2) },
];
const open = (bytes: Uint8Array) => readZip(memoryFile(bytes, "model.pth"));
const zipOf = (change: Partial<Entry>, options: ZipOptions = {}) =>
  zipBytes(
    entries.map((entry, i) => (i === 1 ? { ...entry, ...change } : entry)),
    options,
  );

describe("a zip of torch.save", () => {
  it.each([true, false])("says where its entries are (64-bit end: %s)", async (end64) => {
    const bytes = zipBytes(entries, { end64 });
    const found = await open(bytes);
    expect([...found.keys()]).toEqual(["data.pkl", "data/0", "data/1", "version"]);
    const at = (name: string) => found.get(name) as { offset: number; size: number };
    expect(bytes.slice(at("data/0").offset, at("data/0").offset + 40)).toEqual(data(40));
    expect(at("data/0").offset % 64).toBe(0);
    expect(at("data/1").size).toBe(0);
  });

  it("may have sizes before the data, and another folder", async () => {
    const named = entries.map((entry) => ({
      ...entry,
      name: entry.name.replace("archive", "my model"),
      local: { flags: 0x800 },
      central: { flags: 0x800 },
    }));
    expect((await open(zipBytes(named))).size).toBe(4);
  });

  it("is refused if it is cut at any byte", async () => {
    const bytes = zipBytes(entries);
    for (let length = 0; length < bytes.length; length++) await rejected("E_FORMAT", open(bytes.slice(0, length)));
  });
});

describe("a zip of torch.save is refused with", () => {
  const end = (patch: (end64: DataView, locator: DataView, end: DataView) => void) =>
    zipBytes(entries, { patchEnd: patch });
  it.each([
    ["bytes before the first record", zipBytes(entries, { before: data(3) }), /should begin at byte 0/],
    ["bytes after the last record", zipBytes(entries, { gap: data(3) }), /last record ends at/],
    ["bytes after the end", zipBytes(entries, { after: data(3) }), /does not end with the directory/],
    ["a second end of the directory", Buffer.concat([zipBytes(entries), zipBytes(entries).slice(-22)]), /directory/],
    ["a zip after a zip", Buffer.concat([zipBytes(entries), zipBytes(entries)]), /directory/],
    ["a comment", end((_, __, e) => e.setUint16(20, 1, true)), /comment/],
    ["several disks", end((_, __, e) => e.setUint16(4, 1, true)), /disks/],
    ["several disks in 64 bits", end((e) => e.setUint32(16, 1, true)), /disks/],
    ["two counts", end((_, __, e) => e.setUint16(8, 3, true)), /disks/],
    [
      "two ends that differ in the count",
      end((e) => {
        e.setUint32(24, 3, true);
        e.setUint32(32, 3, true);
      }),
      /two ends/,
    ],
    ["two ends that differ in the place", end((e) => e.setUint32(48, 1, true)), /two ends/],
    ["a 64-bit end that is elsewhere", end((_, l) => l.setUint32(8, 4, true)), /64-bit end/],
    ["a 64-bit end of another length", end((e) => e.setUint32(4, 60, true)), /another length/],
    [
      "a directory that is elsewhere",
      zipBytes(entries, { end64: false, patchEnd: (_, __, e) => e.setUint32(16, 1, true) }),
      /directory lies at/,
    ],
    [
      "fewer entries than the directory has",
      zipBytes(entries, {
        end64: false,
        patchEnd: (_, __, e) => {
          e.setUint16(8, 3, true);
          e.setUint16(10, 3, true);
        },
      }),
      /bytes more than entries/,
    ],
    [
      "more entries than the directory has",
      zipBytes(entries, {
        end64: false,
        patchEnd: (_, __, e) => {
          e.setUint16(8, 5, true);
          e.setUint16(10, 5, true);
        },
      }),
      /entry 4 .* is not an entry/,
    ],
    ["a compressed entry", zipOf({ central: { method: 8 }, local: { method: 8 } }), /compressed \(method 8\)/],
    ["an entry that is compressed in its record only", zipOf({ local: { method: 8 } }), /and the directory differ/],
    ["an encrypted entry", zipOf({ central: { flags: 0x809 }, local: { flags: 0x809 } }), /encrypted/],
    ["another flag", zipOf({ central: { flags: 0x2808 }, local: { flags: 0x2808 } }), /flags/],
    ["flags that differ", zipOf({ local: { flags: 0x800 } }), /differ/],
    ["a link", zipOf({ central: { attributes: 0xa1ff0000 } }), /link/],
    ["an entry on another disk", zipOf({ central: { disk: 1 } }), /another disk/],
    ["two names", zipOf({ local: { name: "archive/data/9" } }), /differ/],
    ["two checksums", zipOf({ central: { crc: 7 } }), /other sizes at its end/],
    ["a checksum before the data, under the flag that it follows", zipOf({ local: { crc: 7 } }), /differ/],
    ["two sizes", zipOf({ central: { size: 41 } }), /other sizes|reaches/],
    ["a size that packing changed", zipOf({ central: { packed: 39 } }), /two sizes/],
    ["a record that another one holds", zipOf({ central: { offset: 0 } }), /should begin at|differ/],
    ["an extra field", zipOf({ central: { extra: data(4) } }), /extra field/],
    [
      "64-bit numbers that nothing asks for",
      zipOf({
        central: {
          extra: bytesOf(
            struct(12, [
              [0, 2, 1],
              [2, 2, 8],
              [4, 8, 40],
            ]),
          ),
        },
      }),
      /extra field/,
    ],
    ["64-bit numbers that are missing", zipOf({ central: { size: 0xffffffff } }), /extra field/],
    ["a comment of an entry", zipOf({ central: { comment: data(2) } }), /comment|none/],
    ["the same name twice", zipOf({ name: "archive/data.pkl" }), /two entries/],
    ["two folders", zipOf({ name: "other/data.pkl" }), /an entry "other/],
    ["a path upwards", zipOf({ name: "archive/../data/0" }), /an entry "archive\/\.\./],
    ["an absolute path", zipOf({ name: "/archive/data/0" }), /an entry/],
    ["a name of Windows", zipOf({ name: "archive\\data\\0" }), /an entry/],
    ["a key that is not a number", zipOf({ name: "archive/data/0x1" }), /an entry/],
    ["a name with a NUL", zipOf({ name: "archive/data/0\0" }), /an entry/],
    ["a file that torch.save does not write", zipOf({ name: "archive/evil.py" }), /an entry "archive\/evil.py"/],
    ["a program", zipOf({ name: "archive/code/__torch__.py" }), /TorchScript/],
  ])("%s", async (_, bytes, message) => {
    expect((await rejected("E_FORMAT", open(bytes))).message).toMatch(message);
  });

  it("a directory of more entries than there can be, before it is read", async () => {
    const many = Array.from({ length: 5001 }, (_, i) => ({ name: `archive/data/${i}`, data: data(0) }));
    const file = memoryFile(zipBytes(many), "model.pth");
    await rejected("E_LIMIT", readZip(file));
    expect(file.bytesRead).toBeLessThan(200);
  });
});

it("a damaged zip is refused with a typed error, or all its entries lie within it", async () => {
  const good = zipBytes(entries);
  const at = fc.oneof(fc.nat(good.length - 1), fc.integer({ min: good.length - 400, max: good.length - 1 }));
  const change = fc.record({ at, byte: fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 8, 255)) });
  const outcomes: Record<string, number> = {};
  const property = fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
    const bytes = good.slice();
    for (const { at, byte } of changes) bytes[at] = byte;
    const did = await open(bytes).then(
      (found) => {
        for (const { offset, size } of found.values()) expect(offset + size).toBeLessThanOrEqual(bytes.length);
        return "opened";
      },
      (error: unknown) => {
        if (error instanceof Llama2Error) return error.code;
        throw error;
      },
    );
    outcomes[did] = (outcomes[did] ?? 0) + 1;
  });
  await fc.assert(property, { seed: 21, numRuns: 3000 });
  expect(outcomes.opened).toBeGreaterThan(50);
  expect(outcomes.E_FORMAT).toBeGreaterThan(500);
});
