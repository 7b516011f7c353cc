/* How fast this machine reads memory: no forward pass over so many bytes can be faster. */
#ifndef LLAMA2_CPU_SWEEP_H
#define LLAMA2_CPU_SWEEP_H

#include <stddef.h>

#include "kernels.h"

namespace llama2 {

/*
 * Reads memory like that in which weights lie, `bytes` of it, again and again for at least `seconds`, a share a thread:
 * bytes a second. Throws std::bad_alloc, and std::system_error if there are not so many threads to be had.
 */
double readBandwidth(const Kernels& kernels, size_t bytes, int threads, double seconds);

}  // namespace llama2

#endif
