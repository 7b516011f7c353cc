/* How kernels are timed here: many of them in a captured graph, by the host's clock. */
#ifndef LLAMA2_CHECK_BENCH_H
#define LLAMA2_CHECK_BENCH_H

#include <vector>

#include "../host.h"
#include "report.h"

namespace llama2::check {

using cuda::Buffer;
using cuda::check;
using cuda::Launch;
using cuda::Stream;

class Graph {
 public:
  /* The captured graph of what `work` enqueues. */
  template <class Work>
  Graph(const Stream& stream, Work work) : stream_(stream.get()) {
    cudaGraph_t graph = nullptr;
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    work();
    check(cudaStreamEndCapture(stream_, &graph), "cudaStreamEndCapture");
    const cudaError_t status = cudaGraphInstantiate(&exec_, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "cudaGraphInstantiate");
  }
  ~Graph() { cudaGraphExecDestroy(exec_); }
  Graph(const Graph&) = delete;
  void launch() const { check(cudaGraphLaunch(exec_, stream_), "cudaGraphLaunch"); }

 private:
  const cudaStream_t stream_;
  cudaGraphExec_t exec_ = nullptr;
};

/* Seconds that the work enqueued by `work` takes on the device: several samples, after the clocks have ramped up. */
template <class Work>
std::vector<double> secondsOf(const Settings& settings, const Stream& stream, Work work) {
  const auto once = [&] {
    stream.wait();
    const auto start = std::chrono::steady_clock::now();
    work();
    stream.wait();
    return secondsSince(start);
  };
  for (double warm = once(); !settings.small && warm < 0.05;) warm += once();
  std::vector<double> seconds;
  for (int sample = 0; sample < settings.samples(); sample++) seconds.push_back(once());
  return seconds;
}

/* Seconds per call of `count` calls of `enqueue(i)` that follow each other in a graph. */
template <class Enqueue>
std::vector<double> secondsEach(const Settings& settings, const Stream& stream, int count, Enqueue enqueue) {
  const Graph graph(stream, [&] {
    for (int i = 0; i < count; i++) enqueue(i);
  });
  const int launches = settings.small ? 1 : 5;
  std::vector<double> seconds = secondsOf(settings, stream, [&] {
    for (int i = 0; i < launches; i++) graph.launch();
  });
  for (double& s : seconds) s /= count * launches;
  return seconds;
}

inline std::vector<double> times(std::vector<double> values, double factor) {
  for (double& value : values) value *= factor;
  return values;
}
/* `amount` a second. */
inline std::vector<double> rates(std::vector<double> seconds, double amount) {
  for (double& s : seconds) s = amount / s;
  return seconds;
}
inline double medianOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace llama2::check

#endif
