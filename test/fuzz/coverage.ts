/*
 * Which lines of the built files ran, as counted by V8.
 */
import { readFileSync } from "node:fs";
import { type Profiler, Session } from "node:inspector";
import { fileURLToPath } from "node:url";

/** The lines with code of a file, and those of them that never ran. */
export interface FileCoverage {
  file: string;
  lines: number;
  missed: number[]; // from 1 on
}

/** Counts from now on. What is imported afterwards is counted as well. */
export class Coverage {
  private readonly session = new Session();

  constructor() {
    this.session.connect();
    this.session.post("Profiler.enable");
    this.session.post("Profiler.startPreciseCoverage", { callCount: false, detailed: true });
  }

  /** What ran of these files of dist/ so far. */
  take(files: readonly string[]): FileCoverage[] {
    let scripts: Profiler.ScriptCoverage[] = [];
    this.session.post("Profiler.takePreciseCoverage", (error, { result }) => {
      if (!error) scripts = result;
    });
    return files.map((file) => {
      const script = scripts.find(({ url }) => url.endsWith(`/dist/${file}`));
      return script ? linesOf(file, script) : { file, lines: 1, missed: [1] };
    });
  }

  close(): void {
    this.session.disconnect();
  }
}

function linesOf(file: string, { url, functions }: Profiler.ScriptCoverage): FileCoverage {
  const text = readFileSync(fileURLToPath(url), "utf8");
  const ran = new Uint8Array(text.length).fill(1);
  // an inner range comes after the one around it
  for (const { ranges } of functions) {
    for (const { startOffset, endOffset, count } of ranges) ran.fill(count > 0 ? 1 : 0, startOffset, endOffset);
  }
  const missed: number[] = [];
  let lines = 0;
  let at = 0;
  let inComment = false;
  text.split("\n").forEach((line, i) => {
    const code = line.trim();
    inComment ||= code.startsWith("/*");
    if (!inComment && !/^(\/\/.*|[\s{}();,\]]*)$/.test(code)) {
      lines++;
      const start = at + line.indexOf(code[0]);
      if (!ran.subarray(start, at + line.length).includes(1)) missed.push(i + 1);
    }
    if (code.endsWith("*/")) inComment = false;
    at += line.length + 1;
  });
  return { file, lines, missed };
}
