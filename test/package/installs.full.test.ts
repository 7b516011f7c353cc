/*
 * Installed by each package manager with install scripts blocked: it runs in wasm, and the command that the message
 * suggests works as printed. The package managers come from npm.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { hasAddon, needsAddon } from "../helpers/backends.ts";
import { pack } from "../helpers/packed.ts";
import { tempDir } from "../helpers/temp.ts";

let tarball: string;
beforeAll(() => {
  tarball = pack();
});

const NPX = ["npx", "-y"];

interface Manager {
  name: string;
  files?: Record<string, string>;
  /** How it installs the tarball without running scripts. */
  add: (tarball: string) => string[];
  /** What runs the package's command. */
  llama2?: string[];
  /** For global installs: settings of the environment. */
  env?: (folder: string) => NodeJS.ProcessEnv;
}

const YARN = [...NPX, "@yarnpkg/cli-dist@4"];
const yarnFiles = (linker: string) => ({
  "yarn.lock": "",
  ".yarnrc.yml": `nodeLinker: ${linker}\nenableScripts: false\nenableTelemetry: false\n`,
});

const MANAGERS: Manager[] = [
  { name: "npm", add: (path) => ["npm", "install", "--ignore-scripts", path] },
  {
    name: "npm that is told so in .npmrc",
    files: { ".npmrc": "ignore-scripts=true\n" },
    add: (path) => ["npm", "install", path],
  },
  {
    name: "npm, globally",
    add: (path) => ["npm", "install", "-g", "--ignore-scripts", path],
    llama2: ["sh", "-c", '"$npm_config_prefix/bin/llama2" "$@"', "llama2"],
    env: (folder) => ({ npm_config_prefix: join(folder, "global") }),
  },
  { name: "pnpm 10", add: (path) => [...NPX, "pnpm@10", "add", path] },
  { name: "pnpm 12", add: (path) => [...NPX, "pnpm@12", "add", path] },
  {
    name: "yarn 4, node_modules",
    files: yarnFiles("node-modules"),
    add: (path) => [...YARN, "add", `llama2.ts@file:${path}`],
  },
  {
    name: "yarn 4, Plug'n'Play",
    files: yarnFiles("pnp"),
    add: (path) => [...YARN, "add", `llama2.ts@file:${path}`],
    llama2: [...YARN, "run", "llama2"],
  },
  { name: "bun", add: (path) => [...NPX, "bun@1", "add", path] },
];

describe.skipIf(!hasAddon || process.platform !== "linux")(`installed by${needsAddon}`, () => {
  it.each(MANAGERS)("$name", { timeout: 300_000 }, ({ files = {}, add, llama2, env }) => {
    const folder = join(tempDir(), "a p#r%20oject"); // and an odd path
    mkdirSync(folder);
    writeFileSync(join(folder, "package.json"), '{ "name": "x", "version": "1.0.0", "private": true }');
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    const options = {
      cwd: folder,
      encoding: "utf8",
      env: { ...process.env, CI: undefined, ...env?.(folder) },
    } as const;
    const [command, ...args] = add(tarball);
    spawnSync(command, args, options); // some end with 1 because scripts are blocked

    const [bin, ...first] = llama2 ?? [join(folder, "node_modules", ".bin", "llama2")];
    const story = () => spawnSync(bin, [...first, "-s", "1", "-n", "5"], options);
    const before = story();
    expect(before.stdout, before.stderr).toContain("Once upon a time");
    const suggested = before.stderr.match(/running on wasm: .*`(.+)`/)?.[1] as string;
    expect(suggested, before.stderr).toBeTruthy();

    const [shell, ...shellArgs] = suggested.startsWith("yarn ")
      ? ["sh", "-c", suggested.replace(/^yarn/, YARN.join(" "))]
      : ["sh", "-c", suggested];
    execFileSync(shell, shellArgs, { ...options, stdio: "pipe" });
    const after = story();
    expect(after.stdout).toContain("Once upon a time");
    expect(after.stderr).not.toContain("running on wasm");
  });
});
