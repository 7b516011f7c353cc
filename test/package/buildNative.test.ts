/*
 * npm run build:native where it cannot work: one sentence says why, node-gyp's output is in a file, and an older
 * addon is kept.
 */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "../helpers/golden.ts";
import { tempDir } from "../helpers/temp.ts";

const WORKED = "an addon that works";

/** A package with an addon, and its build script. */
function builtPackage(): { root: string; addon: string } {
  const root = tempDir();
  for (const name of ["native", "scripts", "binding.gyp", "package.json"]) {
    cpSync(join(ROOT, name), join(root, name), { recursive: true });
  }
  symlinkSync(join(ROOT, "node_modules"), join(root, "node_modules"), "junction");
  const addon = join(root, "build", "Release", "llama2_cpu.node");
  mkdirSync(join(root, "build", "Release"), { recursive: true });
  writeFileSync(addon, WORKED);
  return { root, addon };
}

/** A PATH with node and these shell scripts, and of the system these programs or all. */
function pathOf(programs: string[] | "all", scripts: Record<string, string> = {}): string {
  const folder = tempDir();
  symlinkSync(process.execPath, join(folder, "node"));
  for (const name of programs === "all" ? [] : programs) {
    const path = spawnSync("which", [name], { encoding: "utf8" }).stdout.trim();
    if (path) symlinkSync(path, join(folder, name));
  }
  for (const [name, text] of Object.entries(scripts)) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${text}\n`);
    chmodSync(join(folder, name), 0o755);
  }
  return programs === "all" ? `${folder}:${process.env.PATH}` : folder;
}

const build = (root: string, env: NodeJS.ProcessEnv, node = process.execPath, options = {}) =>
  spawnSync(node, [join(root, "scripts", "build-native.mjs")], { encoding: "utf8", cwd: root, env, ...options });

const said = (stderr: string) => stderr.replace("building the native cpu backend ...\n", "");

describe.skipIf(process.platform === "win32")(
  "a build that fails keeps the addon that was there, and says why:",
  () => {
    const tmp = tempDir();

    it.each<[what: string, programs: string[] | "all", scripts: Record<string, string>, why: RegExp]>([
      ["nothing but node", ["sh"], {}, /not found: a C\+\+ compiler, make, Python 3/],
      ["no Python", ["sh", "make", "g++", "c++", "cc", "as", "ld"], {}, /not found: Python 3/],
      [
        "a compiler that fails",
        "all",
        { "g++": 'case "$*" in *--version*) exit 0;; esac; echo "a.cpp:1: error: what is this?" >&2; exit 1' },
        /error: what is this\?/,
      ],
      [
        "a full disk",
        "all",
        { "g++": 'case "$*" in *--version*) exit 0;; esac; echo "a.o: No space left on device" >&2; exit 1' },
        /the disk is full/,
      ],
    ])("%s", (_, programs, scripts, why) => {
      const { root, addon } = builtPackage();
      const { status, stdout, stderr } = build(root, { PATH: pathOf(programs, scripts), TMPDIR: tmp, CXX: "g++" });
      expect({ status, stdout }, stderr).toEqual({ status: 1, stdout: "" });
      const [, reason, log] =
        /^the native cpu backend was not built: (.*); all that node-gyp said is in (.*)\n$/.exec(said(stderr)) ?? [];
      expect(reason, stderr).toMatch(why);
      expect(readFileSync(log, "utf8")).toContain("gyp");
      expect(readFileSync(addon, "utf8")).toBe(WORKED);
      expect(readdirSync(join(root, "build"))).toEqual(["Release"]);
    });

    it("node without its headers", () => {
      const { root, addon } = builtPackage();
      const node = join(tempDir(), "node");
      cpSync(process.execPath, node);
      const { status, stderr } = build(root, { PATH: process.env.PATH }, node);
      expect(status).toBe(1);
      expect(said(stderr)).toMatch(/^the native cpu backend was not built: Node's headers are not in .*\n$/);
      expect(readFileSync(addon, "utf8")).toBe(WORKED);
    });

    it("a folder that it may not write to", () => {
      const { root, addon } = builtPackage();
      const isRoot = process.getuid?.() === 0;
      for (const folder of [root, join(root, "build"), join(root, "build", "Release")]) chmodSync(folder, 0o555);
      try {
        const { status, stderr } = build(root, process.env, process.execPath, isRoot ? { uid: 65534, gid: 65534 } : {});
        expect(status, stderr).toBe(1);
        expect(said(stderr)).toBe(
          `the native cpu backend was not built: cannot write to ${join(root, "build")}: no permission\n`,
        );
        expect(existsSync(addon)).toBe(true);
      } finally {
        for (const folder of [root, join(root, "build"), join(root, "build", "Release")]) chmodSync(folder, 0o755);
      }
    });
  },
);
