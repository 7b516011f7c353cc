/*
 * llama2 pull: models are downloaded, complete and correct, into the cache that Hugging Face's tools share.
 */
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { PATIENCE } from "../../src/net/answers.ts";
import { pull } from "../../src/pull/pull.ts";
import { makeCheckpoint, SHAPES } from "../helpers/checkpoint.ts";
import { llama2 } from "../helpers/cli.ts";
import { expectRejection, rejected } from "../helpers/errors.ts";
import { sha256 } from "../helpers/golden.ts";
import { commitOf, digestOf, hubEnv, listen, startHub } from "../helpers/hub.ts";
import { tempDir } from "../helpers/temp.ts";
import { tokenizerBytes, vocabOf } from "../helpers/tokenizer.ts";

const config = Buffer.from('{ "model_type": "llama" }');
const bytes = (n: number, seed: number) => Uint8Array.from({ length: n }, (_, i) => (i * seed) >> 5);
const repositories = {
  "an-org/a-model": {
    "config.json": config,
    "README.md": bytes(100, 3),
    "model-00001-of-00002.safetensors": bytes(50_000, 5),
    "model-00002-of-00002.safetensors": bytes(3000, 7),
    "model.safetensors.index.json": Buffer.from("{}"),
    "pytorch_model.bin": bytes(60_000, 11),
    "tokenizer.model": bytes(2000, 13),
  },
  "an-org/meta": { "params.json": config, "consolidated.00.pth": bytes(500, 3), "tokenizer.model": bytes(70, 5) },
  "an-org/ggufs": { "config.json": config, "a.Q8_0.gguf": bytes(500, 3), "a.F16.gguf": bytes(800, 3) },
  "an-org/stories": {
    "sub/stories.bin": makeCheckpoint(SHAPES["260K"]),
    "sub/tok512.bin": tokenizerBytes(vocabOf(512)),
  },
  "an-org/text": { "notes.json": config },
};
const hub = await startHub(repositories);
beforeEach(() => {
  hub.behave = undefined;
  hub.requests.length = 0;
});

const folderOf = (cache: string, id: string) => join(cache, `models--${id.replace("/", "--")}`);
const snapshotOf = (cache: string, id: string) => join(folderOf(cache, id), "snapshots", commitOf(id));

/** What `pull` does in this process, for a user with that cache. */
function pulled(cache: string, name: string, more: NodeJS.ProcessEnv = {}) {
  for (const [key, value] of Object.entries(hubEnv(hub, cache, more))) vi.stubEnv(key, value);
  return pull(name, { patience: { ...PATIENCE, waitMs: () => 0 } });
}
afterEach(() => void vi.unstubAllEnvs());

