/* The instruction sets of this machine, and the kernels for them. */
#ifndef LLAMA2_CPU_ISA_H
#define LLAMA2_CPU_ISA_H

#include <string>
#include <vector>

#include "kernels.h"

namespace llama2 {

/* The kernels that run on this machine, the best last. */
std::vector<const Kernels*> supportedKernels();

/* The kernels named `isa`, or the best if it is empty; nullptr if this machine does not have them. */
const Kernels* chooseKernels(const std::string& isa);

}  // namespace llama2

#endif
