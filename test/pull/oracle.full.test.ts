/*
 * Hugging Face's own packages for JavaScript and Python find in the cache what we fetched, and we find what they
 * fetched. The Python tests run where `import huggingface_hub` works; nothing here installs it.
 */
import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
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

const PYTHON = process.env.PYTHON ?? "python3";
const hasTheirPython = spawnSync(PYTHON, ["-c", "import huggingface_hub"]).status === 0;
const needsPython = hasTheirPython ? "" : " (skipped: needs Python's huggingface_hub, which is not here)";

describe.skipIf(!hasTheirPython)(`huggingface_hub of Python${needsPython}`, () => {
  /** What a program of theirs prints as JSON. */
  const asked = (program: string, env: NodeJS.ProcessEnv): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const child = spawn(PYTHON, ["-c", `import json\nfrom huggingface_hub import *\n${program}`], {
        env: { ...process.env, ...env, HF_HUB_DISABLE_TELEMETRY: "1", HF_HUB_DISABLE_XET: "1" },
      });
      let [stdout, stderr] = ["", ""];
      child.stdout.on("data", (chunk) => {
        stdout += chunk;
      });
      child.stderr.on("data", (chunk) => {
        stderr += chunk;
      });
      child.on("close", (code) => (code === 0 ? resolve(JSON.parse(stdout)) : reject(new Error(stderr))));
    });

  it("finds what we fetched, without a network", async () => {
    const cache = tempDir();
    const env = hubEnv(hub, cache);
    const { stdout } = await llama2(["pull", repo, "--json"], { env });
    const pulled = JSON.parse(stdout.toString());
    hub.requests.length = 0;
    const found = await asked(
      `scan = scan_cache_dir()
one, = scan.repos
revision, = one.revisions
print(json.dumps({
  "folder": snapshot_download("${repo}"),
  "file": hf_hub_download("${repo}", "a.bin"),
  "warnings": [str(w) for w in scan.warnings],
  "id": one.repo_id, "type": one.repo_type, "bytes": one.size_on_disk,
  "commit": revision.commit_hash, "refs": sorted(revision.refs),
  "files": sorted(str(file.file_path) for file in revision.files),
}))`,
      { ...env, HF_HUB_OFFLINE: "1" },
    );
    const paths: string[] = pulled.files.map(({ path }: { path: string }) => path);
    expect(found).toEqual({
      folder: dirname(pulled.path),
      file: pulled.path,
      warnings: [],
      id: repo,
      type: "model",
      bytes: Object.values(files).reduce((sum, { length }) => sum + length, 0),
      commit,
      refs: ["main"],
      files: paths.sort(),
    });
    expect(hub.requests).toEqual([]);
  });

  it("fetches what we then find, and do not fetch again", async () => {
    const cache = tempDir();
    const env = hubEnv(hub, cache);
    hub.behave = (request, response) => {
      const [, path] = /\/resolve\/[^/]+\/([^?]+)/.exec(request.url ?? "") ?? [];
      if (path === undefined && !request.url?.includes("/tree/")) return false;
      response.setHeader("x-repo-commit", commit);
      if (path === undefined) {
        const listed = Object.entries(files).map(([path, bytes]) => {
          const oid = digestOf(path, bytes);
          const { length: size } = bytes;
          return { type: "file", path, size, oid: "0".repeat(40), lfs: { oid, size, pointerSize: 130 } };
        });
        response.setHeader("content-type", "application/json");
        return !!response.end(JSON.stringify(listed));
      }
      sendBytes(hub, request, response, [path, files[path]]);
      return true;
    };
    const folder = await asked(`print(json.dumps(snapshot_download("${repo}")))`, env);
    hub.behave = undefined;
    hub.requests.length = 0;
    const offline = await llama2([repo, "-t", "0", "-n", "5", "--json"], { env: { ...env, HF_HUB_OFFLINE: "1" } });
    expect({ code: offline.code }, offline.stderr).toEqual({ code: 0 });
    const pulled = JSON.parse((await llama2(["pull", repo, "--json"], { env })).stdout.toString());
    expect(pulled).toMatchObject({ downloadedBytes: 0, path: join(folder as string, "a.bin") });
  });
});
