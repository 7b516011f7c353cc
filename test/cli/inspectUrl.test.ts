/*
 * llama2 inspect URL: a model on a server is described, and little of it is fetched.
 */
import { describe, expect, it } from "vitest";
import { makeCheckpoint, SHAPES } from "../helpers/checkpoint.ts";
import { llama2 } from "../helpers/cli.ts";
import { ggufBytes, ggufKeys } from "../helpers/formats/gguf.ts";
import { huggingFaceConfig, huggingFaceTensors, seededModel } from "../helpers/formats/model.ts";
import { safetensorsBytes } from "../helpers/formats/safetensors.ts";
import { SPECIAL, sentencePieceBytes } from "../helpers/formats/sentencepiece.ts";
import { hubEnv, startHub } from "../helpers/hub.ts";
import { tempDir } from "../helpers/temp.ts";

const hf = seededModel(SHAPES.gqa, "hf", "BF16");
const pieces = [...SPECIAL, ...Array.from({ length: 253 }, (_, i) => ({ text: `p${i}` }))];
const tokenizer = sentencePieceBytes(pieces);
const files = {
  "stories.bin": makeCheckpoint(SHAPES["260K"]),
  "a.gguf": ggufBytes(ggufKeys(SHAPES.gqa), seededModel(SHAPES.gqa, "gguf", "F32").tensors),
  "page.html": Buffer.from("<!doctype html><html></html>"),
};
const hub = await startHub({
  "an-org/a-model": {
    "config.json": Buffer.from(huggingFaceConfig(hf)),
    "model.safetensors": safetensorsBytes(huggingFaceTensors(hf)),
    "tokenizer.model": tokenizer,
  },
  "an-org/files": files,
});
const env = hubEnv(hub, tempDir());
const at = (file: string) => `${hub.bytesUrl}/an-org/files/${file}`;

async function inspected(url: string, ...flags: string[]) {
  hub.sent = 0;
  hub.requests.length = 0;
  const { stdout, stderr, code } = await llama2(["inspect", url, "--json", ...flags], { env });
  expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  return JSON.parse(stdout.toString());
}

describe("llama2 inspect URL", () => {
  it("describes a file, and fetches its header only", async () => {
    const found = await inspected(at("stories.bin"), "--tensors");
    expect(found).toMatchObject({ name: "stories", format: "llama2c-v0", parameters: 260_032, runs: true });
    expect(found.files).toEqual([{ path: at("stories.bin"), bytes: files["stories.bin"].length }]);
    expect(found.tensorList[0]).toMatchObject({ name: "tokenEmbeddingTable", shape: [512, 64], offset: 28 });
    expect(hub.sent).toBe(16_384);
    expect(found.fetched).toBe(16_384);
  });

  it("describes a GGUF file with the tokenizer in it", async () => {
    const found = await inspected(at("a.gguf"));
    expect(found).toMatchObject({ format: "gguf", config: { dim: 48, nKvHeads: 2 }, runs: true });
    expect(found.bytes).toBe(files["a.gguf"].length);
  });

  it("describes a repository of Hugging Face's with its tokenizer, without its weights", async () => {
    for (const url of [`${hub.url}/an-org/a-model`, `${hub.url}/an-org/a-model/tree/main`]) {
      const found = await inspected(url);
      expect(found).toMatchObject({
        name: "a-model",
        format: "hf",
        config: { dim: 48, nKvHeads: 2, vocabSize: 512 },
        tokenizer: { kind: "sentencepiece", vocabSize: 512 },
        runs: true,
      });
    }
    const weights = hub.requests.filter(({ at, path }) => at === "bytes" && path.endsWith(".safetensors"));
    expect(weights.every(({ headers }) => /^bytes=\d+-\d+$/.test(headers.range ?? ""))).toBe(true);
    expect(hub.sent).toBeLessThan(16_384 + tokenizer.length + 2000);
  });

  it("describes a file of a repository with the files beside it", async () => {
    const found = await inspected(`${hub.url}/an-org/a-model/resolve/main/model.safetensors`);
    expect(found).toMatchObject({ name: "model", format: "hf", config: { dim: 48 }, runs: true });
  });

  it("looks for the files that a model needs beside it where the server has no list of files", async () => {
    const found = await inspected(`${hub.bytesUrl}/an-org/a-model/model.safetensors`);
    expect(found).toMatchObject({ name: "model", format: "hf", config: { dim: 48 }, tokenizer: null, runs: true });
  });

  it.each([
    ["a page", at("page.html"), "E_FORMAT", /HTML page|is no/],
    ["a file that is not there", at("nothing.bin"), "E_NET", /404/],
    ["a repository that is not there", "/an-org/nothing", "E_NET", /404/],
    ["a file that a repository does not have", "/an-org/files/resolve/main/nothing.bin", "E_FORMAT", /no file nothing/],
  ])("fails for %s", async (_, url, code, message) => {
    const { stderr, ...result } = await llama2(["inspect", url.startsWith("/") ? hub.url + url : url], { env });
    expect(result.code).toBe(1);
    expect(stderr).toMatch(new RegExp(`\\(${code}\\)\\n$`));
    expect(stderr).toMatch(message);
  });

  it("refuses a server that can only send whole files", async () => {
    hub.behave = (_, response) => !!response.end(files["stories.bin"]);
    const { code, stderr } = await llama2(["inspect", at("stories.bin")], { env });
    hub.behave = undefined;
    expect(code).toBe(1);
    expect(stderr).toMatch(/^llama2: cannot read .*cannot send a part of it.*\(E_NET\)\n$/);
  });
});
