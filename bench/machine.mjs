/*
 * The machine and versions that a result was measured with.
 */
import { packageCommit, thisMachine } from "../dist/host/facts.js";

const { cpu, family, cores, memoryBytes, os } = thisMachine("");

export const machine = { cpu, family, cores, memoryGb: Math.round(memoryBytes / 1e9), system: os };

/** The commit, with a + if the working tree differs from it. */
export const commit = packageCommit;
