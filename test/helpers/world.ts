/*
 * Made-up machines, in place of the one that runs the tests.
 */
import type { Said, World } from "../../src/host/world.ts";

export interface Described {
  platform?: NodeJS.Platform;
  release?: string;
  env?: Record<string, string>;
  /** Files by their paths. Folders are what these lie in. */
  files?: Record<string, string>;
  /** What commands say, by the whole command line, or by the command alone: a text, or a text and an exit status. */
  commands?: Record<string, string | [text: string, status: number]>;
}

/** @param parts later ones add to earlier ones */
export function worldOf(...parts: Described[]): World {
  const all = <K extends "env" | "files" | "commands">(key: K) =>
    Object.assign({}, ...parts.map((part) => part[key])) as NonNullable<Described[K]>;
  const [env, files, commands] = [all("env"), all("files"), all("commands")];
  const paths = Object.keys(files);
  const last = <K extends "platform" | "release">(key: K) => parts.findLast((part) => part[key])?.[key];
  return {
    platform: last("platform") ?? "linux",
    release: last("release") ?? "6.8.0-40-generic",
    env,
    exists: (path) => paths.some((file) => file === path || file.startsWith(`${path}/`)),
    read: (path) => files[path],
    list(folder) {
      const inside = paths.filter((path) => path.startsWith(`${folder}/`));
      return [...new Set(inside.map((path) => path.slice(folder.length + 1).split("/")[0]))];
    },
    async run(command, args): Promise<Said | undefined> {
      const said = commands[[command, ...args].join(" ")] ?? commands[command];
      if (said === undefined) return undefined;
      const [stdout, status] = typeof said === "string" ? [said, 0] : said;
      return { status, stdout, stderr: "" };
    },
  };
}
