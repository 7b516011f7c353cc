// The cuda backend on its emulator under sanitizers: accesses outside an allocation, undefined behaviour, and races
// between CUDA threads. Small random shapes in every precision; that results are right is test/native/cuda.full.test.ts.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildDriver } from "./cuda-emulator.mjs";
import { smallRun } from "./cuda-small-run.mjs";

const folder = mkdtempSync(join(tmpdir(), "llama2-sanitize-cuda-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

for (const [sanitizers, runs, env] of [
  ["address,undefined", 12, {}],
  ["thread", 6, { EMULATOR_RESIDENT: "4" }],
]) {
  const flags = ["-O1", "-g", `-fsanitize=${sanitizers}`, "-fno-sanitize-recover=all"];
  const program = await buildDriver(join(folder, sanitizers), { flags });
  for (let seed = 1; seed <= runs; seed++) {
    const { commands, numbers } = smallRun(seed);
    writeFileSync(join(folder, "numbers"), numbers);
    const { status } = spawnSync(program, [join(folder, "numbers"), join(folder, "logits")], {
      input: commands,
      stdio: ["pipe", "ignore", "inherit"],
      env: { ...process.env, ...env, TSAN_OPTIONS: "halt_on_error=1", UBSAN_OPTIONS: "print_stacktrace=1" },
    });
    if (status !== 0) {
      console.error(`-fsanitize=${sanitizers}: run ${seed} ended with status ${status}\n${commands}`);
      process.exit(1);
    }
  }
  console.log(`-fsanitize=${sanitizers}: ${runs} runs`);
}
