/* The limits of this card, which speeds are compared with. Measured in bandwidth.cu and launches.cu. */
#ifndef LLAMA2_CHECK_LIMITS_H
#define LLAMA2_CHECK_LIMITS_H

#include <stddef.h>

#include <vector>

#include "report.h"

namespace llama2::check {

/* Bytes a second of copies within the device, bytes read plus bytes written; several samples. */
std::vector<double> copyBandwidth(const Settings& settings);

/* Bytes a second of reading this many bytes again and again, with this many blocks per multiprocessor. */
std::vector<double> readBandwidth(const Settings& settings, size_t bytes, int blocksEach);

/* Seconds from one empty kernel of a graph to the next; `early`: with programmatic dependent launch. */
std::vector<double> kernelSeconds(const Settings& settings, unsigned blocks, bool early);

/* Whether this card and driver start kernels of a graph early. */
bool startsEarly();
int multiprocessors();
size_t cacheBytes();  // of L2

/* The least time for a token, from the bytes that it moves and the number of kernels. */
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
