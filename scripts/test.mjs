/*
 * npm test [-- VITEST ARGUMENTS] and npm run test:full: makes the checkout ready, says how long the tests take, and runs
 * them.
 */
import "./ready.mjs";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { root } from "./fingerprint.mjs";

const [mode, ...args] =
  process.argv[2] === "--full" ? ["full", ...process.argv.slice(3)] : ["", ...process.argv.slice(2)];
const howLong =
  mode === "full" ? "half an hour" : "three minutes (npm run test:full, with all that takes long, half an hour)";
console.error(`llama2.ts: the tests take about ${howLong} on two cores`);

const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
const { status } = spawnSync(process.execPath, [vitest, "run", ...args], {
  cwd: root,
  stdio: "inherit",
  env: { ...process.env, LLAMA2_TESTS: mode },
});
process.exitCode = status ?? 1;
