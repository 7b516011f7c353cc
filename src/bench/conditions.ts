/*
 * Watches for what disturbs a measurement: other load, thermal throttling, a quota that is used up.
 */
import { availableParallelism, loadavg } from "node:os";
import { cpuQuota } from "../backend/processors.ts";
import type { World } from "../host/world.ts";
import type { Row } from "./result.ts";

/** Counters of the system, which only grow. */
interface Counters {
  /** Times that a processor was slowed down for its heat. */
  hot: number;
  /** Times that a quota stopped this process's group. */
  throttled: number;
  /** Clock ticks of all processors: in all, and those that a virtual machine's host took. */
  ticks: number;
  stolen: number;
}

/** A row is noisy if its runs spread over more than this share of their median. */
const NOISY = 0.25;

/** Watches the machine from before the first run to the end. */
export class Conditions {
  private readonly world: World;
  private readonly before: Counters;
  private readonly warnings: string[] = [];

  /** Reads the counters, before anything is measured. */
  constructor(world: World, load = loadavg()[0]) {
    this.world = world;
    this.before = countersOf(world);
    const cores = availableParallelism();
    if (load > cores / 4) {
      this.warnings.push(`the machine is busy: a load of ${load.toFixed(1)} on ${cores} cores before the first run`);
    }
    const quota = cpuQuota();
    if (Number.isFinite(quota) && quota < cores) {
      this.warnings.push(`a quota allows ${quota.toFixed(1)} of ${cores} cores`);
    }
  }

  /** The warnings that belong beside the figures. */
  after(rows: readonly Row[]): string[] {
    const { hot, throttled, ticks, stolen } = countersOf(this.world);
    const { before, warnings } = this;
    const all = [...warnings];
    if (hot > before.hot) all.push("the processor was slowed down for its heat");
    if (throttled > before.throttled) all.push("a quota stopped this process now and then");
    const share = (stolen - before.stolen) / Math.max(1, ticks - before.ticks);
    if (share > 0.02) all.push(`the virtual machine's host took ${(100 * share).toFixed(0)} % of the time`);
    const noisy = rows.filter(({ tokensPerSecond: { median, min, max } }) => (max - min) / median > NOISY);
    if (noisy.length > 0) {
      all.push(`${noisy.length} of ${rows.length} rows spread over more than ${100 * NOISY} % of their median`);
    }
    return all;
  }
}

function countersOf(world: World): Counters {
  const cpus = "/sys/devices/system/cpu";
  const hot = world
    .list(cpus)
    .filter((name) => /^cpu\d+$/.test(name))
    .map((name) => Number(world.read(`${cpus}/${name}/thermal_throttle/core_throttle_count`) ?? 0))
    .reduce((sum, count) => sum + count, 0);
  const stat = world.read("/sys/fs/cgroup/cpu.stat") ?? world.read("/sys/fs/cgroup/cpu/cpu.stat") ?? "";
  const throttled = Number(stat.match(/^nr_throttled (\d+)/m)?.[1] ?? 0);
  // user nice system idle iowait irq softirq steal
  const times = (world.read("/proc/stat")?.match(/^cpu +(.*)$/m)?.[1] ?? "").split(" ").slice(0, 8).map(Number);
  return { hot, throttled, ticks: times.reduce((sum, time) => sum + time, 0), stolen: times[7] ?? 0 };
}
