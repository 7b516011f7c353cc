/*
 * The packed package, installed in folders of other projects.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll } from "vitest";
import { ROOT } from "./golden.ts";
import { tempDir } from "./temp.ts";

/** The process that held an older lock has been killed. */
const LONGEST_INSTALL = 600_000;
const CONSUMERS = join(ROOT, "test", "consumers");

/** Pack the present build (a new build would remove it under other tests). Returns the tarball's path. */
export function pack(): string {
  const to = tempDir();
  const args = ["pack", "--json", "--ignore-scripts", "--pack-destination", to];
  const [{ filename }] = JSON.parse(execFileSync("npm", args, { cwd: ROOT, encoding: "utf8" }));
  return join(to, filename);
}

/** Install what test/consumers/package.json asks for, if that has not been done. Of files that need it one installs.
 * */
export function installConsumers(): void {
  const mark = join(CONSUMERS, "node_modules", ".package-lock.json");
  const lock = join(CONSUMERS, ".installing");
  const changed = (path: string) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  while (changed(mark) < changed(join(CONSUMERS, "package-lock.json"))) {
    if (Date.now() - changed(lock) > LONGEST_INSTALL) rmSync(lock, { force: true });
    try {
      writeFileSync(lock, "", { flag: "wx" });
    } catch {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500); // another file installs it
      continue;
    }
    try {
      execFileSync("npm", ["ci", "--ignore-scripts"], { cwd: CONSUMERS, stdio: "inherit" });
    } finally {
      rmSync(lock);
    }
  }
}

/**
 * A folder, below test/consumers/ so that its packages are found, in whose node_modules the tarball is installed.
 * @param options.withAddon as if the native addon had been built there
 */
export function consumerFolder(tarball: string, { withAddon = false } = {}): string {
  const apps = join(CONSUMERS, "apps");
  mkdirSync(apps, { recursive: true });
  const folder = mkdtempSync(join(apps, "app-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const modules = join(folder, "node_modules");
  const place = join(modules, "llama2.ts");
  mkdirSync(place, { recursive: true });
  execFileSync("tar", ["-xzf", tarball, "--strip-components=1", "-C", place]);
  if (withAddon) cpSync(join(ROOT, "build", "Release"), join(place, "build", "Release"), { recursive: true });
  const { dependencies } = JSON.parse(readFileSync(join(place, "package.json"), "utf8"));
  for (const name of Object.keys(dependencies)) {
    cpSync(join(ROOT, "node_modules", name), join(modules, name), { recursive: true });
  }
  return folder;
}

/** Run a program of test/consumers, or node; its standard output. An error with all it said if it fails. */
export function run(cwd: string, command: string, args: string[], env: NodeJS.ProcessEnv = {}): string {
  const bin = join(CONSUMERS, "node_modules", ".bin", command);
  const { status, stdout, stderr, error } = spawnSync(existsSync(bin) ? bin : command, args, {
    cwd,
    encoding: "utf8",
    env: { ...process.env, NODE_OPTIONS: "", VITEST: undefined, NODE_ENV: undefined, ...env },
  });
  if (status !== 0) throw new Error(`${command} ended with ${status}\n${stdout}\n${stderr}\n${error?.message ?? ""}`);
  return stdout;
}
