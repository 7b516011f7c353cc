/*
 * Multihead attention: each head of each entry attends to every position up to its own.
 *
 * Reads 2 * headSize * (pos + 1) keys and values per head. One block per head would leave most of a GPU idle, so the
 * positions are split (flash decoding): each block handles `chunk` of them and writes a partial result, which is the
 * largest score m, the sum l of e^(score - m), and the values weighted by e^(score - m). The next kernel combines them.
 * How positions are split depends on the model alone, not on the batch, so that results do not depend on it either.
 */
#ifndef LLAMA2_CUDA_ATTENTION_H
#define LLAMA2_CUDA_ATTENTION_H

#include "kv_cache.h"
#include "model.h"
#include "reduce.h"

namespace llama2::cuda {

/* The partial results of attention's blocks. */
struct Partials {
  float* m;       // (count, nHeads, splits)
  float* l;       // (count, nHeads, splits)
  float* values;  // (count, nHeads, splits, headSize)
  int splits;     // seqLen / chunk, rounded up
  int chunk;      // positions per split

  __device__ size_t index(int entry, int nHeads, int head, int split) const {
    return (static_cast<size_t>(entry) * nHeads + head) * splits + split;
  }
};

/* Shared memory that attention needs, in floats. */
inline size_t attentionFloats(int headStride, int chunk) {
  return static_cast<size_t>(1 + kWarps) * headStride + chunk + 2 * kWarps;
}

/* Reduce over the warps of a block, in the same order in every thread. Contains a barrier. */
template <class Combine>
__device__ __forceinline__ float acrossWarps(float* parts, float value, Combine combine) {
  if (laneOf() == 0) parts[warpOf()] = value;
  __syncthreads();  // orders the writes of parts before the reads below
  float all = parts[0];
  for (int w = 1; w < kWarps; w++) all = combine(all, parts[w]);
  return all;
}

/*
 * Grid: (splits, nHeads, count). Shared memory: attentionFloats(cache.headStride, partials.chunk). The keys and values
 * of the entries themselves are already in the cache.
 */
template <class Kv>
__global__ void __launch_bounds__(kThreads) attention(const float* q,  // (count, nHeads, headSize)
                                                      KvCache cache, int layer, int headSize,
                                                      const Entry* entries,  // (count)
                                                      Partials partials) {
  letNextKernelStart();
  waitForPreviousKernel();
  const int split = static_cast<int>(blockIdx.x);
  const int head = static_cast<int>(blockIdx.y);
  const int nHeads = static_cast<int>(gridDim.y);
  const Entry entry = entries[blockIdx.z];
  const int first = split * partials.chunk;
  if (first > entry.pos) return;
  const int count = (entry.pos + 1 - first < partials.chunk ? entry.pos + 1 - first : partials.chunk);

  const int stride = cache.headStride;
  const size_t rows = cache.offset(entry.sequence, layer, head / (nHeads / cache.nKvHeads), first);
  const Kv* keys = static_cast<const Kv*>(cache.keys) + rows;
  const Kv* values = static_cast<const Kv*>(cache.values) + rows;
  float* query = reinterpret_cast<float*>(sharedMemory());  // (stride)
  float* sums = query + stride;                             // (kWarps, stride)
  float* att = sums + kWarps * stride;                      // (chunk)
  float* parts = att + partials.chunk;                      // (2, kWarps)

  q += (static_cast<size_t>(blockIdx.z) * nHeads + head) * headSize;
  for (int i = static_cast<int>(threadIdx.x); i < stride; i += kThreads) query[i] = i < headSize ? q[i] : 0.0f;
  __syncthreads();  // orders the writes of query before the reads below

  // score = query . key / sqrt(headSize), with eight lanes per position
  constexpr int kLanes = 8;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const float scale = sqrtf(static_cast<float>(headSize));
  float largest = -INFINITY;
  for (int base = 0; base < count; base += kThreads / kLanes) {
    const int t = base + static_cast<int>(threadIdx.x) / kLanes;
    float score = 0.0f;
    for (int i = 4 * lane; i < stride && t < count; i += 4 * kLanes) {
      const float4 k = load4(keys + static_cast<size_t>(t) * stride + i);
      const float4 v = load4(query + i);
      score = fmaf(k.x, v.x, score);
      score = fmaf(k.y, v.y, score);
      score = fmaf(k.z, v.z, score);
      score = fmaf(k.w, v.w, score);
    }
    score = warpSum<kLanes>(score) / scale;
    if (t < count) {
      if (lane == 0) att[t] = score;
      largest = maxOrNan(largest, score);
    }
  }
  // softmax without the division
  const float m = acrossWarps(parts, warpMax(largest), maxOrNan);  // its barrier also orders the writes of att
  float sum = 0.0f;
  for (int t = static_cast<int>(threadIdx.x); t < count; t += kThreads) {
    const float weight = expf(att[t] - m);
    att[t] = weight;
    sum += weight;
  }
  // its barrier orders the new writes of att before the reads below
  const float l = acrossWarps(parts + kWarps, warpSum(sum), [](float a, float b) { return a + b; });

  // weighted sum of the values: each warp takes every kWarps-th position
  for (int i = 4 * laneOf(); i < stride; i += 4 * 32) {
    float4 part = make_float4(0, 0, 0, 0);
    for (int t = warpOf(); t < count; t += kWarps) {
      const float4 v = load4(values + static_cast<size_t>(t) * stride + i);
      part.x = fmaf(att[t], v.x, part.x);
      part.y = fmaf(att[t], v.y, part.y);
      part.z = fmaf(att[t], v.z, part.z);
      part.w = fmaf(att[t], v.w, part.w);
    }
    *reinterpret_cast<float4*>(sums + warpOf() * stride + i) = part;
  }
  __syncthreads();  // orders the writes of sums before the reads below

  const size_t index = partials.index(static_cast<int>(blockIdx.z), nHeads, head, split);
  for (int i = static_cast<int>(threadIdx.x); i < headSize; i += kThreads) {
    float all = 0.0f;
    for (int w = 0; w < kWarps; w++) all += sums[w * stride + i];
    partials.values[index * headSize + i] = all;
  }
  if (threadIdx.x == 0) {
    partials.m[index] = m;
    partials.l[index] = l;
  }
}

}  // namespace llama2::cuda

#endif
