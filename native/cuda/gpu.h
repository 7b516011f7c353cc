/*
 * The one header that kernels and host code include for CUDA. nvcc: the real runtime, and the few names below.
 * g++: the emulator (emulator/), which gives the same names a body that runs on the CPU, for tests.
 *
 * What keeps one source for both, and for every toolkit from 12.0 on:
 *  - blocks have a multiple of 32 threads, and only whole warps exchange values;
 *  - SHARED and sharedMemory() instead of __shared__, launch() instead of <<<>>>;
 *  - whatever is PTX, newer than CUDA 12.0 or than sm_75 stands here, behind a function, and nowhere else.
 *
 * Both compilers are told not to contract a * b + c into one operation; `fmaf` says where one is wanted.
 */
#ifndef LLAMA2_CUDA_GPU_H
#define LLAMA2_CUDA_GPU_H

#include <stdint.h>

#if defined(__CUDACC__)

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <utility>

/* SHARED(float, part, [8][4]): an array that the threads of a block share. */
#define SHARED(T, name, dims) __shared__ T name dims
#define NOT_INLINED __noinline__

namespace llama2::cuda {

/* Where Linux tells the driver's release. */
inline const char* driverFile() { return "/proc/driver/nvidia/version"; }

/* The shared memory whose size the launch chose, aligned to 16 bytes. */
__device__ __forceinline__ unsigned char* sharedMemory() {
  extern __shared__ __align__(16) unsigned char dynamicShared[];
  return dynamicShared;
}

/* The value of the lane whose number differs in the bits of `mask`. */
template <class T>
__device__ __forceinline__ T shuffleXor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}

/*
 * 16 bytes of memory that nobody writes during this launch: weights. They pass by L1, since no other thread of the
 * SM will read them.
 */
__device__ __forceinline__ uint4 loadReadOnly(const uint4* from) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}

/*
 * Programmatic dependent launch: a kernel may be started while the one before it still runs. Up to the wait it must
 * touch nothing that an earlier kernel writes. Below sm_90 kernels start in turn, and these do nothing.
 */
__device__ __forceinline__ void waitForPreviousKernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ __forceinline__ void letNextKernelStart() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/* What a launch needs beside the kernel and its arguments. */
struct Launch {
  dim3 grid;
  unsigned threads;
  size_t shared;  // bytes
  cudaStream_t stream;
  bool early;  // may start before the previous kernel has ended; it calls waitForPreviousKernel()
};

template <class... P, class... A>
cudaError_t launch(const Launch& how, void (*kernel)(P...), A&&... arguments) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = how.grid;
  config.blockDim = dim3(how.threads);
  config.dynamicSmemBytes = how.shared;
  config.stream = how.stream;
  config.attrs = &attribute;
  config.numAttrs = how.early ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, static_cast<P>(std::forward<A>(arguments))...);
}

}  // namespace llama2::cuda

#else
#include "emulator/emulator.h"
#endif

#endif