describe("llama2 pull ORG/REPO", () => {
  it("fetches all files of a model, in the layout of Hugging Face's tools", async () => {
    const cache = tempDir();
    const found = await pulled(cache, "an-org/a-model");
    const snapshot = snapshotOf(cache, "an-org/a-model");
    expect(found).toMatchObject({ name: "an-org/a-model", path: snapshot });
    const wanted = Object.keys(repositories["an-org/a-model"]).filter((name) => !/README|pytorch/.test(name));
    expect(readdirSync(snapshot).sort()).toEqual(wanted.sort());
    for (const name of wanted) {
      const content = repositories["an-org/a-model"][name as "config.json"];
      expect(readlinkSync(join(snapshot, name))).toBe(join("..", "..", "blobs", digestOf(name, content)));
      expect(new Uint8Array(readFileSync(join(snapshot, name)))).toEqual(new Uint8Array(content));
      expect(found.files).toContainEqual({
        path: join(snapshot, name),
        bytes: content.length,
        sha256: sha256(content),
      });
    }
    expect(readFileSync(join(folderOf(cache, "an-org/a-model"), "refs", "main"), "utf8")).toBe(
      commitOf("an-org/a-model"),
    );
    expect(found.downloadedBytes).toBe(found.files.reduce((sum, file) => sum + file.bytes, 0));
    expect(readdirSync(join(folderOf(cache, "an-org/a-model"), "blobs")).length).toBe(wanted.length); // and nothing else
  });

  it("fetches no file that is there already", async () => {
    const cache = tempDir();
    await pulled(cache, "an-org/meta");
    hub.requests.length = 0;
    const again = await pulled(cache, "an-org/meta");
    expect(again.downloadedBytes).toBe(0);
    expect(hub.requests.map(({ path }) => path)).toEqual(["/api/models/an-org/meta/revision/main"]);
    expect(again.files.map(({ path }) => path.split(/[/\\]/).pop())).toEqual([
      "params.json",
      "tokenizer.model",
      "consolidated.00.pth",
    ]);
  });

  it("prints the path, or a JSON object", async () => {
    const cache = tempDir();
    const { stdout, stderr } = await llama2(["pull", "an-org/meta"], { env: hubEnv(hub, cache) });
    expect(stdout.toString()).toBe(`${snapshotOf(cache, "an-org/meta")}\n`);
    expect(stderr).toBe("an-org/meta: 0.0 MB fetched\n");
    const again = await llama2(["pull", "an-org/meta", "--json"], { env: hubEnv(hub, cache) });
    expect(JSON.parse(again.stdout.toString())).toEqual(await pulled(cache, "an-org/meta"));
  });

  it("lists the models to choose from where there are several, and exits with 2", async () => {
    const cache = tempDir();
    const { code, stderr } = await llama2(["pull", "an-org/ggufs"], { env: hubEnv(hub, cache) });
    expect(code).toBe(2);
    expect(stderr).toMatch(/a\.Q8_0\.gguf {2}0\.0 MB\n {2}an-org\/ggufs\/a\.F16\.gguf {2}0\.0 MB\n$/);
    const found = await pulled(cache, "an-org/ggufs/a.F16.gguf");
    expect(found.path).toBe(join(snapshotOf(cache, "an-org/ggufs"), "a.F16.gguf"));
    expect(found.files.length).toBe(1);
  });

  it("takes a revision", async () => {
    const cache = tempDir();
    const found = await pulled(cache, "an-org/meta@v1.0");
    expect(found.path).toBe(snapshotOf(cache, "an-org/meta"));
    expect(readdirSync(join(folderOf(cache, "an-org/meta"), "refs"))).toEqual(["v1.0"]);
    expect(hub.requests[0].path).toBe("/api/models/an-org/meta/revision/v1.0");
  });

  it("fetches a file with the files that belong to it, by name or by URL", async () => {
    const cache = tempDir();
    const { files, path } = await pulled(cache, "an-org/stories/sub/stories.bin");
    expect(path).toBe(join(snapshotOf(cache, "an-org/stories"), "sub", "stories.bin"));
    expect(files.length).toBe(2);
    const again = await pulled(cache, `${hub.url}/an-org/stories/resolve/main/sub/stories.bin`);
    expect(again).toMatchObject({ path, downloadedBytes: 0 });
  });

  it.each([
    ["a repository without a model", "an-org/text", "E_FORMAT", /no model that is known here\. It has notes\.json$/],
    ["a repository that is not there", "an-org/nothing", "E_NET", /404/],
    ["a file that is not there", "an-org/text/model.bin", "E_FORMAT", /no file model\.bin/],
    ["a name that is none", "stories15G", "E_USAGE", /no name of a model/],
    ["a path out of the repository", "an-org/text/../../x", "E_USAGE", /no name of a model/],
    ["a URL with a password", "https://user:secret@a.example/x", "E_USAGE", /^(?!.*secret).*user or a password/],
  ] as const)("fails for %s", async (_, name, code, message) => {
    await expectRejection(pulled(tempDir(), name), code, message);
  });
});

