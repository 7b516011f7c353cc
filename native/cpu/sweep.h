/* The bandwidth of this machine's memory: the limit of any forward pass. */
#ifndef LLAMA2_CPU_SWEEP_H
#define LLAMA2_CPU_SWEEP_H

#include <stddef.h>

#include "kernels.h"

namespace llama2 {

/*
 * Reads a buffer of `bytes`, allocated like the weights, again and again for at least `seconds`, with a share for each
 * thread. Processors differ in how they read fastest, so it tries two ways in turn, and returns the faster one's bytes
 * a second. Throws std::bad_alloc, and std::system_error if the threads cannot be started.
 */
double readBandwidth(const Kernels& kernels, size_t bytes, int threads, double seconds);

}  // namespace llama2

#endif
