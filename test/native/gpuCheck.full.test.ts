/*
 * gpu:check on the emulator, without Node: the same program and command as on a machine with a GPU. A bug planted in
 * a kernel shows that its checks can fail.
 */
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { hasCompiler } from "../../scripts/cuda-emulator.mjs";
import { hasDriver } from "../../src/backend/cuda/driver.ts";
import { ROOT } from "../helpers/golden.ts";
import { bareEnv, gpuCheck, hasPython, python, pythonOnly, type Report, type Section } from "../helpers/gpuCheck.ts";
import { tempDir } from "../helpers/temp.ts";

const here = hasCompiler && hasPython;
const needs = here ? "" : " (skipped: needs g++ on Linux and Python 3)";

/** Every section, and something that must be among its results, with how many checks it has at least. */
const SECTIONS: [string, RegExp, number][] = [
  ["reference", /gqa, seed 7, as run\.c/, 5],
  ["bandwidth", /^copy$/, 0],
  ["bandwidth", /^read$/, 0],
  ["bandwidth", /^read from L2$/, 0],
  ["launches", /graph node of 1 blocks/, 0],
  ["launches", /early start/, 0],
  ["rope", /bit for bit/, 1],
  ["logits", /gqa fp32, one at a time/, 64],
  ["logits", /tiles of columns int8, as a prompt/, 0],
  ["logits", /several splits/, 0],
  ["logits", /mqa int8, as a prompt/, 0],
  ["logits", /groups that straddle fp16, fp16 cache/, 0],
  ["text", /gqa int8, greedy/, 3],
  ["stories", /stories2M/, 1],
  ["memory", /a model larger than the card/, 4],
  ["decode", /tiny fp32, first 32/, 0],
  ["decode", /tiny int8, last 32/, 0],
  ["repeats", /tiny fp16, again/, 3],
  ["slots", /tiny fp32, alone and among/, 3],
  ["copies", /a copied prefix, fp16/, 2],
  ["batches", /11 slots at once/, 6],
  ["sampler", /draws of 32000/, 11],
  ["prefill", /tiny fp32/, 0],
  ["batch", /9 at once/, 0],
];

/** Others than gpu:check's own, which is random, with four blocks at once. */
const SCHEDULES: Record<string, Record<string, string>> = {
  "in order, as a Turing": {
    EMULATOR_SCHEDULE: "forward",
    EMULATOR_RESIDENT: "1",
    EMULATOR_COMPUTE: "7",
    EMULATOR_DRIVER: "12000",
    EMULATOR_RUNTIME: "12000",
  },
  "block 0 last, threads backwards, as late as a stream can be": {
    EMULATOR_SCHEDULE: "reverse",
    EMULATOR_RESIDENT: "1",
    EMULATOR_LAZY: "1",
  },
  "read-only loads watched": { EMULATOR_READ_ONLY: "1" },
};

