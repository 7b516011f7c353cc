/*
 * The CPU limits of control groups, in made-up trees, and in a real one where the tests run as root.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { cpuQuota, mostThreads, processors } from "../../src/backend/processors.ts";
import { ROOT } from "../helpers/golden.ts";
import { tempDir } from "../helpers/temp.ts";

/** A root folder with these files. */
function tree(files: Record<string, string>): string {
  const root = tempDir();
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

const V2 = "29 22 0:26 / /sys/fs/cgroup rw,nosuid,nodev - cgroup2 cgroup2 rw\n";
const V1 =
  "31 25 0:27 / /sys/fs/cgroup/cpuset rw shared:9 - cgroup cgroup rw,cpuset\n" +
  "32 25 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n";

function version2(path: string, files: Record<string, string>, mountinfo = V2) {
  const inCgroup = Object.entries(files).map(([name, text]) => [`sys/fs/cgroup/${name}`, text]);
  return cpuQuota(
    tree({
      "proc/self/cgroup": `0::${path}\n`,
      "proc/self/mountinfo": mountinfo,
      ...Object.fromEntries(inCgroup),
    }),
  );
}

function version1(path: string, groups: Record<string, [number, number]>, mountinfo = V1) {
  const files = Object.entries(groups).flatMap(([group, [quota, period]]) => [
    [`sys/fs/cgroup/cpu,cpuacct/${group}/cpu.cfs_quota_us`, `${quota}\n`],
    [`sys/fs/cgroup/cpu,cpuacct/${group}/cpu.cfs_period_us`, `${period}\n`],
  ]);
  const cgroup = `12:cpuset:/elsewhere\n4:cpu,cpuacct:${path}\n1:name=systemd:/x\n`;
  return cpuQuota(tree({ "proc/self/cgroup": cgroup, "proc/self/mountinfo": mountinfo, ...Object.fromEntries(files) }));
}

describe("the number of processors that control groups allow", () => {
  it("version 2: quota over period", () => {
    expect(version2("/", { "cpu.max": "150000 100000\n" })).toBe(1.5);
    expect(version2("/a/b", { "a/b/cpu.max": "50000 100000\n" })).toBe(0.5);
  });

  it("version 2: no limit where the file says max, or nothing", () => {
    expect(version2("/a", { "a/cpu.max": "max 100000\n", "cpu.max": "max 100000\n" })).toBe(Number.POSITIVE_INFINITY);
    expect(version2("/a", {})).toBe(Number.POSITIVE_INFINITY);
  });

  it("version 2: the least of the group's and all its parents'", () => {
    const files = { "cpu.max": "400000 100000", "a/cpu.max": "100000 50000", "a/b/cpu.max": "max 100000" };
    expect(version2("/a/b", files)).toBe(2);
    expect(version2("/a/b", { ...files, "a/b/cpu.max": "300000 200000" })).toBe(1.5);
    expect(version2("/other", files)).toBe(4);
  });

  it("version 1: quota over period, of the group and all its parents; -1 is no limit", () => {
    expect(version1("/a/b", { "a/b": [-1, 100000] })).toBe(Number.POSITIVE_INFINITY);
    expect(version1("/a/b", { "a/b": [250000, 100000], a: [300000, 100000] })).toBe(2.5);
    expect(version1("/a/b", { "a/b": [-1, 100000], a: [300000, 100000] })).toBe(3);
  });

  it("in a container that sees the host's path of its group", () => {
    const own = V1.replace("0:28 / ", "0:28 /docker/1234 ");
    expect(version1("/docker/1234", { ".": [200000, 100000] }, own)).toBe(2);
    expect(version1("/docker/1234/x", { ".": [200000, 100000], x: [100000, 100000] }, own)).toBe(1);
    const other = V2.replace("0:26 / ", "0:26 /pod/5678 ");
    expect(version2("/somewhere/else", { "cpu.max": "100000 100000" }, other)).toBe(1);
  });

  it("with a space in the path of the mount", () => {
    const root = tree({
      "proc/self/cgroup": "0::/\n",
      "proc/self/mountinfo": V2.replace("/sys/fs/cgroup", "/sys/my\\040cgroup"),
      "sys/my cgroup/cpu.max": "100000 100000",
    });
    expect(cpuQuota(root)).toBe(1);
  });

  it("no limit where nothing can be read or understood", () => {
    expect(cpuQuota(tree({}))).toBe(Number.POSITIVE_INFINITY);
    expect(version2("/", { "cpu.max": "much\n" })).toBe(Number.POSITIVE_INFINITY);
    expect(version2("/", { "cpu.max": "0 100000\n" })).toBe(Number.POSITIVE_INFINITY);
    expect(version2("/", { "cpu.max": "100000 100000\n" }, "no mounts\n")).toBe(Number.POSITIVE_INFINITY);
    expect(version1("/", { ".": [100000, 0] })).toBe(Number.POSITIVE_INFINITY);
  });
});

it("the number of threads is at least one, and at most the number of processors", () => {
  expect(processors()).toBeGreaterThanOrEqual(1);
  expect(processors()).toBeLessThanOrEqual(mostThreads());
  expect(mostThreads()).toBeLessThanOrEqual(availableParallelism());
});

/** Where a group with a quota can be made: version 1's folder of the cpu controller, as root. */
function makeGroup(quota: number): string | undefined {
  const mounts = existsSync("/proc/self/mountinfo") ? readFileSync("/proc/self/mountinfo", "utf8") : "";
  const mount = mounts
    .split("\n")
    .find((line) => / - cgroup .*\bcpu\b/.test(line) && / cgroup .*[ ,]cpu(,|$)/.test(line));
  const folder = mount?.split(" ")[4];
  if (!folder) return undefined;
  const group = join(folder, `llama2-test-${process.pid}`);
  try {
    mkdirSync(group);
    writeFileSync(join(group, "cpu.cfs_period_us"), "100000");
    writeFileSync(join(group, "cpu.cfs_quota_us"), `${quota}`);
    return group;
  } catch {
    return undefined;
  }
}

const group = makeGroup(150_000);

it.skipIf(group === undefined)("a process in a real group of one and a half processors takes one thread", () => {
  const at = pathToFileURL(join(ROOT, "dist/backend/processors.js"));
  const script = `import { cpuQuota, processors } from ${JSON.stringify(at)}; console.log(cpuQuota(), processors());`;
  const command = 'echo $$ > "$1/cgroup.procs" && exec "$2" --input-type=module -e "$3"';
  try {
    const args = ["-c", command, "sh", group as string, process.execPath, script];
    expect(execFileSync("sh", args, { encoding: "utf8" })).toBe("1.5 1\n");
  } finally {
    rmdirSync(group as string);
  }
});
