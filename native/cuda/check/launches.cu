/* Measures the cost of going from one kernel to the next: in a stream, in a graph, and with an early start. */
#include "bench.h"
#include "limits.h"
#include "sections.h"

namespace llama2::check {

namespace {

/* A kernel that does nothing but keep the order of launches. */
__global__ void nothing(unsigned* out) {
  cuda::letNextKernelStart();
  cuda::waitForPreviousKernel();
  if (out == nullptr && threadIdx.x > blockDim.x) *out = 1;
}

constexpr unsigned kThreads = 256;

}  // namespace

std::vector<double> kernelSeconds(const Settings& settings, unsigned blocks, bool early) {
  const Stream stream;
  const Buffer<unsigned> out(1);
  const Launch how = {dim3(blocks), kThreads, 0, stream.get(), early};
  return secondsEach(settings, stream, settings.small ? 3 : 500,
                     [&](int) { check(cuda::launch(how, nothing, out.get()), "nothing"); });
}

bool measureLaunches(const Settings& settings) {
  const unsigned all = static_cast<unsigned>(4 * multiprocessors());
  for (const unsigned blocks : {1u, all / 4, all}) {
    const std::string of = " of " + std::to_string(blocks) + " blocks";
    Line("graph node" + of).samples(times(kernelSeconds(settings, blocks, false), 1e6), "us");
    if (startsEarly()) {
      Line("early start" + of).samples(times(kernelSeconds(settings, blocks, true), 1e6), "us");
    } else {
      Line("early start" + of).text("skipped", "needs sm_90 and CUDA 12.3");
    }
  }
  const Stream stream;
  const Buffer<unsigned> out(1);
  const int count = settings.small ? 3 : 500;
  const auto seconds = secondsOf(settings, stream, [&] {
    for (int i = 0; i < count; i++) {
      const Launch how = {dim3(all), kThreads, 0, stream.get(), false};
      check(cuda::launch(how, nothing, out.get()), "nothing");
    }
  });
  Line("launch by the stream").samples(times(seconds, 1e6 / count), "us");
  const Graph empty(stream, [&] {
    const Launch how = {dim3(1), kThreads, 0, stream.get(), false};
    check(cuda::launch(how, nothing, out.get()), "nothing");
  });
  Line("launch a graph and wait").samples(times(secondsOf(settings, stream, [&] { empty.launch(); }), 1e6), "us");
  return true;
}

Limits::Limits(const Settings& settings)
    : copy_(medianOf(copyBandwidth(settings))),
      cached_(medianOf(readBandwidth(settings, settings.small ? 4096 : cacheBytes() / 2 / 4096 * 4096, 4))),
      edge_(medianOf(kernelSeconds(settings, static_cast<unsigned>(4 * multiprocessors()), startsEarly()))) {}

double Limits::secondsOf(double bytes, int kernels) const {
  // what fits into L2 stays there from token to token
  const bool cached = bytes < 0.8 * static_cast<double>(cacheBytes());
  return bytes / (cached ? std::max(cached_, copy_) : copy_) + kernels * edge_;
}

}  // namespace llama2::check
