/*
 * A file is downloaded complete and correct, or not at all, whatever the server, the disk and other processes do
 * meanwhile.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { hostname } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { PATIENCE } from "../../src/net/answers.ts";
import { httpClient } from "../../src/net/client.ts";
import { type Download, download } from "../../src/pull/download.ts";
import { expectRejection } from "../helpers/errors.ts";
import { sha256 } from "../helpers/golden.ts";
import { type Behaviour, digestOf, sendBytes, startHub } from "../helpers/hub.ts";
import { tempDir } from "../helpers/temp.ts";

const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7919) >> 3);
const other = bytes.toReversed();
const hub = await startHub({ "an-org/a-repo": { "a.bin": bytes, "empty.bin": new Uint8Array(0) } });
const patience = { ...PATIENCE, waitMs: () => 0 };
const { get } = await httpClient({ patience });
/** For servers that are silent. */
const impatience = { ...patience, stallMs: 100, tries: 2 };
const { get: getSoon } = await httpClient({ patience: impatience });
beforeEach(() => {
  hub.behave = undefined;
  hub.requests.length = 0;
  hub.sent = 0;
});

/** A file that comes, with its digest known beforehand or not. */
function fetching(known: boolean, more: Partial<Download> = {}, folder = tempDir()) {
  const path = join(folder, "a.bin");
  const digest = known ? { bytes: bytes.length, digest: sha256(bytes) } : {};
  const job: Download = { url: `${hub.bytesUrl}/an-org/a-repo/a.bin`, path, name: "a.bin", ...digest, ...more };
  return {
    path,
    folder,
    run: () => download(get, job, { patience }),
    runSoon: () => download(getSoon, job, { patience: impatience }),
  };
}

const here = (path: string) => new Uint8Array(readFileSync(path));
const ranges = () => hub.requests.map(({ headers }) => [headers.range, headers["if-range"]]);

/** Answers the first `times` requests so, and the others as a server should. */
function atFirst(behave: (...args: Parameters<Behaviour>) => unknown, times = 1): Behaviour {
  let left = times;
  return (...args) => {
    if (left-- <= 0) return false;
    behave(...args);
    return true;
  };
}

/** Half of the file, then the connection is cut. */
function cut(response: ServerResponse, etag?: string): void {
  response.writeHead(200, { "content-length": bytes.length, ...(etag && { etag }) });
  response.write(bytes.subarray(0, 150_000), () => setImmediate(() => response.destroy()));
}
const ETAG = `"${digestOf("a.bin", bytes)}"`;

