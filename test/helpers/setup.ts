/*
 * Before any test: refuse a stale build, and build what the long tests share.
 */
import type { TestProject } from "vitest/node";
import { isBuilt } from "../../scripts/build.mjs";
import { buildEmulated, canEmulateAddon } from "../../scripts/cuda-emulator.mjs";

export default async function setup({ config }: TestProject): Promise<void> {
  if (!isBuilt()) {
    console.error("dist/ is older than src/: `npm run build` first (`npm test` does it by itself)");
    process.exit(1);
  }
  if (config.env.LLAMA2_TESTS === "full" && canEmulateAddon) await buildEmulated();
}
