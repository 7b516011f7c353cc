/*
 * Measures memory bandwidth: copying, reading from device memory, and reading data that L2 holds.
 *
 * The kernels are the simplest ones that reach the limit: 16-byte loads, several in flight in each thread.
 */
#include "bench.h"
#include "hold.h"
#include "limits.h"
#include "sections.h"

namespace llama2::check {

using cuda::loadReadOnly;

namespace {

constexpr int kThreads = 256;
constexpr int kInFlight = 8;

/* Reads all `vectors`; writes only for an unlikely result, so that the compiler keeps every load. */
__global__ void __launch_bounds__(kThreads) readAll(const uint4* from, size_t vectors, unsigned* out) {
  cuda::letNextKernelStart();
  unsigned all = 0;
  const size_t step = static_cast<size_t>(gridDim.x) * kThreads;
  size_t i = static_cast<size_t>(blockIdx.x) * kThreads + threadIdx.x;
  for (; i + (kInFlight - 1) * step < vectors; i += kInFlight * step) {
    uint4 v[kInFlight];
#pragma unroll
    for (int k = 0; k < kInFlight; k++) v[k] = loadReadOnly(from + i + k * step);
#pragma unroll
    for (int k = 0; k < kInFlight; k++) all |= v[k].x ^ v[k].y ^ v[k].z ^ v[k].w;
  }
  for (; i < vectors; i += step) all |= loadReadOnly(from + i).x;
  cuda::waitForPreviousKernel();
  if (all == 0x9e3779b9u) *out = all;
}

__global__ void __launch_bounds__(kThreads) fillNumbers(unsigned* to, size_t count) {
  const size_t step = static_cast<size_t>(gridDim.x) * kThreads;
  for (size_t i = static_cast<size_t>(blockIdx.x) * kThreads + threadIdx.x; i < count; i += step) {
    to[i] = static_cast<unsigned>(i) * 2654435761u;
  }
}

/* Memory filled with non-zero numbers. */
Buffer<uint4> numbers(const Stream& stream, size_t bytes) {
  Buffer<uint4> memory(bytes / 16);
  const Launch how = {dim3(static_cast<unsigned>(4 * multiprocessors())), kThreads, 0, stream.get(), false};
  check(cuda::launch(how, fillNumbers, reinterpret_cast<unsigned*>(memory.get()), bytes / 4), "fillNumbers");
  return memory;
}

/* 1 GiB, or less where there is less. */
size_t largeBytes(const Settings& settings) {
  const size_t wanted = settings.small ? size_t{1} << 16 : size_t{1} << 30;
  return std::min(wanted, freeBytes() / 4 / 4096 * 4096);
}

int attribute(cudaDeviceAttr which) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, 0), "cudaDeviceGetAttribute");
  return value;
}

}  // namespace

int multiprocessors() { return attribute(cudaDevAttrMultiProcessorCount); }
size_t cacheBytes() { return static_cast<size_t>(attribute(cudaDevAttrL2CacheSize)); }

bool startsEarly() {
  int driver = 0, runtime = 0;
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  return attribute(cudaDevAttrComputeCapabilityMajor) >= 9 && std::min(driver, runtime) >= 12030;
}

size_t freeBytes() {
  size_t available = 0, total = 0;
  check(cudaMemGetInfo(&available, &total), "cudaMemGetInfo");
  return available;
}

Hold::Hold(size_t left) {
  for (size_t piece = size_t{1} << 30; piece >= size_t{1} << 18;) {
    void* memory = nullptr;
    if (freeBytes() >= left + piece && cudaMalloc(&memory, piece) == cudaSuccess) {
      pieces_.push_back(memory);
    } else {
      cudaGetLastError();  // the driver has reserved some memory
      piece /= 2;
    }
  }
}
Hold::~Hold() {
  for (void* piece : pieces_) cudaFree(piece);
}

std::vector<double> copyBandwidth(const Settings& settings) {
  const Stream stream;
  const size_t bytes = largeBytes(settings);
  const Buffer<uint4> from = numbers(stream, bytes);
  const Buffer<uint4> to(bytes / 16);
  const int copies = settings.small ? 1 : 5;
  const auto seconds = secondsOf(settings, stream, [&] {
    for (int i = 0; i < copies; i++) {
      check(cudaMemcpyAsync(to.get(), from.get(), bytes, cudaMemcpyDeviceToDevice, stream.get()), "cudaMemcpyAsync");
    }
  });
  return rates(seconds, 2.0 * bytes * copies);
}

std::vector<double> readBandwidth(const Settings& settings, size_t bytes, int blocksEach) {
  const Stream stream;
  const Buffer<uint4> from = numbers(stream, bytes);
  const Buffer<unsigned> out(1);
  const dim3 grid(static_cast<unsigned>(blocksEach * multiprocessors()));
  const int passes = settings.small ? 2 : std::max(4, static_cast<int>((size_t{1} << 31) / bytes));
  const auto seconds = secondsEach(settings, stream, std::min(passes, 60), [&](int) {
    const Launch how = {grid, kThreads, 0, stream.get(), startsEarly()};
    check(cuda::launch(how, readAll, from.get(), bytes / 16, out.get()), "readAll");
  });
  return rates(seconds, static_cast<double>(bytes));
}

bool measureBandwidth(const Settings& settings) {
  Line("copy").samples(times(copyBandwidth(settings), 1e-9), "GB/s");
  const auto read = [&](const std::string& what, size_t bytes) {
    std::vector<double> best;
    for (const int blocksEach : {2, 4, 8}) {
      const auto here = readBandwidth(settings, bytes, blocksEach);
      if (best.empty() || medianOf(here) > medianOf(best)) best = here;
    }
    Line(what).samples(times(best, 1e-9), "GB/s").number("bytes", static_cast<double>(bytes));
  };
  read("read", largeBytes(settings));
  read("read from L2", settings.small ? 4096 : cacheBytes() / 2 / 4096 * 4096);
  return true;
}

}  // namespace llama2::check
