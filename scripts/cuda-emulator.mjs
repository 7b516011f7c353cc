// Builds the CUDA addon with g++ against the emulator, so that tests run the whole backend from JavaScript to the kernels.
// (scripts/gpu/build.py builds gpu:check in the same way.)
import { execFile, spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { architecturesOf, findNvcc } from "./build-cuda.mjs";
import { product, root } from "./fingerprint.mjs";

const run = promisify(execFile);
const here = fileURLToPath(new URL("../native/cuda", import.meta.url));

/** The sources of the backend. */
const SOURCES = ["devices.cu", "transformer.cu", "forward.cu", "context.cu", "sample.cu"];

const FLAGS = ["-std=c++17", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"];

/** Whether there is a compiler for the emulator: g++, on Linux. */
export const hasCompiler =
  process.platform === "linux" && spawnSync("g++", ["--version"], { stdio: "ignore" }).status === 0;

/** Compile sources of the folder `source` into `to`. */
const compile = (names, to, flags, source) =>
  Promise.all(
    names.map(async (name) => {
      const object = join(to, `${name.replaceAll("/", "_")}.o`);
      await run("g++", [...FLAGS, ...flags, "-x", "c++", "-c", join(source, name), "-o", object]);
      return object;
    }),
  );

const nodeHeaders = join(dirname(dirname(process.execPath)), "include", "node");

/** Whether the addon can be built on the emulator: with a compiler, and Node's headers beside node. */
export const canEmulateAddon = hasCompiler && existsSync(join(nodeHeaders, "node_api.h"));

const FOLDER = "build-emulator";
const SHARED = ["config.h", "error.h", "rope.h"].map((name) => `native/${name}`);
const emulated = product(FOLDER, ["native/cuda", "native/addon", ...SHARED, "scripts/cuda-emulator.mjs"]);

/** Where buildEmulated() puts the addon. */
export const EMULATED_ADDON = join(root, FOLDER, "llama2_cuda.node");

/** Build the addon on the emulator, unless it is up to date. */
export async function buildEmulated() {
  if (emulated.isFresh()) return;
  const to = join(root, FOLDER);
  mkdirSync(to, { recursive: true });
  const flags = ["-O1", "-fPIC", "-fvisibility=hidden"];
  const includes = [
    join(root, "native", "addon"),
    nodeHeaders,
    createRequire(import.meta.url)("node-addon-api").include_dir,
  ];
  const glue = [
    ...flags,
    ...includes.map((folder) => `-I${folder}`),
    "-DNAPI_VERSION=9",
    "-DNAPI_DISABLE_CPP_EXCEPTIONS",
    "-DNODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS",
  ];
  const objects = await Promise.all([
    compile(SOURCES, to, flags, here),
    compile(["addon.cpp", "context.cpp", "model.cpp"], to, glue, join(here, "addon")),
  ]);
  await run("g++", ["-shared", ...objects.flat(), "-o", EMULATED_ADDON]);
  emulated.markFresh();
}

const found = findNvcc();

/** nvcc, or undefined. */
export const nvcc = found?.command;

/** Compile the backend for all GPUs that nvcc knows. Like the emulator, without contracting a * b + c. */
export async function compileForGpu(to) {
  mkdirSync(to, { recursive: true });
  const targets = architecturesOf(found.version).map((arch) => `-gencode=arch=compute_${arch},code=sm_${arch}`);
  for (const name of SOURCES) {
    const object = join(to, `${name}.o`);
    await run(nvcc, [
      "-std=c++17",
      "-fmad=false",
      "-O2",
      "--threads=2",
      "-Werror=all-warnings",
      ...targets,
      "-c",
      join(here, name),
      "-o",
      object,
    ]);
  }
}
