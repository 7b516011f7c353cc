#include "isa.h"

namespace llama2 {

std::vector<const Kernels*> supportedKernels() {
  std::vector<const Kernels*> all = {&kBaseKernels};
#if defined(__x86_64__) || defined(_M_X64)
  // these also check that the operating system saves the wider registers
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2")) all.push_back(&kAvx2Kernels);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni")) {
    all.push_back(&kAvx512Kernels);
  }
#elif defined(__aarch64__) || defined(_M_ARM64)
  all.push_back(&kNeonKernels);  // part of every arm64 processor
#endif
  return all;
}

const Kernels* chooseKernels(const std::string& isa) {
  const auto all = supportedKernels();
  if (isa.empty()) return all.back();
  for (const Kernels* kernels : all) {
    if (isa == kernels->name) return kernels;
  }
  return nullptr;
}

}  // namespace llama2
