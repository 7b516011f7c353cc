/* AVX2: 16 registers of 8 floats. */
namespace {
constexpr int kLanes = 8;
constexpr int kColumns = 4;
constexpr int kFourPanels = 1;
constexpr int kTwoPanels = 2;
constexpr int kInt8Columns = 4;
}  // namespace

#include "int8_impl.h"

const llama2::Kernels llama2::kAvx2Kernels = {"avx2", matmul,    matmulInt8, quantize, rmsnorm, softmax,    swiglu,
                                              add,    allFinite, argmax,     find,     atLeast, sumAtLeast, sweep};
