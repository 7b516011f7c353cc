/*
 * Every backend does the same work in a measurement, and a run that generated something else does not count.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { bench } from "../../src/bench/bench.ts";
import { formatted, nameOf } from "../../src/bench/format.ts";
import type { BenchResult } from "../../src/bench/result.ts";
import { randomModel } from "../../src/checkpoint/random.ts";
import { forward } from "../../src/llama2/transformer.ts";
import { loadTransformer } from "../../src/llama2/weights.ts";
import { hasAddon } from "../helpers/backends.ts";
import { llama2, MAIN } from "../helpers/cli.ts";
import { ROOT } from "../helpers/golden.ts";
import { tempDir } from "../helpers/temp.ts";

const MODEL = join(ROOT, "models", "stories2M.bin");
const SHAPE = "32,88,2,4,2,300,64";
const CONFIG = { dim: 32, hiddenDim: 88, nLayers: 2, nHeads: 4, nKvHeads: 2, vocabSize: 300, seqLen: 64 };
const exactBackends = hasAddon ? (["ts", "wasm", "cpu"] as const) : (["ts", "wasm"] as const);

/** A program in place of run.c, which prints what `body` does. */
function script(body: string): string {
  const path = join(tempDir(), "other.mjs");
  writeFileSync(path, body);
  return `"${process.execPath}" "${path}"`;
}

const short = { promptTokens: [0], newTokens: [12], runs: 1, effort: "full" } as const;

describe("a measurement", () => {
  it("does the same work on every backend, and its hashes are those of the reference's tokens and logits", async () => {
    const result = await bench({
      shapes: [SHAPE],
      backends: exactBackends,
      precisions: ["fp32"],
      threads: [1],
      promptTokens: [16],
      newTokens: [48],
      runs: 2,
      effort: "full",
    });
    const transformer = await loadTransformer(randomModel({ ...CONFIG, normEps: 1e-5, ropeTheta: 10000 }));
    const hash = createHash("sha256");
    const tokens = [1];
    for (let pos = 0; pos < 48; pos++) {
      const logits = forward(transformer, tokens[pos], pos);
      hash.update(new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength));
      tokens.push(logits.indexOf(Math.max(...logits)));
    }
    const logitsSha256 = hash.digest("hex");
    const tokensSha256 = createHash("sha256")
      .update(Buffer.from(Int32Array.from(tokens).buffer))
      .digest("hex");
    expect(result.rows.map(({ backend, test }) => `${backend} ${test}`)).toEqual(
      exactBackends.flatMap((backend) => [`${backend} pp16`, `${backend} tg48`]),
    );
    for (const row of result.rows) {
      expect(row.counts, row.why).toBe(true);
      expect(row.tokensPerSecond.runs.length).toBe(2);
      expect(row.tokensPerSecond.median).toBeGreaterThan(0);
      expect(row.speedupOverTs).toBeGreaterThan(0);
      expect(row.peakBytes).toBeGreaterThan(1e6);
      if (row.test === "tg48")
        expect(row).toMatchObject({ tokensSha256, logitsSha256, achieved: row.tokensPerSecond.median });
      if (row.test === "pp16") expect(row.firstTokenMs).toBeGreaterThan(0);
    }
    expect(result.machine.cores).toBeGreaterThan(0);
  });

  it("of several sequences generates the first as it would alone, and counts the tokens of all", async () => {
    const { rows } = await bench({
      ...short,
      shapes: [SHAPE],
      backends: ["wasm"],
      precisions: ["int8"],
      threads: [1],
      batches: [1, 5],
    });
    expect(rows.map(({ batch, counts }) => ({ batch, counts }))).toEqual([
      { batch: 1, counts: true },
      { batch: 5, counts: true },
    ]);
    expect(rows[0].tokensSha256).toBe(rows[1].tokensSha256);
  });

  it("of a model from a file is repeated with lookahead: the same tokens, in fewer passes", async () => {
    const { rows } = await bench({
      ...short,
      models: [MODEL],
      newTokens: [400],
      backends: ["wasm"],
      precisions: ["fp32"],
    });
    const [{ lookahead, tokensPerSecond, counts }] = rows;
    expect(counts).toBe(true);
    expect(lookahead?.tokensPerSecond.off).toBe(tokensPerSecond.median);
    expect(lookahead?.tokensPerSecond.on).toBeGreaterThan(0);
    expect(lookahead?.hitRate).toBeLessThanOrEqual(1);
    expect(lookahead?.tokensPerPass).toBeGreaterThanOrEqual(1);
    const random = await bench({ ...short, shapes: [SHAPE], backends: ["wasm"], precisions: ["fp32"], threads: [1] });
    expect(random.rows[0].lookahead).toBeUndefined();
  });

  it("counts the bytes that a token reads: weights, and half of the keys and values", async () => {
    const { rows } = await bench({ ...short, shapes: [SHAPE], backends: ["ts"], precisions: ["fp32"] });
    const [{ dim, hiddenDim, vocabSize }, kv] = [CONFIG, 16];
    const layer = 2 * dim * dim + 2 * dim * kv + 3 * dim * hiddenDim + 2 * dim;
    const weights = 4 * (2 * layer + vocabSize * dim + dim);
    expect(rows[0].bytesPerToken).toBe(weights + 2 * 4 * 2 * kv * (1 + 6));
  });

  it("skips what is impossible, with the reason, and measures the rest", async () => {
    const { rows, skipped } = await bench({
      ...short,
      shapes: [SHAPE],
      backends: ["ts"],
      precisions: ["fp32", "fp16"],
      threads: [1, 2],
    });
    expect(rows.length).toBe(1);
    expect(skipped.map(({ reason }) => reason)).toEqual([
      "the ts backend runs on one thread",
      "fp16 needs the cuda backend",
      "fp16 needs the cuda backend",
    ]);
  });

  it("that is ended early has the rows measured so far", async () => {
    const controller = new AbortController();
    const { rows, interrupted } = await bench({
      ...short,
      shapes: [SHAPE],
      backends: ["ts"],
      precisions: ["fp32"],
      runs: 1000,
      signal: controller.signal,
      onProgress: (done) => done > 0.302 && controller.abort(),
    });
    expect(interrupted).toBe(true);
    expect(rows.length).toBe(1);
    expect(rows[0].tokensPerSecond.runs.length).toBeLessThan(1000);
  });

  it.each([
    [{ backends: ["gpu"] }, /backend is "gpu", expected cuda, cpu, wasm, ts/],
    [{ shapes: ["8B"] }, /the shape "8B" is not known: expected 260K, 15M/],
    [{ shapes: ["30,88,2,4,2,300,64"] }, /heads divide dim/],
    [{ models: [], shapes: [] }, /there is no model to measure/],
    [{ shape: ["15M"] }, /has no option "shape". Is "shapes" meant/],
  ])("refuses invalid options: %j", async (options, message) => {
    await expect(bench(options as object)).rejects.toThrow(message);
  });
});

