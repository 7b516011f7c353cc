import { describe, expect, it } from "vitest";
import { openMeta } from "../../../src/checkpoint/foreign.ts";
import { SHAPES } from "../../helpers/checkpoint.ts";
import { rejected } from "../../helpers/errors.ts";
import { type SeededModel, seededModel } from "../../helpers/formats/model.ts";
import type { TensorToWrite } from "../../helpers/formats/numbers.ts";
import { expectSameModel } from "../../helpers/formats/same.ts";
import { memoryFiles } from "../../helpers/formats/source.ts";
import { torchBytes } from "../../helpers/formats/torch.ts";

async function open(contents: Record<string, Uint8Array | string>) {
  const files = memoryFiles(contents, "a-model");
  return (await openMeta(files, await files.list(), files.open)).weights();
}

function paramsOf({ shape }: SeededModel, changes: object = {}): string {
  const [dim, , n_layers, n_heads, n_kv_heads, , max_seq_len] = shape;
  return JSON.stringify({
    dim,
    n_layers,
    n_heads,
    n_kv_heads,
    multiple_of: 4,
    norm_eps: 1e-5,
    vocab_size: -1,
    max_seq_len,
    ...changes,
  });
}

/** The part of a tensor that shard `shard` of `count` has. */
function part(tensor: TensorToWrite, shard: number, count: number): TensorToWrite {
  const [d, n] = tensor.shape;
  if (n === undefined) return tensor;
  const byColumns = /tok_embeddings|attention\.wo|feed_forward\.w2/.test(tensor.name);
  if (!byColumns) {
    const size = (d * n) / count;
    return { ...tensor, shape: [d / count, n], values: tensor.values.slice(shard * size, (shard + 1) * size) };
  }
  const width = n / count;
  const values = tensor.values.filter((_, i) => Math.floor((i % n) / width) === shard);
  return { ...tensor, shape: [d, width], values };
}

function folderOf(model: SeededModel, shards: number, params: object = {}): Record<string, Uint8Array | string> {
  const files = Array.from({ length: shards }, (_, shard) => [
    `consolidated.0${shard}.pth`,
    torchBytes(model.tensors.map((tensor) => part(tensor, shard, shards))),
  ]);
  return { "params.json": paramsOf(model, params), ...Object.fromEntries(files) };
}

describe("a folder of Meta's is the same model as the checkpoint it came from", () => {
  it.each([1, 2, 4])("in %d shards", async (shards) => {
    const model = seededModel(SHAPES.tiny, "meta", "F16");
    await expectSameModel(await open(folderOf(model, shards)), model.checkpoint);
  });

  it("with grouped heads, as bfloat16, in 2 shards", async () => {
    const model = seededModel(SHAPES.gqa, "meta", "BF16");
    await expectSameModel(await open(folderOf(model, 2)), model.checkpoint);
  });

  it("with the size of its vocabulary in it", async () => {
    const model = seededModel(SHAPES.tiny, "meta", "F32");
    await expectSameModel(await open(folderOf(model, 1, { vocab_size: 300 })), model.checkpoint);
  });
});

describe("the parameters in a folder of Meta's", () => {
  const model = seededModel(SHAPES.tiny, "meta", "F16");

  it("by default the context is 4096, and there are as many KV heads as heads", async () => {
    const { config } = await open(folderOf(model, 1, { max_seq_len: undefined, n_kv_heads: undefined }));
    expect(config).toMatchObject({ seqLen: 4096, nKvHeads: 4 });
  });

  it.each([
    ["Llama 3", { vocab_size: 128256 }, /Llama 3/],
    ["scaled RoPE", { use_scaled_rope: true }, /use_scaled_rope/],
    ["a mixture of experts", { moe: { num_experts: 8 } }, /moe/],
    ["no heads", { n_heads: undefined }, /n_heads is missing/],
    ["heads as text", { n_heads: "4" }, /n_heads is "4"/],
    ["another vocabulary", { vocab_size: 400 }, /tok_embeddings.*\[300, 16\].*\[400, 16\]/],
  ])("%s is refused by name", async (_, params, message) => {
    expect((await rejected("E_FORMAT", open(folderOf(model, 1, params)))).message).toMatch(message);
  });

  it("a missing shard is refused by name", async () => {
    const { "consolidated.00.pth": _, ...others } = folderOf(model, 2);
    expect((await rejected("E_FORMAT", open(others))).message).toMatch(/no consolidated.00.pth/);
    const { "consolidated.01.pth": last, ...first } = folderOf(model, 2);
    expect((await rejected("E_FORMAT", open(first))).message).toMatch(/tok_embeddings.*\[300, 8\]/);
    const gap = { ...first, "consolidated.02.pth": last };
    expect((await rejected("E_FORMAT", open(gap))).message).toMatch(/consolidated.02.pth and no consolidated.01.pth/);
  });

  it("a shard that lacks a tensor is refused by name", async () => {
    const shards = folderOf(model, 2);
    shards["consolidated.01.pth"] = torchBytes(model.tensors.slice(1).map((tensor) => part(tensor, 1, 2)));
    expect((await rejected("E_FORMAT", open(shards))).message).toMatch(/has no tok_embeddings.weight/);
  });
});
