// Runs sections of gpu:check on the emulator, for scripts that check the kernels. (gpu:check itself needs no Node.)
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const check = fileURLToPath(new URL("gpu-check.py", import.meta.url));
const build = fileURLToPath(new URL("../build-emulator/check", import.meta.url));

/**
 * Whether all checks of these sections, with --small, pass. Throws if gpu-check.py ends for another reason than a failed
 * check: it does not compile, or there is no time left. `args` are more arguments for it.
 * @returns {Promise<{ right: boolean, printed: string }>}
 */
export async function checkEmulated(sections, { sanitizer, args = [], env = {} } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "llama2-check-"));
  const out = join(folder, "results.json");
  const sanitize = sanitizer ? ["--sanitize", sanitizer] : [];
  const all = ["--emulate", "--small", "--only", sections, "--seconds", "900", "--build", build, "--out", out];
  try {
    const { stdout, stderr } = await run("python3", [check, ...all, ...sanitize, ...args], {
      maxBuffer: 1 << 28,
      env: { ...process.env, UBSAN_OPTIONS: "print_stacktrace=1", ...env },
    }).catch((failed) => failed);
    const report = JSON.parse(readFileSync(out, "utf8"));
    const printed = `${stdout}${stderr}${report.sections.flatMap(({ output = [] }) => output).join("\n")}`;
    const ended = report.sections.length > 0 && report.sections.every(({ status }) => status !== "stopped");
    if (!ended || report.status === "incomplete") throw new Error(`gpu:check did not finish:\n${printed}`);
    return { right: report.status === "ok", printed };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
