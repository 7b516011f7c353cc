/* AVX-512: 32 registers of 16 floats. */
namespace {
constexpr int kLanes = 16;
constexpr int kInFlight = 4;
constexpr int kColumns = 8;
constexpr int kPair = 2;
}  // namespace

#include "kernels_impl.h"

const llama2::Kernels llama2::kAvx512Kernels = {"avx512", matmul, rmsnorm, softmax, swiglu, add, argmax, atLeast};