describe.skipIf(!here)(`gpu:check on the emulator, without Node${needs}`, () => {
  const build = join(ROOT, "build-emulator", "check");
  const rehearse = (args: readonly string[], env = {}) =>
    gpuCheck(["--emulate", "--small", "--build", build, ...args], { ...bareEnv(), ...env });

  let full: ReturnType<typeof gpuCheck>;
  const sections = (): Section[] => full.report?.sections ?? [];
  beforeAll(() => {
    full = rehearse(["--seconds", "900"]);
  }, 900_000);

  it("exits with 0 when everything is right", () => {
    expect(full.status, full.printed).toBe(0);
    expect(full.report?.status).toBe("ok");
    const checks = sections().flatMap(({ results }) => results.filter(({ ok }) => ok !== undefined));
    expect(checks.filter(({ ok }) => !ok)).toEqual([]);
    expect(checks.length).toBeGreaterThan(80);
  });

  it.each(SECTIONS)("has the section %s, with %s", (name, what, checks) => {
    const section = sections().find((s) => s.name === name);
    expect(section?.status).toBe("ok");
    expect(section?.results.some((result) => what.test(result.what))).toBe(true);
    expect(section?.results.filter(({ ok }) => ok).length).toBeGreaterThanOrEqual(checks);
  });

  it("says what each result is: checked, measured with its spread, or skipped with the reason", () => {
    for (const result of sections().flatMap(({ results }) => results)) {
      const measured = result.median !== undefined;
      if (measured) {
        expect(result.min, result.what).toBeLessThanOrEqual(result.median as number);
        expect(result.max, result.what).toBeGreaterThanOrEqual(result.median as number);
        expect(result.unit, result.what).toBeTruthy();
      }
      if (result.skipped !== undefined) {
        expect(measured).toBe(false);
        expect(result.skipped).not.toBe("");
      } else {
        expect(measured || result.ok !== undefined, result.what).toBe(true);
      }
    }
    for (const { status, why } of sections().filter(({ status }) => status === "skipped")) {
      expect(why, status).toBeTruthy();
    }
  });

  it("has the time, the machine and the sources of its results, and prints a summary last", () => {
    const report = full.report as Report;
    expect(report.schema).toBe(1);
    expect(Date.parse(report.date)).toBeGreaterThan(Date.parse("2026-01-01"));
    expect(report.command).toContain("gpu-check.py");
    expect(report.device?.what).toBe("emulator");
    expect(report.build.compiler).toMatch(/g\+\+/);
    const lines = full.printed.trimEnd().split("\n");
    expect(lines.length).toBeLessThan(110);
    expect(lines.some((line) => /^checks: (\d+) of \1 right$/.test(line))).toBe(true);
    expect(lines.some((line) => /^ {2}tiny fp32, first 32 +[\d.]+ tok\/s/.test(line))).toBe(true);
  });

  it.each(Object.entries(SCHEDULES))("passes in another order of blocks and threads: %s", (_, env) => {
    const { status, printed } = rehearse(["--only", "logits,batches,slots,copies", "--seconds", "900"], env);
    expect(status, printed).toBe(0);
  });

  it("fails when a kernel is wrong, and says where", () => {
    const native = join(tempDir(), "native");
    cpSync(join(ROOT, "native"), native, { recursive: true });
    const path = join(native, "cuda", "ffn.h");
    const text = readFileSync(path, "utf8");
    const planted = text.replace("+ row] += v[0]", "+ row] = v[0]"); // the residual forgotten
    expect(planted).not.toBe(text);
    writeFileSync(path, planted);
    const { status, report, printed } = rehearse(["--native", native, "--only", "logits,text"]);
    expect(status, printed).toBe(1);
    expect(report?.status).toBe("failed");
    expect(report?.sections.map((s) => s.status)).toEqual(["failed", "failed"]);
    expect(printed).toMatch(/WRONG {2}logits: gqa fp32, as a prompt/);
  }, 600_000);

  it("fails when the reference is not run.c's", () => {
    const native = join(tempDir(), "native");
    cpSync(join(ROOT, "native"), native, { recursive: true });
    const path = join(native, "cuda", "check", "checkpoint.cpp");
    const text = readFileSync(path, "utf8");
    const planted = text.replace("powf(10000.0f, share)", "powf(10001.0f, share)");
    expect(planted).not.toBe(text);
    writeFileSync(path, planted);
    const { status, report } = rehearse(["--native", native, "--only", "reference"]);
    expect(status).toBe(1);
    expect(report?.sections[0].status).toBe("failed");
  }, 600_000);

  it("lists as skipped what there was no time for", () => {
    const { status, report, printed } = rehearse(["--seconds", "1"]);
    expect(status, printed).toBe(0);
    expect(report?.status).toBe("incomplete");
    const late = report?.sections.filter(({ name }) => ["decode", "sampler", "prefill", "batch"].includes(name)) ?? [];
    expect(late.map((s) => s.status)).toEqual(["skipped", "skipped", "skipped", "skipped"]);
    expect(late.flatMap(({ results }) => results.filter(({ median }) => median !== undefined))).toEqual([]);
  }, 300_000);

  it("exits with 3 where there is no device, and says so in its results", () => {
    const { status, report, printed } = rehearse([], { EMULATOR_DEVICES: "0" });
    expect(status, printed).toBe(3);
    expect(report?.status).toBe("no device");
    expect(report?.error).toBe("there is no NVIDIA GPU");
    expect(report?.sections).toEqual([]);
  }, 300_000);

  it("keeps a section's results from before it crashed or hung, and continues with the next", () => {
    const { stdout, stderr } = python(`
import json, time
from sections import Runner
runner = Runner("none", time.monotonic() + 9, True, {}, lambda: None)
line = """echo '{"what":"a","ok":true}'; """
runner.run("crash", ["sh", "-c", line + "kill -SEGV $$"], 60)
runner.run("hang", ["sh", "-c", line + "sleep 60"], 60)
runner.deadline += 20
runner.run("after", ["sh", "-c", line], 60)
print(json.dumps(runner.done))`);
    const done: Section[] = JSON.parse(stdout.trim().split("\n").at(-1) ?? stderr);
    expect(done.map(({ status }) => status)).toEqual(["crashed", "stopped", "ok"]);
    for (const { results } of done) expect(results).toEqual([{ what: "a", ok: true }]);
  }, 60_000);
});

