/*
 * The CPUs that this process may use, and its quota of their time.
 */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";

/**
 * How many threads can always run at once. With a quota of one and a half processors it is one: two threads would use
 * up the quota early, and then both would wait for the rest of the period.
 */
export const processors = (): number => Math.max(1, Math.min(availableParallelism(), Math.floor(cpuQuota())));

/** The most threads that can run at once. More would only wait for each other. */
export const mostThreads = (): number => Math.max(1, Math.min(availableParallelism(), Math.ceil(cpuQuota())));

/**
 * The CPU quota of this process in processors, from Linux control groups of either version: the least of its own group's
 * and its parents', as far as they are visible. Infinity if there is no limit.
 * @param root the folder that has /proc, and that its paths are relative to
 */
export function cpuQuota(root = "/"): number {
  const paths = groupsOf(textOf(root, "/proc/self/cgroup"));
  let least = Number.POSITIVE_INFINITY;
  for (const { version, mountedGroup, folder } of mountsOf(textOf(root, "/proc/self/mountinfo"))) {
    const path = paths[version];
    if (path === undefined) continue;
    // a container has its own group mounted, but its path may be the host's
    const shown = path === mountedGroup || path.startsWith(mountedGroup === "/" ? "/" : `${mountedGroup}/`);
    const names = shown ? path.slice(mountedGroup.length).split("/").filter(Boolean) : [];
    for (let depth = 0; depth <= names.length; depth++) {
      const group = join(folder, ...names.slice(0, depth));
      least = Math.min(least, version === 2 ? quotaOf2(root, group) : quotaOf1(root, group));
    }
  }
  return least;
}

/** "QUOTA PERIOD" in microseconds; "max" means unlimited. */
function quotaOf2(root: string, group: string): number {
  const [quota, period] = textOf(root, join(group, "cpu.max")).split(/\s+/);
  return ratio(quota, period);
}

/** A quota of -1 means unlimited. */
function quotaOf1(root: string, group: string): number {
  return ratio(textOf(root, join(group, "cpu.cfs_quota_us")), textOf(root, join(group, "cpu.cfs_period_us")));
}

function ratio(quota: string, period: string): number {
  const processors = Number.parseInt(quota, 10) / Number.parseInt(period, 10);
  return processors > 0 ? processors : Number.POSITIVE_INFINITY;
}

/** The path of this process's group in each version of control groups, from lines `ID:CONTROLLERS:PATH`. */
function groupsOf(text: string): Record<1 | 2, string | undefined> {
  const groups = text.split("\n").map((line) => line.match(/^(\d+):([^:]*):(.*)$/));
  const pathWhere = (test: (id: string, controllers: string[]) => boolean) =>
    groups.find((group) => group && test(group[1], group[2].split(",")))?.[3];
  return {
    1: pathWhere((_, controllers) => controllers.includes("cpu")),
    2: pathWhere((id, controllers) => id === "0" && controllers[0] === ""),
  };
}

interface Mount {
  version: 1 | 2;
  mountedGroup: string; // the group that `folder` shows
  folder: string;
}

/** Where control groups that limit processors are mounted: proc(5), /proc/pid/mountinfo. */
function mountsOf(text: string): Mount[] {
  return text.split("\n").flatMap((line) => {
    const [mount, filesystem] = line.split(" - ");
    if (filesystem === undefined) return [];
    const [type, , options = ""] = filesystem.split(" ");
    const version = type === "cgroup2" ? 2 : type === "cgroup" && options.split(",").includes("cpu") ? 1 : undefined;
    const [mountedGroup, folder] = mount.split(" ").slice(3, 5).map(unescapeOctal);
    return version === undefined || folder === undefined ? [] : [{ version, mountedGroup, folder }];
  });
}

const unescapeOctal = (text: string) =>
  text.replace(/\\([0-7]{3})/g, (_, digits) => String.fromCharCode(Number.parseInt(digits, 8)));

/** The text of a file; empty if it cannot be read. */
function textOf(root: string, path: string): string {
  try {
    return readFileSync(join(root, path), "utf8").trim();
  } catch {
    return "";
  }
}