describe.each([
  ["a file with a known digest", true],
  ["a file with an unknown digest", false],
])("%s", (_, known) => {
  it("is downloaded, and no other file is left beside it", async () => {
    const { run, path, folder } = fetching(known);
    expect(await run()).toEqual({ bytes: bytes.length, sha256: sha256(bytes), downloadedBytes: bytes.length });
    expect(here(path)).toEqual(bytes);
    expect(readdirSync(folder)).toEqual(["a.bin"]);
  });

  it("continues after the connection was lost", async () => {
    hub.behave = atFirst((_, response) => cut(response, ETAG));
    const { run, path } = fetching(known);
    expect((await run()).downloadedBytes).toBe(bytes.length);
    expect(here(path)).toEqual(bytes);
    expect(ranges().at(-1)).toEqual([expect.stringMatching(/^bytes=[1-9]\d*-$/), ETAG]);
  });

  it("continues in the next process after the last one was stopped", async () => {
    hub.behave = (_, response) => {
      cut(response, ETAG);
      return true;
    };
    const first = fetching(known);
    await expectRejection(first.run(), "E_NET", /the connection was cut|started over too often/);
    expect(existsSync(first.path)).toBe(false);
    expect(existsSync(`${first.path}.lock`)).toBe(false);
    const kept = here(`${first.path}.part`);
    expect(kept).toEqual(bytes.subarray(0, kept.length));
    hub.behave = undefined;
    const { run, path, folder } = fetching(known, {}, first.folder);
    expect((await run()).downloadedBytes).toBe(bytes.length - kept.length);
    expect(here(path)).toEqual(bytes);
    expect(readdirSync(folder)).toEqual(["a.bin"]);
  });

  it("starts over if the server answers a range request with the whole file", async () => {
    hub.behave = atFirst((_, response) => cut(response, ETAG));
    const { run, path } = fetching(known);
    const whole = atFirst((_, response) => response.writeHead(200, { "content-length": bytes.length }).end(bytes));
    const half = hub.behave;
    hub.behave = (...args) => half(...args) || whole(...args);
    await run();
    expect(here(path)).toEqual(bytes);
  });

  it("starts over if the server does not have the requested range", async () => {
    const { run, path, folder } = fetching(known);
    writeFileSync(join(folder, "a.bin.part"), bytes.subarray(0, 1000));
    writeFileSync(join(folder, "a.bin.part.etag"), ETAG);
    hub.behave = atFirst((_, response) => response.writeHead(416).end());
    await run();
    expect(here(path)).toEqual(bytes);
  });

  it("is requested again after server errors, at the time that the server names", async () => {
    hub.behave = atFirst((_, response) => response.writeHead(429, { "retry-after": "0" }).end(), 2);
    await fetching(known).run();
    expect(hub.requests.map(({ status }) => status)).toEqual([429, 429, 200]);
  });

  it.each<[string, RegExp, Behaviour]>([
    ["answers 401", /401.*token/, (_, response) => !!response.writeHead(401).end()],
    ["answers 403", /403.*token/, (_, response) => !!response.writeHead(403).end()],
    [
      "says that its owner wants a licence to be accepted",
      /licence/,
      (_, response) => !!response.writeHead(403, { "x-error-code": "GatedRepo" }).end(),
    ],
    ["answers 404", /404/, (_, response) => !!response.writeHead(404).end()],
    ["answers 500 again and again", /500/, (_, response) => !!response.writeHead(500).end()],
    ["answers 429 again and again", /asked too often/, (_, response) => !!response.writeHead(429).end()],
    [
      "sends a page",
      /a page for people/,
      (_, response) => !!response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end("<html>"),
    ],
    ["compresses it", /gzip/, (_, response) => !!response.writeHead(200, { "content-encoding": "gzip" }).end("x")],
    [
      "sends another part than was asked for",
      /answers "bytes 5-299999\/300000"/,
      (_, response) => {
        response.writeHead(206, { "content-range": "bytes 5-299999/300000" }).end(bytes.subarray(5));
        return true;
      },
    ],
    ["is silent", /stopped answering/, () => true],
    [
      "stops sending",
      /stopped sending/,
      (_, response) => {
        response.writeHead(200, { "content-length": bytes.length });
        return response.write(bytes.subarray(0, 10)) || true;
      },
    ],
    [
      "leads in circles",
      /without end/,
      (request, response) => !!response.writeHead(302, { location: request.url }).end(),
    ],
  ])("is refused from a server that %s, and an older file is kept", async (_, message, behave) => {
    const { run, runSoon, path } = fetching(known);
    writeFileSync(path, "older");
    hub.behave = behave;
    const isSilent = message.source.includes("stopped");
    await expectRejection(isSilent ? runSoon() : run(), "E_NET", message);
    expect(readFileSync(path, "utf8")).toBe("older");
    expect(existsSync(`${path}.lock`)).toBe(false);
  });
});

