/*
 * The sources build with every CUDA toolkit from 12.0 to 13.x by construction. What they use of the runtime is listed
 * here with the version it came with; a name that is not listed must be looked up before it is used.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { nvcc } from "../../scripts/cuda-emulator.mjs";
import { ROOT } from "../helpers/golden.ts";

const OLDEST = 12.0;

/** Name, and the toolkit that brought it, or brought the form in which it is called here. None of these has gone. */
const SINCE: Record<string, number> = {
  // memory
  cudaMalloc: 1,
  cudaFree: 1,
  cudaFreeHost: 1,
  cudaHostAlloc: 2.2,
  cudaHostAllocMapped: 2.2,
  cudaMemGetInfo: 3,
  cudaMemcpyAsync: 1,
  cudaMemcpyHostToDevice: 1,
  cudaMemcpyDeviceToHost: 1,
  cudaMemcpyDeviceToDevice: 1,
  cudaMemsetAsync: 3.2,
  // streams and events
  cudaStream_t: 1,
  cudaStreamCreateWithFlags: 5,
  cudaStreamNonBlocking: 5,
  cudaStreamDestroy: 1,
  cudaStreamSynchronize: 1,
  cudaStreamQuery: 1,
  cudaEvent_t: 1,
  cudaEventCreateWithFlags: 2.2,
  cudaEventDisableTiming: 3.2,
  cudaEventRecord: 1,
  cudaEventSynchronize: 1,
  cudaEventDestroy: 1,
  // graphs: cudaGraphInstantiate(exec, graph, flags) is 12.0's; before, it took five arguments
  cudaGraph_t: 10,
  cudaGraphExec_t: 10,
  cudaGraphInstantiate: 12,
  cudaGraphLaunch: 10,
  cudaGraphDestroy: 10,
  cudaGraphExecDestroy: 10,
  cudaStreamBeginCapture: 10.1,
  cudaStreamCaptureModeThreadLocal: 10.1,
  cudaStreamEndCapture: 10,
  // launches
  cudaLaunchKernelEx: 11.8,
  cudaLaunchConfig_t: 11.8,
  cudaLaunchAttribute: 11.8,
  cudaLaunchAttributeProgrammaticStreamSerialization: 11.8,
  cudaLaunchAttributeCooperative: 11.8,
  cudaLaunchAttributeClusterDimension: 11.8,
  cudaFuncSetAttribute: 9,
  cudaFuncAttributeNonPortableClusterSizeAllowed: 11.8,
  cudaOccupancyMaxActiveBlocksPerMultiprocessor: 6.5,
  // devices: cudaDeviceProp lost fields in 13.0, see PROPERTIES
  cudaGetDeviceCount: 1,
  cudaSetDevice: 1,
  cudaGetDeviceProperties: 1,
  cudaDeviceProp: 1,
  cudaDeviceGetAttribute: 5,
  cudaDeviceAttr: 5,
  cudaDevAttrMultiProcessorCount: 5,
  cudaDevAttrL2CacheSize: 5,
  cudaDevAttrComputeCapabilityMajor: 5,
  cudaDriverGetVersion: 2.2,
  cudaRuntimeGetVersion: 2.2,
  // errors
  cudaError_t: 1,
  cudaSuccess: 1,
  cudaGetLastError: 1,
  cudaGetErrorName: 6,
  cudaGetErrorString: 1,
  cudaErrorMemoryAllocation: 1,
  cudaErrorInvalidConfiguration: 1,
  cudaErrorNotReady: 1,
  cudaErrorNoDevice: 2.2,
  cudaErrorInsufficientDriver: 2.2,
  cudaErrorDevicesUnavailable: 3.2,
  cudaErrorNoKernelImageForDevice: 3.1,
  cudaErrorUnsupportedPtxVersion: 11,
  cudaErrorCooperativeLaunchTooLarge: 9,
};

/** Of the fields of cudaDeviceProp, many of which CUDA 13.0 took away, those that are read. */
const PROPERTIES = ["major", "minor", "multiProcessorCount", "name", "totalGlobalMem"];

/** Everything for real GPUs: native/cuda without its emulator. Comments say nothing about what is used. */
const sources = readdirSync(join(ROOT, "native", "cuda"), { recursive: true, encoding: "utf8" })
  .filter((name) => /\.(h|cu|cpp)$/.test(name) && !name.startsWith("emulator"))
  .map((name) => {
    const text = readFileSync(join(ROOT, "native", "cuda", name), "utf8");
    return { name, text: text.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "").replace(/"(\\.|[^"\\])*"/g, '""') };
  });

/** What a source uses of the runtime: names, by the file in which they are. */
function usedIn(all: readonly { name: string; text: string }[]): Map<string, string> {
  const used = new Map<string, string>();
  for (const { name, text } of all) for (const [word] of text.matchAll(/\bcuda[A-Z]\w*/g)) used.set(word, name);
  return used;
}

const unknownIn = (all: readonly { name: string; text: string }[]) =>
  [...usedIn(all)].filter(([word]) => !(SINCE[word] <= OLDEST)).map(([word, file]) => `${word} in ${file}`);

describe("what native/cuda uses of the CUDA runtime", () => {
  it("is in every toolkit from 12.0 on", () => {
    expect(sources.length).toBeGreaterThan(20);
    expect(usedIn(sources).size).toBeGreaterThan(30);
    expect(unknownIn(sources)).toEqual([]);
  });

  it("is found out when it is not: a name that nobody looked up, one that is too new", () => {
    const text = "check(cudaMemPrefetchAsync(p, n, 0));";
    expect(unknownIn([{ name: "new.cu", text }])).toEqual(["cudaMemPrefetchAsync in new.cu"]);
  });

  it("is no field of cudaDeviceProp that CUDA 13 has no more", () => {
    const using = sources.filter(({ text }) => text.includes("cudaDeviceProp"));
    expect(using.map(({ name }) => name)).toEqual(["devices.cu"]);
    const read = new Set([...using[0].text.matchAll(/\bp\.(\w+)/g)].map(([, field]) => field));
    expect([...read].sort()).toEqual(PROPERTIES);
  });

  const headers = nvcc && ["/usr/local/cuda/include", join(dirname(nvcc), "..", "include")].find((f) => existsSync(f));
  it.skipIf(!headers)(`is in the toolkit that is here${headers ? "" : " (skipped: needs CUDA's headers)"}`, () => {
    const text = ["cuda_runtime_api.h", "cuda_runtime.h", "driver_types.h"]
      .map((name) => readFileSync(join(headers as string, name), "utf8"))
      .join("\n");
    expect(Object.keys(SINCE).filter((word) => !new RegExp(`\\b${word}\\b`).test(text))).toEqual([]);
  });
});
