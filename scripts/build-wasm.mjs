/*
 * Build the WebAssembly kernels: the same source twice, once for threads that share a memory, once without, for
 * one thread and for places that have no SharedArrayBuffer.
 */
import asc from "assemblyscript/asc";

const SOURCE = "src/backend/wasm/assembly/index.ts";
const OUT = "dist/backend/wasm";

const COMMON = [
  "-O3",
  "--noAssert",
  "--runtime",
  "stub",
  "--enable",
  "simd",
  "--importMemory",
  "--maximumMemory",
  "65536",
];
const BUILDS = {
  "kernels.wasm": [],
  "kernels-shared.wasm": ["--enable", "threads", "--sharedMemory"],
};

export async function buildWasm() {
  for (const [name, flags] of Object.entries(BUILDS)) {
    const { error, stderr } = await asc.main([SOURCE, ...COMMON, ...flags, "--outFile", `${OUT}/${name}`]);
    if (error) throw new Error(`the WebAssembly kernels do not compile\n${stderr}`);
  }
}

if (process.argv[1] === import.meta.filename) await buildWasm();
