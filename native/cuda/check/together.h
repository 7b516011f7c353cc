/*
 * What blocks that run at the same time need to hand numbers to each other: for measurements only, so far. The kernels
 * of the backend need none of it, since each is a launch of its own.
 */
#ifndef LLAMA2_CHECK_TOGETHER_H
#define LLAMA2_CHECK_TOGETHER_H

#include "../gpu.h"

#if defined(__CUDACC__)

#include <cooperative_groups.h>

namespace llama2::check {

using cuda::Launch;

/* All blocks of the grid, or with a cluster size those of each cluster, run at the same time. Fails if they cannot. */
template <class... P, class... A>
cudaError_t launchTogether(const Launch& how, unsigned cluster, void (*kernel)(P...), A&&... arguments) {
  cudaLaunchAttribute attribute{};
  if (cluster == 0) {
    attribute.id = cudaLaunchAttributeCooperative;
    attribute.val.cooperative = 1;
  } else {
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = cluster;
    attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
    // more than 8 blocks are not had everywhere, and must be asked for
    const cudaError_t status =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, cluster > 8);
    if (status != cudaSuccess) return status;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = how.grid;
  config.blockDim = dim3(how.threads);
  config.dynamicSmemBytes = how.shared;
  config.stream = how.stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, kernel, static_cast<P>(std::forward<A>(arguments))...);
}

__device__ __forceinline__ void gridSync() { cooperative_groups::this_grid().sync(); }

/* Of a cluster: barrier, this block's number, and a write into the shared memory of another block. Below sm_90: none.
 */
__device__ __forceinline__ void clusterSync() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}
__device__ __forceinline__ void storeToBlock([[maybe_unused]] float* shared, [[maybe_unused]] unsigned block,
                                             [[maybe_unused]] float value) {
#if __CUDA_ARCH__ >= 900
  const unsigned here = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  unsigned there;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(here), "r"(block));
  asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(there), "f"(value) : "memory");
#endif
}

/* Memory that other blocks write while this one reads: never from L1, and in order only where it says so. */
__device__ __forceinline__ uint64_t loadRelaxed(const uint64_t* from) {
  uint64_t value;
  asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(value) : "l"(from) : "memory");
  return value;
}
__device__ __forceinline__ void storeRelaxed(uint64_t* to, uint64_t value) {
  asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(to), "l"(value) : "memory");
}
__device__ __forceinline__ unsigned loadAcquire(const unsigned* from) {
  unsigned value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(from) : "memory");
  return value;
}
__device__ __forceinline__ void addRelease(unsigned* counter) {
  asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(counter) : "memory");
}
__device__ __forceinline__ float loadL2(const float* from) { return __ldcg(from); }

/* While spinning: nothing, since the shortest wait is wanted. */
__device__ __forceinline__ void spinPause() {}

}  // namespace llama2::check

#else

namespace llama2::check {

using cuda::Launch;

template <class... P, class... A>
cudaError_t launchTogether(const Launch& how, unsigned cluster, void (*kernel)(P...), A&&... arguments) {
  if (cluster > 0 && cluster != how.grid.x)
    return cudaErrorInvalidConfiguration;  // one cluster is all that is emulated
  if (how.grid.x > emulator::Grid::get().resident()) return cudaErrorCooperativeLaunchTooLarge;
  return cuda::launch(how, kernel, std::forward<A>(arguments)...);
}

inline void gridSync() { emulator::Grid::get().gridBarrier(); }
/* The grid is one cluster. */
inline void clusterSync() { emulator::Grid::get().gridBarrier(); }
inline void storeToBlock(float* shared, unsigned block, float value) {
  *static_cast<float*>(emulator::Grid::get().sharedOf(block, shared)) = value;
}
inline uint64_t loadRelaxed(const uint64_t* from) { return __atomic_load_n(from, __ATOMIC_RELAXED); }
inline void storeRelaxed(uint64_t* to, uint64_t value) { __atomic_store_n(to, value, __ATOMIC_RELAXED); }
inline unsigned loadAcquire(const unsigned* from) { return __atomic_load_n(from, __ATOMIC_ACQUIRE); }
inline void addRelease(unsigned* counter) { __atomic_fetch_add(counter, 1, __ATOMIC_RELEASE); }
inline float loadL2(const float* from) { return *from; }
inline void spinPause() { emulator::Grid::get().yield(); }

}  // namespace llama2::check

#endif

namespace llama2::check {

/*
 * How often a thread looks in vain, in all of a launch: a fault must not hang the card. Then it waits no more, and the
 * numbers are wrong.
 */
constexpr int kMostTries = 1 << 22;

/*
 * A barrier of all blocks: each adds one to a counter, which only grows within a launch, and one thread of each waits
 * until all have. `round` counts the barriers from 1 on; `tries` is what is left to this thread of kMostTries.
 */
__device__ __forceinline__ void arriveAt(unsigned* counter) {
  __syncthreads();  // orders this block's writes before its arrival
  if (threadIdx.x == 0) addRelease(counter);
}
__device__ __forceinline__ void waitFor(const unsigned* counter, unsigned round, int& tries) {
  if (threadIdx.x == 0) {
    while (static_cast<int>(loadAcquire(counter) - round * gridDim.x) < 0 && --tries > 0) spinPause();
  }
  __syncthreads();  // orders the arrival of all blocks before what this one reads now
}

}  // namespace llama2::check

#endif
