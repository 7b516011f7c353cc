/* Which instruction sets this machine has, and the kernels for them. */
#ifndef LLAMA2_CPU_ISA_H
#define LLAMA2_CPU_ISA_H

#include <string>
#include <vector>

#include "kernels.h"

namespace llama2 {

/* The kernels that run on this machine, the best last. */
std::vector<const Kernels*> supportedKernels();

/* Those of the name `isa`, or the best if it is empty; nullptr if this machine has none of that name. */
const Kernels* chooseKernels(const std::string& isa);

}  // namespace llama2

#endif
