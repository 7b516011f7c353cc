/*
 * Pulling at a terminal: a question, progress, Ctrl-C. A pseudo-terminal comes from util-linux's
 * script.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { makeCheckpoint, SHAPES } from "../helpers/checkpoint.ts";
import { MAIN } from "../helpers/cli.ts";
import { hubEnv, startHub } from "../helpers/hub.ts";
import { tempDir } from "../helpers/temp.ts";
import { tokenizerBytes, vocabOf } from "../helpers/tokenizer.ts";

const canOpenTerminal = process.platform === "linux" && spawnSync("script", ["--version"]).status === 0;
const needsScript = canOpenTerminal ? "" : " (skipped: needs script of util-linux, which is not here)";

const model = makeCheckpoint(SHAPES["260K"]);
const hub = await startHub({ "an-org/stories": { "a.bin": model, "tok512.bin": tokenizerBytes(vocabOf(512)) } });
beforeEach(() => {
  hub.behave = undefined;
});

/** What appears on a terminal, and how the command ended. */
function onTerminal(
  cache: string,
  args: string,
  onOutput: (soFar: string, child: ChildProcess) => void,
): Promise<{ seen: string; code: number | null }> {
  const command = `stty cols 100 -echo; "${process.execPath}" "${MAIN}" ${args}`;
  const child = spawn("script", ["-qec", command, "/dev/null"], { env: { ...process.env, ...hubEnv(hub, cache) } });
  let seen = "";
  child.stdout.on("data", (chunk) => {
    seen += chunk;
    onOutput(seen, child);
  });
  return new Promise((resolve) => child.on("close", (code) => resolve({ seen, code })));
}

/** Type `text` once when `prompt` is there. */
function typing(prompt: string, text: string) {
  let typed = false;
  return (seen: string, child: ChildProcess) => {
    if (typed || !seen.includes(prompt)) return;
    typed = true;
    child.stdin?.write(text);
  };
}

const blobsIn = (cache: string) => readdirSync(join(cache, "models--an-org--stories", "blobs"));

describe.skipIf(!canOpenTerminal)(`on a terminal${needsScript}`, () => {
  const question = "an-org/stories/a.bin is not here. Pull it? [y/N] ";

  it("a missing model is pulled if the user says yes, and then runs", async () => {
    const cache = tempDir();
    const { seen, code } = await onTerminal(cache, "an-org/stories/a.bin -t 0 -n 5", typing(question, "y\r"));
    expect(code, seen).toBe(0);
    expect(seen).toMatch(/an-org\/stories\/a\.bin: \d+ % of 1\.1 MB, \d+ s left/);
    expect(seen).toContain("an-org/stories/a.bin: 1.1 MB fetched");
    expect(seen).toContain("achieved tok/s");
    expect(blobsIn(cache).length).toBe(2);
  });

  it.each([
    ["no", "n\r"],
    ["nothing", "\r"],
  ])("it is not pulled if the answer is %s", async (_, answer) => {
    const cache = tempDir();
    const { seen, code } = await onTerminal(cache, "an-org/stories/a.bin", typing(question, answer));
    expect(code).toBe(1);
    expect(seen).toMatch(/there is no an-org\/stories\/a\.bin here \(E_FILE\)\r\n {2}Fetch it: /);
    expect(readdirSync(cache)).toEqual([]);
  });

  it("Ctrl-C at the question ends the command", async () => {
    const cache = tempDir();
    const { code } = await onTerminal(cache, "an-org/stories/a.bin", typing(question, "\u0003"));
    expect(code).toBe(130);
    expect(readdirSync(cache)).toEqual([]);
  });

  it("Ctrl-C ends a pull and keeps the part downloaded", async () => {
    const cache = tempDir();
    hub.behave = (request, response, at) => {
      if (at !== "bytes" || !request.url?.includes("a.bin")) return false;
      response.writeHead(200, { "content-length": model.length });
      response.write(model.subarray(0, 500_000));
      return true;
    };
    const { seen, code } = await onTerminal(cache, "pull an-org/stories", typing(" % of 1.1 MB", "\u0003"));
    expect(code, seen).toBe(130);
    const parts = blobsIn(cache).filter((name) => /\.(part|lock)$/.test(name));
    expect(parts).toEqual([expect.stringMatching(/^[0-9a-f]{64}\.part$/)]);
    expect(existsSync(join(cache, "models--an-org--stories", "refs"))).toBe(false);
  });
});
