// Runs the cuda backend on its emulator under sanitizers, for accesses outside an allocation, undefined behaviour and races
// between CUDA threads: the small sections of gpu:check that run every kernel. After a finding the exit status is 1.
import { checkEmulated } from "./gpu-check.mjs";

const SECTIONS = "rope,logits,batches,slots,copies,sampler";

async function sanitize(sanitizer) {
  const start = performance.now();
  const { right, printed } = await checkEmulated(SECTIONS, { sanitizer });
  if (!right) process.exitCode = 1;
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  console.log(`-fsanitize=${sanitizer}: ${right ? SECTIONS : printed}  ${seconds} s`);
}

// side by side, since the sections of each take one core
await Promise.all(["address,undefined", "thread"].map(sanitize));