describe("a file with a known digest", () => {
  it.each<[string, RegExp, Behaviour]>([
    ["has other bytes", /has the digest .* expected .*deleted/, (_, response) => !!response.end(other)],
    [
      "has fewer bytes",
      /has 10 bytes, and a\.bin should have 300,000 bytes/,
      (_, response) => {
        response.writeHead(200, { "content-length": 10 }).end(bytes.subarray(0, 10));
        return true;
      },
    ],
    [
      "has more bytes",
      /has 300,001 bytes/,
      (_, response) => {
        response.writeHead(200, { "content-length": 300_001 }).end(Buffer.concat([bytes, Buffer.from("x")]));
        return true;
      },
    ],
  ])("is refused from a server that %s, and no part of it is kept", async (_, message, behave) => {
    const { run, path, folder } = fetching(true);
    writeFileSync(path, "older");
    hub.behave = behave;
    await expectRejection(run(), "E_INTEGRITY", message);
    expect(readFileSync(path, "utf8")).toBe("older");
    expect(readdirSync(folder).filter((name) => /lock|etag/.test(name))).toEqual([]);
  });

  it("is read up to its length and no further, however much the server sends", async () => {
    hub.behave = (_, response) => {
      const more = () => void (response.destroyed || response.write(bytes, more));
      response.writeHead(200);
      more();
      return true;
    };
    const { run, path } = fetching(true);
    await expectRejection(run(), "E_NET", "sends more than");
    expect(existsSync(path)).toBe(false);
    expect(here(`${path}.part`).length).toBeLessThanOrEqual(bytes.length);
  });

  it("is downloaded again if the part left by an earlier process is wrong", async () => {
    const { run, path } = fetching(true);
    writeFileSync(`${path}.part`, other.subarray(0, 1000));
    expect((await run()).downloadedBytes).toBe(2 * bytes.length - 1000);
    expect(here(path)).toEqual(bytes);
  });

  it("gets its name without a request if its part is complete", async () => {
    const { run, path } = fetching(true);
    writeFileSync(`${path}.part`, bytes);
    expect((await run()).downloadedBytes).toBe(0);
    expect(here(path)).toEqual(bytes);
    expect(hub.requests).toEqual([]);
  });

  it("may have a git digest, and may be empty", async () => {
    const git = digestOf("a.json", bytes);
    await fetching(true, { digest: git }).run();
    hub.behave = (_, response) => !!response.end(other);
    await expectRejection(fetching(true, { digest: git }).run(), "E_INTEGRITY", git);
    hub.behave = undefined;
    const empty = fetching(true, { bytes: 0, digest: sha256("") });
    expect(await empty.run()).toMatchObject({ bytes: 0, downloadedBytes: 0 });
    expect(here(empty.path).length).toBe(0);
  });
});

describe("a file with an unknown digest", () => {
  it("starts over if it has changed, even if the server ignores the condition", async () => {
    for (const obeys of [true, false]) {
      const { run, path } = fetching(false);
      writeFileSync(`${path}.part`, other.subarray(0, 1000));
      writeFileSync(`${path}.part.etag`, '"of another"');
      hub.requests.length = 0;
      hub.behave = (request, response) => {
        if (!obeys) delete request.headers["if-range"];
        sendBytes(hub, request, response, ["a.bin", bytes]);
        return true;
      };
      await run();
      expect(here(path)).toEqual(bytes);
      expect(hub.requests.map(({ status }) => status)).toEqual(obeys ? [200] : [206, 200]);
    }
  });

  it("starts over if the server does not say that it is still the same", async () => {
    const { run, path } = fetching(false);
    writeFileSync(`${path}.part`, other.subarray(0, 1000));
    await run();
    expect(here(path)).toEqual(bytes);
    expect(ranges()).toEqual([[undefined, undefined]]);
  });

  it("is refused if the server does not give its length", async () => {
    hub.behave = (_, response) => response.writeHead(200).write("x") || true;
    await expectRejection(fetching(false).run(), "E_NET", "how long");
  });
});