describe("another program", () => {
  const own = { ...short, models: [MODEL], backends: ["ts"], precisions: ["fp32"] } as const;

  it("that generates the same text has a row of its own", async () => {
    const command = `"${process.execPath}" "${MAIN}" {model} -t 0 -i "{prompt}" -n {n} -s {seed} --compat --backend ts`;
    const { rows, skipped } = await bench({ ...own, against: [command] });
    expect(skipped).toEqual([]);
    expect(rows[1]).toMatchObject({ model: "stories2M", test: "tg12", newTokens: 12, counts: true });
    expect(rows[1].tokensPerSecond.median).toBeGreaterThan(0);
  });

  it("that generates another text does not count, and the row says where they first differ", async () => {
    const liar = script('console.log("One day, there lived a dragon"); console.error("achieved tok/s: 1e3")');
    const { rows } = await bench({ ...own, against: [liar] });
    expect(rows[1].counts).toBe(false);
    expect(rows[1].why).toMatch(/^its text differs from character \d+ on: ".*", and llama2 ".*"$/);
  });

  it.each<[what: string, body: string, reason: RegExp, againstTimeoutMs?: number]>([
    ["prints no speed", 'console.log("One day")', /printed no speed: expected a line `achieved tok\/s: N`/],
    ["fails", 'console.error("no model"); process.exit(3)', /ended with status 3: no model/],
    [
      "prints without end",
      'const go = () => process.stdout.write("One day".repeat(10000), go); go()',
      /printed more than 4194304 bytes/,
    ],
    ["hangs", "setInterval(() => {}, 1000)", /was not done after 1 s/, 1000],
  ])("that %s is skipped with the reason, and the rest is kept", async (_, body, reason, againstTimeoutMs) => {
    const { rows, skipped } = await bench({ ...own, against: [script(body)], againstTimeoutMs });
    expect(rows.map(nameOf)).toEqual(["stories2M ts fp32 1 thr tg12"]);
    expect(skipped.map(({ reason }) => reason)).toEqual([expect.stringMatching(reason)]);
  });

  it("that does not exist is skipped likewise", async () => {
    const { skipped } = await bench({ ...own, against: ["/no/such/program {model}"] });
    expect(skipped[0].reason).toContain("cannot be started");
  });
});

