/* What this card can do at best: the figures that speeds are compared to. Measured in bandwidth.cu and launches.cu. */
#ifndef LLAMA2_CHECK_LIMITS_H
#define LLAMA2_CHECK_LIMITS_H

#include <stddef.h>

#include <vector>

#include "report.h"

namespace llama2::check {

/* Bytes a second, of copying from the device to itself: bytes read and bytes written. A sample each. */
std::vector<double> copyBandwidth(const Settings& settings);

/* Bytes a second, of reading so many bytes again and again with as many blocks a multiprocessor. */
std::vector<double> readBandwidth(const Settings& settings, size_t bytes, int blocksEach);

/* Seconds from one kernel to the next of a graph, that do nothing; `early`: as programmatic dependent launch allows. */
std::vector<double> kernelSeconds(const Settings& settings, unsigned blocks, bool early);

/* Does this card, with this driver, start kernels of a graph early? */
bool startsEarly();
int multiprocessors();
size_t cacheBytes();  // of L2

/* The time that a token takes at least, from the bytes that it moves and the kernels that follow each other. */
class Limits {
 public:
  explicit Limits(const Settings& settings);
  double secondsOf(double bytes, int kernels) const;
  double copy() const { return copy_; }

 private:
  double copy_, cached_, edge_;
};

}  // namespace llama2::check

#endif
