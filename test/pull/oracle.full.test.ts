/*
 * Hugging Face's own package finds in the cache what we fetched, and we find what it fetched.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { makeCheckpoint, SHAPES } from "../helpers/checkpoint.ts";
import { llama2 } from "../helpers/cli.ts";
import { ROOT } from "../helpers/golden.ts";
import { commitOf, digestOf, hubEnv, sendBytes, startHub } from "../helpers/hub.ts";
import { installConsumers } from "../helpers/packed.ts";
import { tempDir } from "../helpers/temp.ts";
import { tokenizerBytes, vocabOf } from "../helpers/tokenizer.ts";

interface TheirPackage {
  scanCacheDir(folder: string): Promise<{
    warnings: Error[];
    repos: {
      id: { name: string; type: string };
      size: number;
      revisions: {
        commitOid: string;
        refs: string[];
        files: { path: string; blob: { size: number; path: string } }[];
      }[];
    }[];
  }>;
  downloadFileToCacheDir(params: {
    repo: string;
    path: string;
    revision: string;
    cacheDir: string;
    hubUrl: string;
  }): Promise<string>;
}

const repo = "an-org/stories";
const commit = commitOf(repo);
const files: Record<string, Uint8Array> = {
  "a.bin": makeCheckpoint(SHAPES["260K"]),
  "tok512.bin": tokenizerBytes(vocabOf(512)),
};
const hub = await startHub({ [repo]: files });
let theirs: TheirPackage;

beforeAll(() => {
  installConsumers();
  theirs = createRequire(join(ROOT, "test", "consumers", "package.json"))("@huggingface/hub");
});

describe("@huggingface/hub", () => {
  it("finds what we fetched", async () => {
    const cache = tempDir();
    const { code, stderr } = await llama2(["pull", repo], { env: hubEnv(hub, cache) });
    expect({ code }, stderr).toEqual({ code: 0 });
    const { repos, warnings } = await theirs.scanCacheDir(cache);
    expect(warnings).toEqual([]);
    expect(repos.map(({ id }) => id)).toEqual([{ name: repo, type: "model" }]);
    const [revision] = repos[0].revisions;
    expect(revision).toMatchObject({ commitOid: commit, refs: ["main"] });
    expect(revision.files.map(({ blob }) => blob.size).sort()).toEqual(
      Object.values(files)
        .map(({ length }) => length)
        .sort(),
    );
    hub.requests.length = 0;
    const path = await theirs.downloadFileToCacheDir({
      repo,
      path: "a.bin",
      revision: commit,
      cacheDir: cache,
      hubUrl: hub.url,
    });
    expect(new Uint8Array(readFileSync(path))).toEqual(files["a.bin"]);
    expect(hub.requests).toEqual([]);
  });

  it("fetches what we then find, and do not fetch again", async () => {
    const cache = tempDir();
    hub.behave = (request, response) => {
      const [, path] = /\/resolve\/[^/]+\/([^?]+)/.exec(request.url ?? "") ?? [];
      if (path !== undefined) {
        sendBytes(hub, request, response, [path, files[path]]);
        return true;
      }
      if (!request.url?.includes("/paths-info/")) return false;
      let body = "";
      request.on("data", (chunk) => {
        body += chunk;
      });
      request.on("end", () => {
        const [path] = JSON.parse(body).paths as string[];
        const { length: size } = files[path];
        const oid = digestOf(path, files[path]);
        const lastCommit = { id: commit, title: "", date: "2023-08-15T00:00:00.000Z" };
        response.setHeader("content-type", "application/json");
        response.end(
          JSON.stringify([
            { type: "file", path, size, oid: "0".repeat(40), lfs: { oid, size, pointerSize: 130 }, lastCommit },
          ]),
        );
      });
      return true;
    };
    for (const path of Object.keys(files)) {
      await theirs.downloadFileToCacheDir({ repo, path, revision: "main", cacheDir: cache, hubUrl: hub.url });
    }
    hub.behave = undefined;
    const env = hubEnv(hub, cache);
    const { code, stdout, stderr } = await llama2([`${repo}/a.bin`, "-t", "0", "-n", "5", "--json"], { env });
    expect({ code }, stderr).toEqual({ code: 0 });
    expect(JSON.parse(stdout.toString()).tokens.length).toBeGreaterThan(2);
    const { models } = JSON.parse((await llama2(["models", "--json"], { env })).stdout.toString());
    expect(models.map(({ name }: { name: string }) => name)).toContain(`${repo}/a.bin`);
    const pulled = await llama2(["pull", repo, "--json"], { env });
    expect(JSON.parse(pulled.stdout.toString())).toMatchObject({ downloadedBytes: 0 });
  });
});