/** Resolves once a measurement's engines have done some runs: the slow one has used a second. */
async function measuring(pid: number): Promise<void> {
  for (;;) {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean);
    const ticks = children.map((child) => Number(readFileSync(`/proc/${child}/stat`, "utf8").split(" ")[13]));
    if (ticks.some((used) => used > 100)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe("the command", () => {
  const flags = ["bench", "--shape", SHAPE, "--backend", "ts,wasm", "--threads", "1", "-p", "0", "-n", "10", "-r", "1"];

  it("prints a table of at most 80 columns with the machine below it", async () => {
    const { stdout, code, stderr } = await llama2(flags);
    expect({ code }, stderr + stdout).toEqual({ code: 0 });
    const lines = stdout.toString().trimEnd().split("\n");
    expect(lines[0]).toBe(`${SHAPE} (random)`);
    expect(lines[2]).toMatch(/^ {2}ts +fp32 +1 +tg10 +[\d.]+ ±\d+ %/);
    for (const line of lines.filter((line) => line.startsWith("  "))) expect(line.length).toBeLessThanOrEqual(80);
    expect(lines.at(-1)).toContain("llama2.ts");
  });

  it("prints JSON, from which two measurements are compared", async () => {
    const { stdout } = await llama2([...flags, "--json"]);
    const result: BenchResult = JSON.parse(stdout.toString());
    expect(Object.keys(result)).toEqual(
      expect.arrayContaining(["bench", "version", "date", "machine", "warnings", "bandwidth", "rows", "skipped"]),
    );
    const folder = tempDir();
    const faster = {
      ...result,
      rows: result.rows.map((row) => ({ ...row, tokensPerSecond: twice(row.tokensPerSecond) })),
    };
    writeFileSync(join(folder, "a.json"), JSON.stringify(result));
    writeFileSync(join(folder, "b.json"), JSON.stringify(faster));
    const compared = await llama2(["bench", "--compare", "a.json", "b.json"], { cwd: folder });
    expect(compared.stdout.toString()).toMatch(/ts fp32 1 thr tg10 +[\d.]+ -> +[\d.]+ tok\/s {2}\+100\.0 %\n/);
    const same = await llama2(["bench", "--compare", "a.json", "a.json"], { cwd: folder });
    expect(same.stdout.toString()).toMatch(/within noise\n/);
  });

  const twice = ({ median, min, max, runs }: BenchResult["rows"][0]["tokensPerSecond"]) => ({
    median: 2 * median,
    min: 2 * min,
    max: 2 * max,
    runs: runs.map((run) => 2 * run),
  });

  it("shares receipts by which verify does the same work again, bit for bit", async () => {
    const cwd = tempDir();
    const args = ["bench", MODEL, "--backend", "wasm", "--threads", "1", "-p", "9", "-n", "10", "-r", "1"];
    const { code, stdout } = await llama2([...args, "--share", "shared.json", "--json"], { cwd });
    expect(code).toBe(0);
    expect(stdout.toString()).not.toContain('"receipt"');
    const shared: BenchResult = JSON.parse(readFileSync(join(cwd, "shared.json"), "utf8"));
    expect(shared.rows.map(({ test, receipt }) => [test, receipt?.tokens.length])).toEqual([
      ["pp9", 10],
      ["tg10", 11],
    ]);
    const verified = await llama2(["verify", "shared.json", MODEL], { cwd });
    expect(verified.code, verified.stderr).toBe(0);
    expect(verified.stdout.toString()).toBe("the same, bit for bit: 10 tokens\nthe same, bit for bit: 11 tokens\n");
    const forged = JSON.stringify(shared).replace(/"tokens":\[1,(\d+),/, '"tokens":[1,$1$1,');
    writeFileSync(join(cwd, "forged.json"), forged);
    expect((await llama2(["verify", "forged.json", MODEL], { cwd })).code).toBe(1);
  });

  it("refuses bad input before anything runs: exit 2 for flags, 1 for files", async () => {
    const codes = async (...args: string[]) => {
      const { code, stdout, stderr } = await llama2(["bench", ...args]);
      expect(stdout.length).toBe(0);
      return [code, stderr.split("\n")[0].replace(/^llama2: /, "")];
    };
    expect(await codes("--backend", "gpu")).toEqual([
      2,
      expect.stringContaining("Expected some of cuda, cpu, wasm, ts."),
    ]);
    expect(await codes("--shape", "8B")).toEqual([2, expect.stringContaining('the shape "8B" is not known')]);
    expect(await codes("no-such-model.bin")).toEqual([1, expect.stringContaining("no-such-model.bin")]);
    expect(await codes("--report", "/no/such/folder/x.html")).toEqual([1, expect.stringContaining("/no/such/folder")]);
    expect(await codes("--share", tempDir())).toEqual([1, expect.stringContaining("it is a directory")]);
    expect(await codes("--compare", MODEL)).toEqual([2, expect.stringContaining("takes two files")]);
    expect(await codes("--compare", MODEL, MODEL)).toEqual([1, expect.stringContaining("is not a measurement")]);
  });

  it.skipIf(process.platform !== "linux")(
    "at Ctrl-C prints what has been measured, and its status is 130",
    async () => {
      const slow = [
        "--shape",
        "32,88,2,4,2,300,256",
        "--backend",
        "ts,wasm",
        "--precision",
        "fp32",
        "-p",
        "0",
        "-n",
        "250",
        "-r",
        "1000",
        "--threads",
        "1",
      ];
      const args = [MAIN, "bench", ...slow, "--full"];
      const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "ignore"] });
      const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
      const stdout: Buffer[] = [];
      child.stdout.on("data", (chunk) => stdout.push(chunk));
      await measuring(child.pid as number);
      child.kill("SIGINT");
      expect(await ended).toBe(130);
      expect(Buffer.concat(stdout).toString()).toContain("interrupted: this is what had been measured");
    },
  );
});

