/* NEON (arm64): 32 registers of 4 floats. */
namespace {
constexpr int kLanes = 4;
constexpr int kColumns = 4;
constexpr int kFourPanels = 1;
constexpr int kTwoPanels = 2;
constexpr int kInt8Columns = 2;
}  // namespace

#include "int8_impl.h"

const llama2::Kernels llama2::kNeonKernels = {"neon", matmul,    matmulInt8, quantize, rmsnorm, softmax,    swiglu,
                                              add,    allFinite, argmax,     find,     atLeast, sumAtLeast, sweep};
