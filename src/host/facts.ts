/*
 * The facts about a machine that measurements and bug reports need.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { arch, availableParallelism, cpus, platform, release, totalmem } from "node:os";
import { availableMemory } from "../backend/memory.ts";
import { cpuQuota } from "../backend/processors.ts";
import { packagePath } from "../files/packageFolder.ts";

export interface MachineFacts {
  cpu: string;
  /** On Linux and x86-64; 25 is AMD's Zen 3 and 4, 26 Zen 5. */
  family?: number;
  cores: number;
  /** The CPU quota of a container, in processors; absent: no quota. */
  quota?: number;
  /** The best instruction set of the backends here. */
  isa: string;
  memoryBytes: number;
  /** The memory limit of a container in bytes; absent: no limit. */
  memoryLimitBytes?: number;
  availableBytes: number;
  node: string;
  os: string;
}

/** The facts of this machine. @param isa of the best backend for the CPU */
export function thisMachine(isa: string): MachineFacts {
  const quota = cpuQuota();
  const limit = process.constrainedMemory() || Infinity;
  return {
    cpu: cpus()[0]?.model.trim() || "unknown",
    family: cpuFamily(),
    cores: availableParallelism(),
    quota: Number.isFinite(quota) ? quota : undefined,
    isa,
    memoryBytes: totalmem(),
    memoryLimitBytes: limit < totalmem() ? limit : undefined,
    availableBytes: availableMemory(),
    node: process.version,
    os: `${platform()} ${release()} ${arch()}`,
  };
}

function cpuFamily(): number | undefined {
  try {
    return Number(readFileSync("/proc/cpuinfo", "utf8").match(/^cpu family\s*: (\d+)/m)?.[1]) || undefined;
  } catch {
    return undefined;
  }
}

/** The version of this package. */
export const packageVersion = (): string => JSON.parse(readFileSync(packagePath("package.json"), "utf8")).version;

/** The commit of this clone, with a + if the working tree differs from it; undefined in an installed package. */
export function packageCommit(): string | undefined {
  if (!existsSync(packagePath(".git"))) return undefined;
  const git = (...args: string[]) =>
    execFileSync("git", args, { cwd: packagePath(), encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  try {
    return git("rev-parse", "HEAD") + (git("status", "--porcelain") === "" ? "" : "+");
  } catch {
    return undefined; // git is not installed, or this is not a clone
  }
}
