/*
 * A server's answers about a repository are checked, and cannot lead out of the cache's folder.
 */
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { PATIENCE } from "../../src/net/answers.ts";
import { pull } from "../../src/pull/pull.ts";
import { isSafePath, parseReference } from "../../src/pull/reference.ts";
import { expectRejection } from "../helpers/errors.ts";
import { commitOf, hubEnv, startHub } from "../helpers/hub.ts";
import { tempDir } from "../helpers/temp.ts";

const hub = await startHub({});
const commit = commitOf("an-org/a-repo");
afterEach(() => void vi.unstubAllEnvs());

/** Pull from a server that describes the repository so. */
async function pullFrom(answer: unknown): Promise<string> {
  const parent = tempDir();
  const cache = join(parent, "cache");
  for (const [key, value] of Object.entries(hubEnv(hub, cache))) vi.stubEnv(key, value);
  hub.behave = (request, response) => {
    const isList = request.url?.startsWith("/api/");
    response.end(isList ? (typeof answer === "string" ? answer : JSON.stringify(answer)) : "12345");
    return true;
  };
  await pull("an-org/a-repo", { patience: { ...PATIENCE, waitMs: () => 0 } });
  return parent;
}

const file = (rfilename: unknown, more: object = {}) => ({
  sha: commit,
  siblings: [{ rfilename, size: 5, blobId: "0".repeat(40), lfs: { sha256: "0".repeat(64) }, ...more }],
});

describe("a list of files is refused", () => {
  it.each<[string, unknown, RegExp]>([
    ["that is no JSON", "<html>", /no JSON/],
    ["that is not UTF-8", Buffer.from([0x22, 0xff, 0x22]).toString("latin1"), /names no commit|no JSON/],
    ["that is null", null, /names no commit/],
    ["without a commit", { siblings: [] }, /names no commit/],
    ["whose commit is a path", { sha: "../../../../x", siblings: [] }, /names no commit/],
    ["without files", { sha: commit }, /has no files/],
    ["whose files are numbers", { sha: commit, siblings: [1] }, /it has a file/],
    ["with a path out of the folder", file("../../model.gguf"), /it has a file "\.\.\/\.\.\/model\.gguf"/],
    ["with an absolute path", file("/etc/model.gguf"), /it has a file/],
    ["with a path of Windows", file("..\\model.gguf"), /it has a file/],
    ["with a drive", file("C:model.gguf"), /it has a file/],
    ["with a device", file("nul.gguf"), /it has a file/],
    ["with a name that a terminal obeys", file("\u001b[2Jmodel.gguf"), /it has a file "\\u001b/],
    ["with an empty name", file(""), /it has a file/],
    ["with a name of another type", file({ toString: 1 }), /it has a file/],
    ["with a length below 0", file("model.gguf", { size: -1 }), /how long/],
    ["with a length beyond 2^53", file("model.gguf", { size: 2 ** 60 }), /how long/],
    ["without a length", file("model.gguf", { size: undefined }), /how long/],
    ["whose digest is a path", file("model.gguf", { lfs: { sha256: "../../x" } }), /no digest/],
    ["whose digest is missing", file("model.gguf", { lfs: {} }), /no digest/],
  ])("%s", async (_, answer, message) => {
    await expectRejection(pullFrom(answer), "E_NET", message);
  });

  it("that has no end", async () => {
    hub.behave = (_, response) => {
      const more = () => void (response.destroyed || response.write(Buffer.alloc(2 ** 20, " "), more));
      more();
      return true;
    };
    for (const [key, value] of Object.entries(hubEnv(hub, tempDir()))) vi.stubEnv(key, value);
    await expectRejection(pull("an-org/a-repo"), "E_NET", /longer than 33554432 bytes/);
  });

  it("with more files than any repository", async () => {
    const { siblings } = file("a");
    await expectRejection(pullFrom({ sha: commit, siblings: Array(100_001).fill(siblings[0]) }), "E_LIMIT", /100001/);
  });
});

it("a file with a wrong digest never gets its name", async () => {
  const cache = tempDir();
  for (const [key, value] of Object.entries(hubEnv(hub, cache))) vi.stubEnv(key, value);
  hub.behave = (request, response) =>
    !!response.end(request.url?.startsWith("/api/") ? JSON.stringify(file("model.gguf")) : "12345");
  await expectRejection(pull("an-org/a-repo"), "E_INTEGRITY", "model.gguf has the digest");
  expect(readdirSync(cache, { recursive: true }).filter((name) => String(name).includes("snapshots"))).toEqual([]);
  expect(readdirSync(join(cache, "models--an-org--a-repo", "blobs"))).toEqual([]);
});

describe("a name", () => {
  const ours = (text: string) => parseReference(text, "https://huggingface.co");

  it.each([
    "a",
    "a/b/../c",
    "a/b/",
    "../a",
    "a/..",
    "-a/b",
    "a--b/c",
    "a/b@",
    "a/b@../x",
    "a/b@x/../y",
    "a/b/c\\d",
    "a/b/c\0",
    "a b/c",
    "",
  ])("is invalid: %j", (text) => {
    expect(ours(text)).toBeUndefined();
  });

  it.each([
    ["an-org/a.repo", { repository: "an-org/a.repo", revision: "main", file: undefined }],
    ["an-org/a.repo@v1", { repository: "an-org/a.repo", revision: "v1", file: undefined }],
    ["an-org/a.repo@v1/a/b c.bin", { repository: "an-org/a.repo", revision: "v1", file: "a/b c.bin" }],
    ["https://huggingface.co/an-org/r", { repository: "an-org/r", revision: "main", file: undefined }],
    ["https://huggingface.co/an-org/r/tree/dev", { repository: "an-org/r", revision: "dev", file: undefined }],
    [
      "https://huggingface.co/an-org/r/blob/dev/a%20b.bin?x=1",
      { repository: "an-org/r", revision: "dev", file: "a b.bin" },
    ],
  ])("may be a repository or a file in one: %s", (text, expected) => {
    expect(ours(text)).toMatchObject({ kind: "repository", ...expected });
  });

  it("may be a URL of another server", () => {
    for (const url of ["https://huggingface.co.example/a/b", "http://huggingface.co/a/b", "https://huggingface.co/a"]) {
      expect(ours(url)).toMatchObject({ kind: "url", url });
    }
  });

  it("may be that of a listed model, or its file's", () => {
    expect(ours("stories15M")).toMatchObject({ kind: "listed", listed: { model: { bytes: 60_816_028 } } });
    expect(ours("karpathy/tinyllamas/stories15M.bin")).toMatchObject({ kind: "listed" });
    expect(ours("https://huggingface.co/karpathy/tinyllamas/resolve/main/stories15M.bin")).toMatchObject({
      kind: "listed",
    });
  });
});

it("a path that is safe is one on every system", () => {
  expect(["a", "a/b.c", "a b/ü"].every(isSafePath)).toBe(true);
  const unsafe = ["", "/", "a//b", ".", "a/..", "a.", "a ", "con", "LPT1.txt", "a:b", "a|b", "a\nb", "x".repeat(300)];
  expect(unsafe.filter(isSafePath)).toEqual([]);
});

it("a cache with files in place of folders is an error that says so", async () => {
  const cache = tempDir();
  writeFileSync(join(cache, "models--an-org--a-repo"), "");
  for (const [key, value] of Object.entries(hubEnv(hub, cache))) vi.stubEnv(key, value);
  hub.behave = (_, response) => !!response.end(JSON.stringify(file("model.gguf")));
  await expectRejection(pull("an-org/a-repo"), "E_FILE", "cannot write");
});
