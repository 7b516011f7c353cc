/*
 * The machine and versions that a result was measured with.
 */
import { existsSync } from "node:fs";
import { ADDON_PATH } from "../dist/backend/cpu/addon.js";
import { openCpu } from "../dist/backend/cpu/cpu.js";
import { packageCommit, thisMachine } from "../dist/host/facts.js";

const { cpu, family, cores, memoryBytes, os } = thisMachine("");

/** The instruction set that the cpu backend uses: AMD's family 25 is Zen 3 without AVX-512, and Zen 4 with it. */
const isa = existsSync(ADDON_PATH) ? openCpu().isa : undefined;

export const machine = { cpu, family, isa, cores, memoryGb: Math.round(memoryBytes / 1e9), system: os };

/** The commit, with a + if the working tree differs from it. */
export const commit = packageCommit;
