/* CUDA for host code: every call is checked, and memory frees itself. */
#ifndef LLAMA2_CUDA_HOST_H
#define LLAMA2_CUDA_HOST_H

#include <stdexcept>
#include <string>

#include "gpu.h"
#include "model.h"

namespace llama2::cuda {

/* Throws the Error that a failed call means. `what` names the call. */
[[noreturn]] void fail(cudaError_t status, const char* what);
inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) fail(status, what);
}

/* Memory on the device, or with kHost pinned host memory, which the device can access too. */
enum class Where { kDevice, kHost };
template <class T, Where where = Where::kDevice>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t count) {
    const size_t bytes = count > 0 ? count * sizeof(T) : sizeof(T);
    void* memory = nullptr;
    if (where == Where::kDevice) {
      check(cudaMalloc(&memory, bytes), "cudaMalloc");
    } else {
      check(cudaHostAlloc(&memory, bytes, cudaHostAllocMapped), "cudaHostAlloc");
    }
    data_ = static_cast<T*>(memory);
  }
  Buffer(Buffer&& other) noexcept : data_(other.data_) { other.data_ = nullptr; }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  ~Buffer() {
    if (where == Where::kDevice) {
      cudaFree(data_);
    } else {
      cudaFreeHost(data_);
    }
  }
  T* get() const { return data_; }

 private:
  T* data_ = nullptr;
};
template <class T>
using Pinned = Buffer<T, Where::kHost>;

class Stream {
 public:
  Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags"); }
  ~Stream() {
    cudaStreamSynchronize(stream_);
    cudaStreamDestroy(stream_);
  }
  Stream(const Stream&) = delete;
  cudaStream_t get() const { return stream_; }
  void wait() const { check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

  template <class T>
  void toDevice(T* to, const T* from, size_t count) const {
    check(cudaMemcpyAsync(to, from, count * sizeof(T), cudaMemcpyHostToDevice, stream_), "cudaMemcpyAsync");
  }
  template <class T>
  void toHost(T* to, const T* from, size_t count) const {
    check(cudaMemcpyAsync(to, from, count * sizeof(T), cudaMemcpyDeviceToHost, stream_), "cudaMemcpyAsync");
  }
  void clear(void* memory, size_t bytes) const { check(cudaMemsetAsync(memory, 0, bytes, stream_), "cudaMemsetAsync"); }

 private:
  cudaStream_t stream_ = nullptr;
};

/* Device memory for the weights, and for one context, in bytes. */
size_t weightBytes(const Config& config, const Options& options);
size_t contextBytes(const Config& config, const Options& options, int slots);

/*
 * Throws std::invalid_argument for int8 groups that do not divide every matrix, and kDeviceUnavailable for a model
 * whose kernels would need more shared memory than a block has.
 */
void requireShape(const Config& config, const Options& options);

/* Throws kDeviceOom, with both numbers, if less than `bytes` is free. */
void requireFree(size_t bytes, const char* what);

}  // namespace llama2::cuda

#endif
