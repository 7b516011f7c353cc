/*
 * What the README shows of results: the newest that counts, or nothing.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { BLOCKS, newestResult, withTable, withTables } from "../../bench/readme.mjs";
import { tempDir } from "../helpers/temp.ts";

const readme =
  "before\n<!-- bench -->\nold\n<!-- /bench -->\nbetween\n<!-- gpu -->\nstale\n<!-- /gpu -->\nafter\n<!-- fuzz -->\n<!-- /fuzz -->\n";
const gpu = BLOCKS[1];

const result = (date: string, changes = {}) => ({
  schema: 1,
  date,
  commit: "0123456789abcdef",
  command: "python3 scripts/gpu-check.py",
  emulated: false,
  status: "ok",
  device: { what: "NVIDIA H100 80GB HBM3", driver: "13.0" },
  card: { driver_version: "580.1" },
  build: { compiler: "release 13.0" },
  sections: [
    { name: "bandwidth", status: "ok", results: [{ what: "copy", median: 3001, min: 2990, max: 3010, unit: "GB/s" }] },
    { name: "reference", status: "ok", results: [] },
    { name: "logits", status: "ok", results: [{ what: "gqa", ok: true }] },
    {
      name: "decode",
      status: "ok",
      results: [
        { what: "15M fp32, first 32", median: 8123.4, ofCopy: 0.16, expected: 8400 },
        { what: "15M fp32, last 32", median: 7900, ofCopy: 0.15, expected: 8300 },
        { what: "7B fp32", skipped: "no time left" },
      ],
    },
    { name: "batch", status: "skipped", why: "no time left", results: [] },
  ],
  ...changes,
});

function folderOf(results: Record<string, unknown>): string {
  const folder = join(tempDir(), "results");
  mkdirSync(folder);
  for (const [name, value] of Object.entries(results)) writeFileSync(join(folder, name), JSON.stringify(value));
  return folder;
}

it("shows nothing between the markers without results", () => {
  expect(withTables(readme, folderOf({}))).toBe(
    "before\n<!-- bench -->\n<!-- /bench -->\nbetween\n<!-- gpu -->\n<!-- /gpu -->\nafter\n<!-- fuzz -->\n<!-- /fuzz -->\n",
  );
});

it("shows what was measured on the CPU, and no targets", () => {
  const speed = (median: number) => ({ median, min: median, max: median });
  const figure = {
    row: "cpu",
    what: "cpu, 1 thread",
    model: "15M",
    threads: 1,
    unit: "tok/s",
    ours: speed(120),
    against: "runfast 1",
    ratio: speed(1.2),
    target: { atLeast: 1.3 },
    counts: true,
    met: false,
  };
  const machine = { cpu: "a CPU", family: 26, cores: 2 };
  const models = { date: "2026-12-01", only: null, machine, figures: [figure] };
  const text = withTables(readme, folderOf({ "models-a.json": models }));
  expect(text).toContain("\n| what | against | 15M |\n| --- | --- | --- |\n");
  expect(text).toContain("\n| cpu, 1 thread | runfast | **1.20 x**, 120 tok/s |\n");
});

it("links to the newest results of other processors", () => {
  const models = (date: string, family: number) => ({
    date,
    only: null,
    machine: { cpu: "a CPU", family, cores: 2 },
    figures: [],
  });
  const folder = folderOf({
    "models-a.json": models("2026-12-01", 26),
    "models-b.json": models("2026-12-02", 26),
    "models-c.json": models("2026-12-03", 6),
    "models-d.json": models("2026-11-01", 6),
  });
  expect(withTables(readme, folder)).toContain(
    "\nMeasured on other processors: [a CPU (family 26), 2026-12-02](bench/results/models-b.json).\n",
  );
});

it("shows the newest result of a GPU: speeds, shares of bandwidth, and the versions measured", () => {
  const newest = result("2026-12-02T10:00:00Z");
  newest.device.what = "NVIDIA H200";
  const folder = folderOf({ "gpu-b.json": newest, "gpu-c.json": result("2026-11-30T10:00:00Z") });
  const text = withTables(readme, folder);
  expect(text).toContain("| 15M fp32 | 8123 (16 %) | 7900 (15 %) | 8400 |  |");
  expect(text).toContain("Measured on 2026-12-02 with NVIDIA H200, driver 580.1, release 13.0, commit 0123456789");
  expect(text).toContain("3001 GB/s");
  expect(text).toContain("1 checks were right");
  expect(text.startsWith("before\n") && text.includes("<!-- /gpu -->\nafter\n")).toBe(true);
});

it("does not show skipped measurements as results", () => {
  const text = withTables(readme, folderOf({ "gpu-a.json": result("2026-12-02") }));
  expect(text).not.toContain("7B");
  expect(text).not.toContain("Batches");
});

it.each([
  ["something was wrong", { status: "failed" }],
  ["it was a rehearsal on the emulator", { emulated: true }],
  ["decoding was not measured", { sections: result("").sections.slice(0, 3) }],
  ["nothing was compared with the reference", { sections: result("").sections.slice(3) }],
])("does not count a result where %s", (_, changes) => {
  const folder = folderOf({ "gpu-new.json": result("2026-12-03", changes), "gpu-old.json": result("2026-11-01") });
  expect(newestResult(folder, gpu).date).toBe("2026-11-01");
  expect(newestResult(folderOf({ "gpu-new.json": result("2026-12-03", changes) }), gpu)).toBeUndefined();
});

it("refuses a README without its markers", () => {
  expect(() => withTable("text", "gpu", "")).toThrow("<!-- gpu -->");
});

it("shows what the fuzzer found, failures first", () => {
  const format = { format: "gguf", inputs: 1_000_000, untyped: 0, failures: 0, slowestMs: 88.3 };
  const some = { peakBytes: 110_522_368, linesCoveredPercent: 98.4 };
  const text = withTables(
    readme,
    folderOf({
      "fuzz-a.json": {
        date: "2026-12-01",
        formats: [
          { ...format, ...some },
          { ...format, ...some, failures: 2 },
        ],
      },
    }),
  );
  expect(text).toContain("\n| gguf | 1,000,000 | 0 | 88 ms | 105 MiB | 98 % |\n");
  expect(text).toContain("| 0, and 2 other failures |");
});