/** Programs of these names, as shell scripts, and nothing else. */
function programs(scripts: Record<string, string>): string {
  const folder = tempDir();
  for (const [name, script] of Object.entries(scripts)) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  return folder;
}

describe.skipIf(!here)(`gpu:check with tools replaced by scripts${needs}`, () => {
  /** What Python code says that is given a Runner whose program says that all is well. */
  function sectionsOf(code: string, scripts: Record<string, string>): Section[] {
    const folder = programs({ program: `echo '{"what":"a","ok":true}'`, ...scripts });
    const { stdout, stderr } = python(`
import json, os, time
os.environ["PATH"] = "${folder}:" + os.environ["PATH"]
from sections import Runner
runner = Runner("${folder}/program", time.monotonic() + 300, True, {}, lambda: None)
${code}
print(json.dumps(runner.done))`);
    return JSON.parse(stdout.trim().split("\n").at(-1) || `"${stderr}"`);
  }

  it("reports what compute-sanitizer finds in any section", () => {
    const run = 'runner.run_sanitizer("memcheck", 60)';
    const clean = sectionsOf(run, { "compute-sanitizer": 'echo ========= COMPUTE-SANITIZER; shift 4; exec "$@"' });
    expect(clean[0].status).toBe("ok");
    expect(clean[0].results.map(({ ok }) => ok)).toEqual([true, true, true, true, true]);
    const script = 'shift 4; "$@"; if [ "$2" = slots ]; then echo "========= Invalid __global__ read"; exit 9; fi';
    const found = sectionsOf(run, { "compute-sanitizer": script });
    expect(found[0].status).toBe("crashed");
    expect(found[0].results.map(({ ok }) => ok)).toEqual([true, true, false, true, true]);
    expect(JSON.stringify(found[0])).toContain("Invalid __global__ read");
  });
});

describe.skipIf(!hasPython)(
  `gpu:check where something is missing${hasPython ? "" : " (skipped: needs Python 3)"}`,
  () => {
    /** What it says, and with which status, on a machine with these programs and Python. */
    const refused = (scripts: Record<string, string>) => {
      const { status, printed, report } = gpuCheck([], { PATH: `${programs(scripts)}:${pythonOnly()}`, CUDACXX: "" });
      return { status, printed, report };
    };
    const nvcc = "echo Cuda compilation tools, release 13.0, V13.0.48";

    it.skipIf(hasDriver())("names it in one line, before it builds anything", () => {
      const start = "gpu:check did not start: missing an NVIDIA driver";
      expect(refused({ nvcc, "g++": "exit 1" })).toEqual({ status: 3, printed: `${start}\n`, report: undefined });
      expect(refused({ nvcc }).printed).toBe(`${start}, g++\n`);
      expect(refused({ nvcc: "exit 1", "g++": "exit 1" }).printed).toMatch(
        /^gpu:check did not start: missing an NVIDIA driver(, nvcc \(the CUDA toolkit, 12\.0 or newer; CUDACXX can name it\))?\n$/,
      );
    });
  },
);
