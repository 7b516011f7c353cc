/*
 * npm run build:cuda: builds the CUDA addon with nvcc and cmake-js. An install does not run it.
 *
 *   npm run build:cuda                 for the GPU of this machine; without a GPU, for every one that nvcc knows
 *   npm run build:cuda -- all          for every one that nvcc knows, from Turing on
 *   npm run build:cuda -- 89 90        for these
 *
 * CUDACXX names another nvcc.
 */
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { isMain, root } from "./fingerprint.mjs";
import { remember } from "./native.mjs";

/** Where it is built: not in build/, which node-gyp empties. */
const FOLDER = "build-cuda";

const run = (command, args) => spawnSync(command, args, { encoding: "utf8" });

/** The CUDA compiler and its version, as a number: 12.8 is 1208. Undefined if there is none. */
export function findNvcc() {
  const usual = process.platform === "win32" ? [] : ["/usr/local/cuda/bin/nvcc"];
  const inToolkit = process.env.CUDA_PATH ? [join(process.env.CUDA_PATH, "bin", "nvcc")] : [];
  const candidates = process.env.CUDACXX ? [process.env.CUDACXX] : ["nvcc", ...usual, ...inToolkit];
  for (const command of candidates) {
    const [, major, minor] = run(command, ["--version"]).stdout?.match(/release (\d+)\.(\d+)/) ?? [];
    if (major) return { command, version: Number(major) * 100 + Number(minor), name: `${major}.${minor}` };
  }
  return undefined;
}

/** The architectures that the backend supports and a compiler of this version knows. */
export const architecturesOf = (version) => [75, 80, 86, 89, 90, ...(version >= 1208 ? [100, 120] : [])];

/**
 * The architectures for CMake.
 * @param {string[]} named architectures, or "all", or none
 * @param {number} version of nvcc
 * @param {boolean} hasGpu
 */
export function chooseArchitectures(named, version, hasGpu) {
  if (named.length === 0 && hasGpu) return "native";
  const all = named.length === 0 || named.includes("all");
  const list = all ? architecturesOf(version) : named;
  // and for GPUs newer than nvcc: code that their driver compiles
  return [...list.map((arch) => `${arch}-real`), ...(all ? [`${list.at(-1)}-virtual`] : [])].join(";");
}

/**
 * Build it in `folder`.
 * @param {string[]} named architectures, or "all", or none
 * @param {{ folder?: string, loud?: boolean }} options loud: show what the compilers say
 * @returns {string | undefined} why there is no addon now, in one line
 */
export function buildCuda(named, { folder = join(root, FOLDER), loud = true } = {}) {
  const unknown = named.find((arch) => arch !== "all" && !/^\d{2,3}$/.test(arch));
  if (unknown !== undefined) return `"${unknown}" is no architecture: expected numbers such as 89, or all`;
  const nvcc = findNvcc();
  if (!nvcc) return "there is no nvcc: install the CUDA toolkit, 12.0 or newer, or name its nvcc in CUDACXX";
  if (nvcc.version < 1200) return `nvcc is ${nvcc.name}: 12.0 or newer is needed`;
  if (run("cmake", ["--version"]).status !== 0) return "there is no cmake: install it, 3.18 or newer";
  const cmakeJs = findCmakeJs();
  if (!cmakeJs) return "cmake-js is not installed: `npm install cmake-js@8`";

  const hasGpu = run("nvidia-smi", ["-L"]).stdout?.startsWith("GPU ") ?? false;
  const architectures = chooseArchitectures(named, nvcc.version, hasGpu);
  if (loud) console.log(`nvcc ${nvcc.name}, for ${architectures}`);
  const settings = [`CMAKE_CUDA_COMPILER=${nvcc.command}`, `LLAMA2_ARCHITECTURES=${architectures}`];
  const args = ["rebuild", "-d", root, "-O", folder, ...settings.map((setting) => `--CD${setting}`)];
  const { status } = spawnSync(process.execPath, [cmakeJs, ...args, "--parallel", `${availableParallelism()}`], {
    stdio: loud ? "inherit" : "ignore",
  });
  if (status !== 0) return "cmake-js could not build it; what it said is above";
  const addon = join(folder, "Release", "llama2_cuda.node");
  if (!existsSync(addon)) return `cmake-js did not make ${addon}`;
  if (loud) console.log(`${addon}: ${(statSync(addon).size / 1e6).toFixed(1)} MB`);
  return undefined;
}

/** The checkout's, or the one of the project that has this package. */
function findCmakeJs() {
  try {
    return createRequire(import.meta.url).resolve("cmake-js/bin/cmake-js");
  } catch {
    return undefined;
  }
}

if (isMain(import.meta.url)) {
  const why = buildCuda(process.argv.slice(2));
  if (why) {
    console.error(`the cuda backend was not built: ${why}`);
    process.exitCode = 1;
  } else {
    await remember(join(root, FOLDER, "Release", "llama2_cuda.node"));
  }
}
