// Runs the cuda backend on its emulator under sanitizers, for accesses outside an allocation, undefined behaviour and races
// between CUDA threads: the small sections of gpu:check that run every kernel. After a finding the exit status is 1.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const check = fileURLToPath(new URL("gpu-check.py", import.meta.url));
const build = fileURLToPath(new URL("../build-emulator/check", import.meta.url));
const SECTIONS = "rope,logits,batches,slots,copies,sampler";

for (const sanitizers of ["address,undefined", "thread"]) {
  const args = [check, "--emulate", "--small", "--only", SECTIONS, "--sanitize", sanitizers, "--build", build];
  const { status, stdout, stderr } = spawnSync("python3", [...args, "--seconds", "1800"], {
    encoding: "utf8",
    env: { ...process.env, TSAN_OPTIONS: "halt_on_error=1", UBSAN_OPTIONS: "print_stacktrace=1" },
  });
  if (status !== 0) {
    console.error(`-fsanitize=${sanitizers}: status ${status}\n${stdout}${stderr}`);
    process.exit(1);
  }
  console.log(`-fsanitize=${sanitizers}: ${SECTIONS}`);
}
