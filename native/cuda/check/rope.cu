/* RoPE's sines and cosines on the device: the same bits as on the host, whose bits are run.c's. */
#include <string.h>

#include "../../rope.h"
#include "../host.h"
#include "checkpoint.h"
#include "sections.h"

namespace llama2::check {

namespace {

constexpr int kThreads = 256;

__global__ void turn(const float* angles, int count, float* turned) {
  const int i = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (i >= count) return;
  turned[i] = quarterTurns(angles[i], 0);
  turned[count + i] = quarterTurns(angles[i], 1);
}

}  // namespace

bool checkRope(const Settings& settings) {
  Verdicts verdicts(settings);
  const std::vector<float> frequencies = ropeFrequencies({128, 1, 1, 1, 1, 1, 1, 1e-5f});
  const int positions = settings.small ? 40 : 40'000;
  std::vector<float> angles;
  for (const int step : {1, 97, 300'000}) {  // up to 2^24, the last position that float32 can count to
    for (int64_t pos = 0; pos < positions && pos * step < 1 << 24; pos++) {
      for (const float frequency : frequencies) angles.push_back(static_cast<float>(pos * step) * frequency);
    }
  }
  const int count = static_cast<int>(angles.size());
  const cuda::Stream stream;
  const cuda::Buffer<float> from(count), to(2 * static_cast<size_t>(count));
  std::vector<float> turned(2 * static_cast<size_t>(count));
  stream.toDevice(from.get(), angles.data(), count);
  const cuda::Launch how = {dim3(static_cast<unsigned>((count + kThreads - 1) / kThreads)), kThreads, 0, stream.get(),
                            false};
  cuda::check(cuda::launch(how, turn, from.get(), count, to.get()), "turn");
  stream.toHost(turned.data(), to.get(), turned.size());
  stream.wait();
  int equal = 0;
  for (int i = 0; i < count; i++) {
    const float expected[] = {quarterTurns(angles[i], 0), quarterTurns(angles[i], 1)};
    const float actual[] = {turned[i], turned[count + i]};
    equal += memcmp(actual, expected, sizeof actual) == 0;
  }
  Line line("sines and cosines of RoPE, bit for bit");
  verdicts.add(line.number("angles", count).number("equal", equal), equal == count);
  return verdicts.all();
}

}  // namespace llama2::check