describe("formats", () => {
  const row = (changes = {}) => ({
    model: "m",
    backend: "cpu",
    precision: "fp32" as const,
    threads: 2,
    batch: 1,
    test: "tg128",
    promptTokens: 1,
    newTokens: 128,
    tokensPerSecond: { median: 100, min: 95, max: 105, runs: [95, 100, 105] },
    counts: true,
    ...changes,
  });
  const result: BenchResult = {
    bench: 1,
    version: "0.1.0",
    date: "2026-11-29T12:00:00Z",
    machine: {
      cpu: 'A "fast", CPU',
      cores: 2,
      isa: "avx2",
      memoryBytes: 16e9,
      availableBytes: 8e9,
      node: "v20.20.2",
      os: "linux 6.8 x64",
    },
    warnings: ["the machine is busy"],
    bandwidth: [],
    rows: [row(), row({ backend: "ts", threads: 1, counts: false, why: "it generated other tokens" })],
    skipped: [{ what: "m wasm", reason: "no" }],
  };

  it("Markdown is a table with the machine below it", () => {
    const text = formatted(result, "md");
    expect(text).toContain("| m | cpu | fp32 | 2 | tg128 | 100 ±5 % |");
    expect(text).toContain("does not count: it generated other tokens");
    expect(text.trimEnd().split("\n").at(-1)).toContain(
      'A "fast", CPU, 2 cores, avx2, 16 GB, linux 6.8 x64, Node 20.20.2',
    );
  });

  it("CSV has a header, quotes where needed, and the machine in every line", () => {
    const [head, first] = formatted(result, "csv").split("\n");
    expect(head.split(",")).toContain("medianTokensPerSecond");
    expect(first).toContain('"A ""fast"", CPU"');
    expect(formatted(result, "csv").trimEnd().split("\n").length).toBe(3);
    const tokensPerSecond = { off: 100, on: 130 };
    const ahead = { ...result, rows: [row({ lookahead: { hitRate: 0.5, tokensPerPass: 1.4, tokensPerSecond } })] };
    expect(formatted(ahead, "csv")).not.toContain("[object");
    expect(formatted(ahead, "csv")).toMatch(/,130,1.4,0.5\n$/);
    expect(formatted(ahead, "table")).toContain("1.30x");
  });

  it("JSON lines have the machine in every line", () => {
    const lines = formatted(result, "jsonl")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines.map(({ cpu, backend }) => [cpu, backend])).toEqual([
      ['A "fast", CPU', "cpu"],
      ['A "fast", CPU', "ts"],
    ]);
  });

  it("the table names what does not count, what was skipped, and what disturbed the measurement", () => {
    const text = formatted(result, "table");
    expect(text).toContain("does not count: m ts fp32 1 thr tg128: it generated other tokens");
    expect(text).toContain("warning: the machine is busy");
    expect(text).toContain("skipped: m wasm: no");
  });
});