describe("llama2 pull URL", () => {
  it("puts a file of another server into the current folder", async () => {
    const [cwd, cache] = [tempDir(), tempDir()];
    const url = `${hub.bytesUrl}/an-org/meta/consolidated.00.pth?token=secret`;
    const { code, stdout, stderr } = await llama2(["pull", url], { cwd, env: hubEnv(hub, cache) });
    expect({ code, stdout: stdout.toString() }, stderr).toEqual({
      code: 0,
      stdout: `${join(cwd, "consolidated.00.pth")}\n`,
    });
    expect(new Uint8Array(readFileSync(join(cwd, "consolidated.00.pth")))).toEqual(bytes(500, 3));
    expect(readdirSync(cwd)).toEqual(["consolidated.00.pth"]);
    expect(readdirSync(cache)).toEqual([]);
  });
});

describe("the token", () => {
  const HF_TOKEN = "hf_abcdef";
  const sentTo = (at: "hub" | "bytes") => hub.requests.filter((request) => request.at === at);

  it("is sent to Hugging Face's server, and not to one that it redirects to", async () => {
    await pulled(tempDir(), "an-org/meta", { HF_TOKEN });
    expect(sentTo("hub").map(({ headers }) => headers.authorization)).toEqual(
      sentTo("hub").map(() => `Bearer ${HF_TOKEN}`),
    );
    expect(sentTo("bytes").length).toBe(2);
    for (const { headers } of sentTo("bytes")) expect(headers.authorization).toBeUndefined();
  });

  it("is not sent to another server that a URL names", async () => {
    const url = `${hub.bytesUrl}/an-org/meta/consolidated.00.pth`;
    await llama2(["pull", url], { cwd: tempDir(), env: hubEnv(hub, tempDir(), { HF_TOKEN }) });
    expect(sentTo("bytes").map(({ headers }) => headers.authorization)).toEqual([undefined]);
  });

  it("is not sent after a redirect to another server and back", async () => {
    hub.behave = (request, response, at) => {
      const isFirst = at === "hub" && request.url?.endsWith(".pth");
      if (isFirst) response.writeHead(302, { location: `${hub.bytesUrl}/back` }).end();
      if (at === "bytes") response.writeHead(302, { location: `${hub.url}/an-org/meta/resolve/x/params.json` }).end();
      return isFirst || at === "bytes";
    };
    await expectRejection(pulled(tempDir(), "an-org/meta", { HF_TOKEN }), "E_INTEGRITY");
    const back = hub.requests.filter(({ path }) => path === "/an-org/meta/resolve/x/params.json");
    expect(back.map(({ headers }) => headers.authorization)).toEqual([undefined]);
  });

  it("is read from where `hf auth login` wrote it, and appears in no message", async () => {
    const home = tempDir();
    writeFileSync(join(home, "token"), `${HF_TOKEN}\n`);
    hub.behave = (_, response) => !!response.writeHead(403).end();
    const { message } = await rejected("E_NET", pulled(tempDir(), "an-org/meta", { HF_HOME: home }));
    expect(hub.requests[0].headers.authorization).toBe(`Bearer ${HF_TOKEN}`);
    expect(message).toMatch(/403.*HF_TOKEN/);
    expect(message).not.toContain(HF_TOKEN);
  });

  it("with invalid characters is refused, and not shown", async () => {
    const refused = pulled(tempDir(), "an-org/meta", { HF_TOKEN: "hf_a\nb" });
    await expectRejection(refused, "E_USAGE", /^HF_TOKEN has characters in it that no token has$/);
  });
});

describe("the cache", () => {
  it.each([
    ["HF_HUB_CACHE", (folder: string) => ({ HF_HUB_CACHE: folder }), ""],
    ["HF_HOME", (folder: string) => ({ HF_HUB_CACHE: "", HF_HOME: folder }), "hub"],
    [
      "XDG_CACHE_HOME",
      (folder: string) => ({ HF_HUB_CACHE: "", HF_HOME: "", XDG_CACHE_HOME: folder }),
      "huggingface/hub",
    ],
    [
      "HOME",
      (folder: string) => ({ HF_HUB_CACHE: "", HF_HOME: "", XDG_CACHE_HOME: "", HOME: folder, USERPROFILE: folder }),
      ".cache/huggingface/hub",
    ],
  ])("is where %s says", async (_, env, below) => {
    const folder = tempDir();
    const { path } = await pulled("", "an-org/meta", env(folder));
    expect(path).toBe(snapshotOf(join(folder, below), "an-org/meta"));
  });
});