describe("one process at a time", () => {
  const lockOf = (folder: string, text: string, ageMs: number) => {
    const path = join(folder, "a.bin.lock");
    mkdirSync(folder, { recursive: true });
    writeFileSync(path, text);
    const time = new Date(Date.now() - ageMs);
    utimesSync(path, time, time);
    return path;
  };

  it("downloads a file; a second one is refused", async () => {
    let second: Promise<unknown> = Promise.resolve();
    const { run, folder } = fetching(true);
    hub.behave = atFirst((request, response) => {
      second = expectRejection(fetching(true, {}, folder).run(), "E_FILE", `process ${process.pid}`).then(() =>
        sendBytes(hub, request, response, ["a.bin", bytes]),
      );
    });
    await run();
    await second;
    expect(hub.requests.length).toBe(1);
  });

  it("respects a lock that another machine has touched within a minute", async () => {
    const { run, folder } = fetching(true);
    const lock = lockOf(folder, "1 another-host\n", 50_000);
    await expectRejection(run(), "E_FILE", "process 1");
    expect(readFileSync(lock, "utf8")).toBe("1 another-host\n");
  });

  it.each([
    ["not touched for a minute", "1 another-host\n", 61_000],
    ["whose process has ended", `${2 ** 30} ${hostname()}\n`, 0],
    ["without a process", "", 61_000],
  ])("takes a lock over %s", async (_, text, ageMs) => {
    const { run, path, folder } = fetching(true);
    lockOf(folder, text, ageMs);
    await run();
    expect(here(path)).toEqual(bytes);
    expect(readdirSync(folder)).toEqual(["a.bin"]);
  });
});

it("an abort keeps the part downloaded, and the next download continues from it", async () => {
  const controller = new AbortController();
  hub.behave = atFirst((_, response) => {
    response.writeHead(200, { "content-length": bytes.length });
    response.write(bytes.subarray(0, 1000));
  });
  const folder = tempDir();
  const path = join(folder, "a.bin");
  const job = { url: `${hub.bytesUrl}/an-org/a-repo/a.bin`, path, name: "a.bin", bytes: bytes.length };
  const options = { patience, signal: controller.signal, onBytes: () => controller.abort(new Error("enough")) };
  const client = await httpClient(options);
  const reason = await download(client.get, { ...job, digest: sha256(bytes) }, options).catch((error) => error);
  client.close();
  expect(reason).toMatchObject({ message: "enough" });
  expect(readdirSync(folder)).toEqual(["a.bin.part"]);
  expect((await fetching(true, {}, folder).run()).downloadedBytes).toBe(bytes.length - 1000);
});

it("a process that is killed leaves a part from which the next one continues", async () => {
  const folder = tempDir();
  const { path, run } = fetching(true, {}, folder);
  const script = `
    const { httpClient } = await import(${JSON.stringify(new URL("../../dist/net/client.js", import.meta.url).href)});
    const { download } = await import(${JSON.stringify(new URL("../../dist/pull/download.js", import.meta.url).href)});
    const { get } = await httpClient();
    const [url, path, digest] = process.argv.slice(1);
    const onBytes = () => process.kill(process.pid, "SIGKILL");
    await download(get, { url, path, name: "a.bin", bytes: ${bytes.length}, digest }, { onBytes });`;
  const url = `${hub.bytesUrl}/an-org/a-repo/a.bin`;
  const args = ["--input-type=module", "--eval", script, url, path, sha256(bytes)];
  const child = spawn(process.execPath, args, { stdio: "inherit" });
  const signal = await new Promise((resolve) => child.on("exit", (_, signal) => resolve(signal)));
  expect(signal).toBe("SIGKILL");
  expect(readdirSync(folder).sort()).toEqual(["a.bin.lock", "a.bin.part"]);
  const kept = here(`${path}.part`).length;
  expect(kept).toBeGreaterThan(0);
  expect((await run()).downloadedBytes).toBe(bytes.length - kept);
  expect(here(path)).toEqual(bytes);
  expect(readdirSync(folder)).toEqual(["a.bin"]);
});

it("a file larger than the free disk space is refused before it is downloaded", async () => {
  hub.behave = (_, response) => response.writeHead(200, { "content-length": 10 ** 15 - 1 }).write("x") || true;
  const { run, folder } = fetching(false);
  await expectRejection(run(), "E_FILE", /a\.bin takes 999,999,999,999,999 bytes, and the disk of .* has [\d,]+ bytes/);
  expect(readdirSync(folder).filter((name) => !name.endsWith(".part"))).toEqual([]);
});
