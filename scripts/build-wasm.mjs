/*
 * Builds the WebAssembly kernels twice from the same source: for threads that share a memory, and for a single thread,
 * which also works without SharedArrayBuffer.
 */
import asc from "assemblyscript/asc";
import { isMain, root } from "./fingerprint.mjs";

// the stub runtime is empty: nothing is allocated in AssemblyScript. 65536 pages are 4 GiB, all that 32 bits address.
const COMMON = "-O3 --noAssert --runtime stub --enable simd --importMemory --maximumMemory 65536";
const BUILDS = {
  "kernels.wasm": COMMON,
  "kernels-shared.wasm": `${COMMON} --enable threads --sharedMemory`,
};

export async function buildWasm() {
  for (const [name, flags] of Object.entries(BUILDS)) {
    const files = ["src/backend/wasm/assembly/index.ts", "--outFile", `dist/backend/wasm/${name}`];
    const { error, stderr } = await asc.main([...files, "--baseDir", root, ...flags.split(" ")]);
    if (error) throw new Error(`the WebAssembly kernels do not compile\n${stderr}`);
  }
}

if (isMain(import.meta.url)) await buildWasm();
