/* The baseline of the architecture: SSE2 on x86-64, elsewhere whatever the compiler generates. 16 registers of 4
 * floats. */
namespace {
constexpr int kLanes = 4;
constexpr int kColumns = 2;
constexpr int kFourPanels = 1;
constexpr int kTwoPanels = 1;
constexpr int kInt8Columns = 1;
}  // namespace

#include "int8_impl.h"

const llama2::Kernels llama2::kBaseKernels = {"base", matmul,    matmulInt8, quantize, rmsnorm, softmax,    swiglu,
                                              add,    allFinite, argmax,     find,     atLeast, sumAtLeast, sweep};
