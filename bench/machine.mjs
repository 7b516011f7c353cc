/*
 * What a result was measured on, and with what.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { arch, availableParallelism, cpus, platform, release, totalmem } from "node:os";
import { root } from "../scripts/fingerprint.mjs";

/** On Linux and x86-64: 25 is Zen 3 or 4, 26 Zen 5. */
function cpuFamily() {
  try {
    return Number(readFileSync("/proc/cpuinfo", "utf8").match(/^cpu family\s*: (\d+)/m)?.[1]) || undefined;
  } catch {
    return undefined;
  }
}

export const machine = {
  cpu: cpus()[0]?.model,
  family: cpuFamily(),
  cores: availableParallelism(),
  memoryGb: Math.round(totalmem() / 1e9),
  system: `${platform()} ${release()} ${arch()}`,
};

/** The commit, with a + if the working tree differs from it. */
export function commit() {
  const git = (...args) => execFileSync("git", args, { cwd: root, encoding: "utf8" }).trim();
  try {
    return git("rev-parse", "HEAD") + (git("status", "--porcelain") === "" ? "" : "+");
  } catch {
    return undefined; // not a clone
  }
}
