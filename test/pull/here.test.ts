/*
 * A pulled model needs no server if its digests are known, and no model does if HF_HUB_OFFLINE is set.
 */
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { PATIENCE } from "../../src/net/answers.ts";
import { pull } from "../../src/pull/pull.ts";
import { makeCheckpoint, SHAPES } from "../helpers/checkpoint.ts";
import { llama2 } from "../helpers/cli.ts";
import { expectRejection } from "../helpers/errors.ts";
import { hasShared, needsShared, sha256, sharedFile } from "../helpers/golden.ts";
import { commitOf, hubEnv, type Repositories, startHub } from "../helpers/hub.ts";
import { tempDir } from "../helpers/temp.ts";
import { tokenizerBytes, vocabOf } from "../helpers/tokenizer.ts";

const model = makeCheckpoint(SHAPES["260K"]);
const tokenizer = tokenizerBytes(vocabOf(512));
const repositories: Repositories = {
  "an-org/stories": { "a.bin": model, "tok512.bin": tokenizer },
  "an-org/meta": { "params.json": Buffer.from("{}"), "consolidated.00.pth": model, "tokenizer.model": tokenizer },
};
const hub = await startHub(repositories);
beforeEach(() => {
  hub.requests.length = 0;
});
afterEach(() => void vi.unstubAllEnvs());

function pulled(cache: string, name: string, more: NodeJS.ProcessEnv = {}) {
  for (const [key, value] of Object.entries(hubEnv(hub, cache, more))) vi.stubEnv(key, value);
  return pull(name, { patience: { ...PATIENCE, tries: 1 } });
}

describe("with HF_HUB_OFFLINE", () => {
  const offline = { HF_HUB_OFFLINE: "1" };

  it.each(["an-org/stories", "an-org/stories/a.bin", "an-org/meta"])("%s is what was pulled before", async (name) => {
    const cache = tempDir();
    const before = await pulled(cache, name);
    hub.requests.length = 0;
    const { files, ...found } = await pulled(cache, name, offline);
    expect(found).toEqual({ name, path: before.path, downloadedBytes: 0 });
    const byPath = (a: { path: string }, b: { path: string }) => (a.path < b.path ? -1 : 1);
    expect(files.sort(byPath)).toEqual(before.files.sort(byPath));
    expect(hub.requests).toEqual([]);
  });

  it.each([
    ["an-org/stories", /^an-org\/stories is not here, and nothing is fetched: HF_HUB_OFFLINE is set$/],
    ["stories15M", /^stories15M is not here/],
    ["URL", /consolidated\.00\.pth is not here/],
  ])("%s that was not pulled is refused, without a request", async (name, message) => {
    const url = `${hub.bytesUrl}/an-org/meta/consolidated.00.pth`;
    await expectRejection(pulled(tempDir(), name === "URL" ? url : name, offline), "E_NET", message);
    expect(hub.requests).toEqual([]);
  });

  it("a pulled model runs by its name, and a missing one is not offered for download", async () => {
    const cache = tempDir();
    await pulled(cache, "an-org/stories");
    hub.requests.length = 0;
    const env = hubEnv(hub, cache, offline);
    const { code, stderr } = await llama2(["an-org/stories", "-t", "0", "-n", "5"], { env });
    expect({ code }, stderr).toEqual({ code: 0 });
    for (const args of [["an-org/meta"], ["inspect", `${hub.bytesUrl}/an-org/stories/a.bin`]]) {
      const refused = await llama2(args, { env });
      expect(refused.code).toBe(1);
      expect(refused.stderr).toMatch(/^llama2: .*HF_HUB_OFFLINE is set \(E_NET\)\n$/);
    }
    expect(hub.requests).toEqual([]);
  });

  it.each(["yes", "ON", "true"])("is meant by %s as well, as in Python", async (value) => {
    await expectRejection(pulled(tempDir(), "an-org/meta", { HF_HUB_OFFLINE: value }), "E_NET", /is not here/);
    await expectRejection(pulled(tempDir(), "an-org/meta", { TRANSFORMERS_OFFLINE: value }), "E_NET", /is not here/);
  });

  it("is not set by 0", async () => {
    expect((await pulled(tempDir(), "an-org/meta", { HF_HUB_OFFLINE: "0" })).downloadedBytes).toBeGreaterThan(0);
  });
});

describe.skipIf(!hasShared)(`a listed model${needsShared}`, () => {
  const read = (name: string) => (hasShared ? readFileSync(sharedFile(`models/${name}`)) : new Uint8Array(0));
  const [bin, tok] = [read("stories260K.bin"), read("tok512.bin")];

  it("that was pulled needs no server; another does", async () => {
    Object.assign(repositories, {
      "karpathy/tinyllamas": { "stories260K/stories260K.bin": bin, "stories260K/tok512.bin": tok },
    });
    const cache = tempDir();
    const before = await pulled(cache, "stories260K");
    hub.requests.length = 0;
    expect(await pulled(cache, "stories260K")).toEqual({ ...before, downloadedBytes: 0 });
    expect(hub.requests).toEqual([]);
    // bytes of its name and length that are not its own are not it; nor is it whole without its tokenizer
    const [{ path: tokenizerPath }] = before.files;
    rmSync(tokenizerPath);
    writeFileSync(tokenizerPath, new Uint8Array(tok.length));
    await pulled(cache, "stories260K");
    rmSync(tokenizerPath);
    await pulled(cache, "stories260K");
    expect(hub.requests.map(({ path }) => path)).toEqual(
      Array(2).fill("/api/models/karpathy/tinyllamas/revision/main"),
    );
    expect(sha256(readFileSync(tokenizerPath))).toBe(sha256(tok));
  });
});

describe.skipIf(process.platform === "win32")("a cache with anything in it", () => {
  const commit = commitOf("an-org/stories");
  /** A pulled model, and beside it what no tool puts there. */
  async function odd(): Promise<{ cache: string; env: NodeJS.ProcessEnv }> {
    const cache = tempDir();
    await pulled(cache, "an-org/stories");
    const repository = join(cache, "models--an-org--stories");
    const snapshot = join(repository, "snapshots", commit);
    const links = { up: "..", root: "/", "circle.bin": "circle.bin", "gone.bin": "nowhere", "zero.gguf": "/dev/zero" };
    for (const [name, to] of Object.entries(links)) symlinkSync(to, join(snapshot, name));
    for (const path of [join(snapshot, "folder.bin"), join(repository, "refs", "folder"), join(cache, "models--x")]) {
      mkdirSync(path);
    }
    writeFileSync(join(cache, "models--a--b"), "a file");
    writeFileSync(join(repository, "refs", "evil"), "../../../..");
    return { cache, env: hubEnv(hub, cache, { HF_HUB_OFFLINE: "1" }) };
  }

  it("lists the models in it, and in no other folder", async () => {
    const { env } = await odd();
    const { code, stdout, stderr } = await llama2(["models", "--json"], { env });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const names = JSON.parse(stdout.toString()).models.map(({ name }: { name: string }) => name);
    expect(names).toEqual(["stories2M", "an-org/stories/a.bin"]);
  });

  it.each(["zero.gguf", "circle.bin", "gone.bin", "folder.bin", "up"])("has no model called %s", async (file) => {
    const { cache } = await odd();
    const refused = pulled(cache, `an-org/stories/${file}`, { HF_HUB_OFFLINE: "1" });
    await expectRejection(refused, "E_NET", /is not here/);
  });
});
