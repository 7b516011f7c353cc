/*
 * A made-up measurement, with every kind of row.
 */
import { type BenchResult, type Row, spreadOf } from "../../src/bench/result.ts";

/** @param changes of each row */
export function measurement(changes: Partial<Row> = {}): BenchResult {
  const row = (
    backend: string,
    precision: Row["precision"],
    threads: number,
    speed: number,
    more: Partial<Row> = {},
  ): Row => ({
    model: "stories15M",
    backend,
    precision,
    threads,
    batch: 1,
    test: "tg128",
    promptTokens: 1,
    newTokens: 128,
    tokensPerSecond: spreadOf([speed * 0.9, speed, speed * 1.05]),
    counts: true,
    ...more,
    ...changes,
  });
  const story = (percent: number, speed: number) => ({
    percentOfBandwidth: percent,
    first32: speed * 1.05,
    last32: speed * 0.9,
  });
  return {
    bench: 1,
    version: "0.1.0",
    date: "2026-11-29T12:00:00Z",
    machine: {
      cpu: "A CPU",
      cores: 2,
      isa: "avx512",
      memoryBytes: 16e9,
      availableBytes: 8e9,
      node: "v20.20.2",
      os: "linux",
    },
    warnings: ["the machine is busy"],
    bandwidth: [{ device: "cpu", threads: 1, bytes: 60e6, gbPerSecond: 20, by: "reading" }],
    rows: [
      row("ts", "fp32", 1, 68),
      row("wasm", "fp32", 1, 416),
      row("wasm", "fp32", 2, 592),
      row("cpu", "fp32", 1, 509, story(88, 509)),
      row("cpu", "fp32", 2, 836, story(91, 836)),
      row("cpu", "int8", 1, 1919, story(70, 1919)),
      row("cpu", "int8", 2, 2371, story(64, 2371)),
      row("cpu", "fp32", 2, 6316, { test: "pp128", promptTokens: 128, newTokens: 1 }),
      row("cpu", "fp32", 2, 2100, { batch: 8 }),
      row("cpu", "fp32", 2, 3281, { batch: 32 }),
      row("run", "fp32", 1, 120, { counts: false, why: "it told something else" }),
    ],
    skipped: [{ what: "cuda", reason: "no NVIDIA GPU is seen" }],
  };
}
