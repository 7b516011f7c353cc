/*
 * What this process is really given of the machine: processors it may run on, and how much of their time.
 */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";

/**
 * How many threads are sure to run at once. A quota of one and a half processors is one: two threads would use it up
 * early, and then both stand still for the rest of the period.
 */
export const processors = (): number => Math.max(1, Math.min(availableParallelism(), Math.floor(cpuQuota())));

/** How many threads can run at once at all. More only wait for each other. */
export const mostThreads = (): number => Math.max(1, Math.min(availableParallelism(), Math.ceil(cpuQuota())));

/**
 * The processors' worth of time that Linux control groups, of either version, give this process: the least of its own
 * group and of all that this one lies in, as far as they can be seen. Infinity where nothing says so.
 * @param root where /proc is, and what its paths start from
 */
export function cpuQuota(root = "/"): number {
  const paths = groupsOf(textOf(root, "/proc/self/cgroup"));
  let least = Number.POSITIVE_INFINITY;
  for (const { version, mountedGroup, folder } of mountsOf(textOf(root, "/proc/self/mountinfo"))) {
    const path = paths[version];
    if (path === undefined) continue;
    // a container sees its own group mounted, but may be told its path from outside
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

/** What a file says; nothing if it cannot be read. */
function textOf(root: string, path: string): string {
  try {
    return readFileSync(join(root, path), "utf8").trim();
  } catch {
    return "";
  }
}
