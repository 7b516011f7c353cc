/*
 * Before any test: build the CUDA addon on its emulator, if that can be built here and is not there already, once for
 * all tests that need it.
 */
import { buildEmulated, canEmulateAddon } from "../../scripts/cuda-emulator.mjs";

export default async function setup(): Promise<void> {
  if (canEmulateAddon) await buildEmulated();
}