describe("a proxy", () => {
  it("is used if HTTP_PROXY names one, and not for the hosts of NO_PROXY", async () => {
    const asked: string[] = [];
    const server = createServer();
    server.on("connect", (request, socket) => {
      asked.push(request.url ?? "");
      socket.end("HTTP/1.1 502 no\r\n\r\n");
    });
    const proxy = await listen(server);
    const meta = (more: NodeJS.ProcessEnv) => pulled(tempDir(), "an-org/meta", more);
    await expectRejection(meta({ HTTP_PROXY: proxy, NO_PROXY: "" }), "E_NET");
    expect(asked[0]).toBe(hub.url.replace("http://", ""));
    asked.length = 0;
    await meta({ HTTP_PROXY: proxy, NO_PROXY: "127.0.0.1" });
    expect(asked).toEqual([]);
    server.close();
    const wrong = meta({ HTTP_PROXY: "http://user:secret@:x" });
    await expectRejection(wrong, "E_USAGE", /^(?!.*secret)the proxy in HTTPS_PROXY or HTTP_PROXY is not a URL/);
  });
});

describe("a pulled model", () => {
  it("runs by its name, with the tokenizer that was pulled with it", async () => {
    const cache = tempDir();
    const env = hubEnv(hub, cache);
    const missing = await llama2(["an-org/stories"], { env });
    expect(missing.code).toBe(1);
    expect(missing.stderr).toMatch(
      /there is no an-org\/stories here \(E_FILE\)\n {2}Fetch it: .* pull an-org\/stories\n/,
    );
    await pulled(cache, "an-org/stories");
    for (const name of ["an-org/stories/sub/stories.bin", "an-org/stories@main/sub/stories.bin"]) {
      const { code, stdout, stderr } = await llama2([name, "-t", "0", "-n", "8", "--json"], { env });
      expect({ code }, stderr).toEqual({ code: 0 });
      expect(JSON.parse(stdout.toString()).tokens.length).toBeGreaterThan(4);
    }
    const { stdout } = await llama2(["models", "--json"], { env });
    const { models } = JSON.parse(stdout.toString());
    expect(models[0]).toMatchObject({ name: "stories2M", bundled: true, format: "llama2c-v0" });
    expect(models.slice(1)).toEqual([
      {
        name: "an-org/stories/sub/stories.bin",
        format: "llama2c-v0",
        parameters: 260_032,
        bytes: repositories["an-org/stories"]["sub/stories.bin"].length,
        path: join(snapshotOf(cache, "an-org/stories"), "sub", "stories.bin"),
        bundled: false,
      },
    ]);
    const table = (await llama2(["models"], { env })).stdout.toString().split("\n");
    expect(table[0]).toMatch(/^name +format +parameters +size +path$/);
    expect(table[2]).toMatch(/^an-org\/stories\/sub\/stories\.bin +llama2c-v0 +260,032 +1\.1 MB +\//);
  });

  it("is not used if there is a file of that name", async () => {
    const cwd = tempDir();
    mkdirSync(join(cwd, "an-org"));
    writeFileSync(join(cwd, "an-org", "stories"), "no model");
    const { code, stderr } = await llama2(["inspect", "an-org/stories"], { cwd, env: hubEnv(hub, tempDir()) });
    expect(code).toBe(1);
    expect(stderr).toMatch(/an-org\/stories.*\(E_FORMAT\)/);
    expect(existsSync(join(cwd, "an-org"))).toBe(true);
  });
});

it.skipIf(process.platform === "win32")("links are relative, so that a cache can be moved", async () => {
  const cache = tempDir();
  const { files } = await pulled(cache, "an-org/stories");
  for (const { path } of files) {
    expect(lstatSync(path).isSymbolicLink()).toBe(true);
    expect(readlinkSync(path)).toMatch(/^\.\.\/\.\.\/\.\.\/blobs\//);
  }
});
