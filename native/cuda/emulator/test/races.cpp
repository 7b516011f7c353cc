/*
 * Small kernels, and whether the emulator finds a race in each. Built as scripts/gpu/build.py builds for `thread`. Says
 * where it is wrong, and ends with 1 then.
 */
#include <stdio.h>

#include "../../gpu.h"

using namespace llama2::cuda;

namespace {

constexpr int kThreads = 64, kBlocks = 6;

int here() { return static_cast<int>(threadIdx.x); }
int there() { return (here() + 1) % kThreads; }

__global__ void noBarrier(int* out) {
  SHARED(int, numbers, [kThreads]);
  numbers[here()] = here();
  out[blockIdx.x * kThreads + here()] = numbers[here() ^ 1];
}
__global__ void barrier(int* out) {
  SHARED(int, numbers, [kThreads]);
  numbers[here()] = here();
  __syncthreads();
  out[blockIdx.x * kThreads + here()] = numbers[there()];
}
/* The read before the barrier is another thread's, and not the last one. */
__global__ void noBarrierBeforeWriting(int* out) {
  SHARED(int, numbers, [kThreads]);
  numbers[here()] = here();
  __syncthreads();
  out[blockIdx.x * kThreads + here()] = numbers[there()] + numbers[here()];
  numbers[here()] = 0;
}
__global__ void barrierBeforeWriting(int* out) {
  SHARED(int, numbers, [kThreads]);
  numbers[here()] = here();
  __syncthreads();
  out[blockIdx.x * kThreads + here()] = numbers[there()] + numbers[here()];
  __syncthreads();
  numbers[here()] = 0;
}
/* A warp that exchanges values does not order its accesses to memory. */
__global__ void exchange(int* out) {
  SHARED(int, numbers, [kThreads]);
  numbers[here()] = here();
  const int other = shuffleXor(here(), 1);
  out[blockIdx.x * kThreads + here()] = numbers[other];
}
__global__ void dynamicMemory(int* out) {
  int* numbers = reinterpret_cast<int*>(sharedMemory());
  numbers[here()] = here();
  out[blockIdx.x * kThreads + here()] = numbers[here() ^ 1];
}
__global__ void sameValueFromAll(int* out) {
  SHARED(int, number, [1]);
  number[0] = 1;
  out[blockIdx.x * kThreads + here()] = here();
}
__global__ void bytesBesideEachOther(int* out) {
  SHARED(char, bytes, [kThreads]);
  bytes[here()] = 1;
  __syncthreads();
  out[blockIdx.x * kThreads + here()] = reinterpret_cast<int*>(bytes)[here() / 4];
}
__global__ void byteOfAWord(int* out) {
  SHARED(int, words, [kThreads / 4]);
  if (here() % 4 == 0) words[here() / 4] = 0;
  out[blockIdx.x * kThreads + here()] = reinterpret_cast<char*>(words)[here()];
}
__global__ void atomics(int* out) {
  SHARED(int, count, [1]);
  if (here() == 0) count[0] = 0;
  __syncthreads();
  atomicAdd(count, 1);
  __syncthreads();
  out[blockIdx.x * kThreads + here()] = count[0];
}
__global__ void atomicAndRead(int* out) {
  SHARED(int, count, [1]);
  if (here() == 0) count[0] = 0;
  __syncthreads();
  atomicAdd(count, 1);
  out[blockIdx.x * kThreads + here()] = count[0];
}
/* No barrier orders two blocks, however far apart they run. */
__global__ void firstBlockForLast(int* out) {
  if (blockIdx.x == 0) out[here()] = here();
  __syncthreads();
  if (blockIdx.x + 1 == gridDim.x && here() == 0) out[kThreads] = out[0];
}
__global__ void allReadThenOneWrites(int* out) {
  const int number = out[0];
  __syncthreads();
  if (blockIdx.x == 2 && here() == 0) out[0] = number;
}
__global__ void allRead(int* out) { out[1 + blockIdx.x * kThreads + here()] = out[0]; }
__global__ void atomicsOfBlocks(int* out) { atomicAdd(out, 1); }

struct Case {
  const char* name;
  void (*kernel)(int*);
  bool races;
};
const Case kCases[] = {
    {"no barrier", noBarrier, true},
    {"a barrier", barrier, false},
    {"no barrier before writing", noBarrierBeforeWriting, true},
    {"a barrier before writing", barrierBeforeWriting, false},
    {"an exchange for a barrier", exchange, true},
    {"dynamic shared memory", dynamicMemory, true},
    {"the same value from all", sameValueFromAll, true},
    {"bytes beside each other", bytesBesideEachOther, false},
    {"a byte of a word", byteOfAWord, true},
    {"atomics", atomics, false},
    {"an atomic and a read", atomicAndRead, true},
    {"the first block for the last", firstBlockForLast, true},
    {"all read, then one writes", allReadThenOneWrites, true},
    {"all read", allRead, false},
    {"atomics of blocks", atomicsOfBlocks, false},
};

}  // namespace

int main() {
  bool right = true;
  void* out = nullptr;
  cudaMalloc(&out, (1 + kBlocks * kThreads) * sizeof(int));
  cudaStream_t stream = nullptr;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  for (const Case& c : kCases) {
    std::string said;
    try {
      launch({dim3(kBlocks), kThreads, kThreads * sizeof(int), stream, false}, c.kernel, static_cast<int*>(out));
    } catch (const std::runtime_error& error) {
      said = error.what();
    }
    const bool asExpected = c.races ? said.find("emulator: a race\n") == 0 : said.empty();
    // with the line of the kernel
    const bool names = !c.races || said.find("races.cpp:") != std::string::npos;
    if (!asExpected || !names) printf("%s: %s\n", c.name, said.empty() ? "no race was found" : said.c_str());
    right = right && asExpected && names;
  }
  return right ? 0 : 1;
}
