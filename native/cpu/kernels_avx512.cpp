/* AVX-512 with VNNI: 32 registers of 16 floats. */
namespace {
constexpr int kLanes = 16;
constexpr int kColumns = 16;
constexpr int kFourPanels = 4;
constexpr int kTwoPanels = 4;
constexpr int kInt8Columns = 8;
}  // namespace

#include "int8_impl.h"

const llama2::Kernels llama2::kAvx512Kernels = {"avx512", matmul,    matmulInt8, quantize, rmsnorm, softmax,    swiglu,
                                                add,      allFinite, argmax,     find,     atLeast, sumAtLeast, sweep};
