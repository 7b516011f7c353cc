import { describe, expect, it } from "vitest";
import { rowsOf } from "../../../src/checkpoint/stored.ts";
import { openTorch } from "../../../src/checkpoint/torch/torch.ts";
import { rejected } from "../../helpers/errors.ts";
import type { TensorToWrite } from "../../helpers/formats/numbers.ts";
import { memoryFile } from "../../helpers/formats/source.ts";
import { addTensors, Pickle, storageEntries, torchBytes, torchZip } from "../../helpers/formats/torch.ts";

const a: TensorToWrite = { name: "a", type: "F32", shape: [2, 3], values: Float32Array.of(1, 2, 3, 4, 5, 6) };
const b: TensorToWrite = { name: "b", type: "BF16", shape: [4], values: Float32Array.of(1, 2, 3, 4) };
const open = (bytes: Uint8Array) => openTorch(memoryFile(bytes, "model.pth"));

/** The numbers of a view of `a`'s storage, row by row. */
async function view(offset: number, shape: number[], strides: number[]): Promise<number[]> {
  const pickle = Pickle.begin().orderedDict().put().op("(").text("view");
  pickle.tensor((p) => void p.storage("FloatStorage", "0", 6), offset, shape, strides).op("u");
  const { tensors } = await open(torchZip(pickle.end(), storageEntries([a])));
  const tensor = tensors.get("view");
  if (!tensor) throw new Error("the view is missing");
  const rows = rowsOf(tensor);
  const all: number[] = [];
  for (let row = 0; row < rows.d; row++) {
    const into = new Float32Array(rows.n);
    await rows.read(row, 1, into);
    all.push(...into);
  }
  return all;
}

describe("a file of torch.save", () => {
  it("says where its tensors are", async () => {
    const { tensors, modelArgs } = await open(torchBytes([a, b]));
    expect([...tensors.values()]).toMatchObject([
      { name: "a", type: "F32", shape: [2, 3], bytes: 24 },
      { name: "b", type: "BF16", shape: [4], bytes: 8 },
    ]);
    expect(modelArgs).toBeUndefined();
  });

  it("may have tensors that are views", async () => {
    expect(await view(2, [2, 2], [2, 1])).toEqual([3, 4, 5, 6]);
    expect(await view(0, [2, 2], [3, 1])).toEqual([1, 2, 4, 5]); // columns of a wider matrix
    expect(await view(0, [3, 2], [1, 3])).toEqual([1, 4, 2, 5, 3, 6]); // transposed
    expect(await view(1, [2], [2])).toEqual([2, 4]); // every other number
    expect(await view(0, [3, 1], [2, 7])).toEqual([1, 3, 5]); // a column
  });

  it("may have numbers that look like a zip or a pickle", async () => {
    const evil = {
      ...b,
      type: "F32" as const,
      values: new Float32Array(Buffer.from("PK\x05\x06\x80\x02cos\nsystem\n()R.  ").buffer.slice(0, 16)),
    };
    expect((await open(torchBytes([evil]))).tensors.size).toBe(1);
  });
});

describe("a file of torch.save is refused with", () => {
  const pickle = addTensors(Pickle.begin(), [a, b]).end();
  const storages = storageEntries([a, b]);
  const bare = (write: (pickle: Pickle) => void) => {
    const pickle = Pickle.begin();
    write(pickle);
    return torchZip(pickle.end(), storages);
  };
  it.each([
    ["a storage that is missing", torchZip(pickle, storages.slice(1)), /"a" are missing: there is no data\/0/],
    [
      "a storage that is too short",
      torchZip(pickle, [{ ...storages[0], data: new Uint8Array(20) }, storages[1]]),
      /data\/0 has 20 bytes.* 6 F32 of "a" have 24/,
    ],
    [
      "a storage that is too long",
      torchZip(pickle, [{ ...storages[0], data: new Uint8Array(28) }, storages[1]]),
      /data\/0 has 28 bytes/,
    ],
    ["a pickle that holds no dict", bare((p) => p.op("N")), /holds no dict/],
    [
      "a dict of other things",
      bare((p) => p.raw(0x7d).text("state_dict").raw(0x7d).op("s")),
      /"state_dict" is not a tensor. What it holds: "state_dict"/,
    ],
    ["keys that are numbers", bare((p) => p.raw(0x7d).whole(1).op("N").op("s")), /"1" is not a tensor/],
  ])("%s", async (_, bytes, message) => {
    expect((await rejected("E_FORMAT", open(bytes))).message).toMatch(message);
  });

  it("big-endian numbers", async () => {
    const bytes = torchBytes([a]);
    const at = Buffer.from(bytes).indexOf("little");
    bytes.set(Buffer.from("big\0\0\0"), at);
    expect((await rejected("E_FORMAT", open(bytes))).message).toMatch(/byte order is "big/);
  });

  it("a zip without a pickle", async () => {
    const bytes = torchBytes([a]);
    const name = Buffer.from("archive/data.pkl");
    for (let at = Buffer.from(bytes).indexOf(name); at >= 0; at = Buffer.from(bytes).indexOf(name))
      bytes.set(Buffer.from("archive/data/777"), at);
    expect((await rejected("E_FORMAT", open(bytes))).message).toMatch(/no data.pkl/);
  });
});
