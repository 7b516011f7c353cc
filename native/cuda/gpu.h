/*
 * The one header through which kernels and host code use CUDA. With nvcc it is the real runtime and the few names
 * below; with g++ it is the emulator (emulator/), which implements the same names on the CPU, for tests.
 *
 * Rules that keep one source working for both, and for every toolkit from 12.0 on:
 *  - a block has a multiple of 32 threads, and only whole warps exchange values;
 *  - SHARED and sharedMemory() replace __shared__, launch() replaces <<<>>>;
 *  - PTX, and anything newer than CUDA 12.0 or sm_75, is here behind a function and nowhere else.
 *
 * Both compilers are told not to contract a * b + c into one operation. `fmaf` marks where a fused one is wanted.
 */
#ifndef LLAMA2_CUDA_GPU_H
#define LLAMA2_CUDA_GPU_H

#include <stdint.h>

#if defined(__CUDACC__)

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <utility>

/* SHARED(float, part, [8][4]) declares an array in shared memory. */
#define SHARED(T, name, dims) __shared__ T name dims
#define NOT_INLINED __noinline__

namespace llama2::cuda {

/* The file in which Linux reports the driver's release. */
inline const char* driverFile() { return "/proc/driver/nvidia/version"; }

/* The dynamic shared memory of this launch, aligned to 16 bytes. */
__device__ __forceinline__ unsigned char* sharedMemory() {
  extern __shared__ __align__(16) unsigned char dynamicShared[];
  return dynamicShared;
}

/* The value of lane (laneId ^ mask). */
template <class T>
__device__ __forceinline__ T shuffleXor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}

/*
 * Load 16 bytes that nothing writes during this launch: weights. The load bypasses L1, because no other thread of the
 * SM reads the same bytes.
 */
__device__ __forceinline__ uint4 loadReadOnly(const uint4* from) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}

/*
 * Programmatic dependent launch: a kernel may start while the previous one still runs. Before the wait it must not
 * touch anything that an earlier kernel writes. Below sm_90 kernels run one after another and these functions do
 * nothing.
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

/* The launch configuration. */
struct Launch {
  dim3 grid;
  unsigned threads;
  size_t shared;  // bytes
  cudaStream_t stream;
  bool early;  // may start before the previous kernel has ended: the kernel must call waitForPreviousKernel()
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
