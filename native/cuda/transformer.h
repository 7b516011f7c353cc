/* What is behind Transformer: the weights on the device, and the way there. */
#ifndef LLAMA2_CUDA_TRANSFORMER_H
#define LLAMA2_CUDA_TRANSFORMER_H

#include <vector>

#include "host.h"
#include "matrix.h"

namespace llama2::cuda {

/* A matrix and its memory. */
struct OwnedMatrix {
  Buffer<uint8_t> data;
  Buffer<float> scales;
  Matrix matrix;
};

struct TransformerWeights {
  OwnedMatrix tokenEmbeddingTable;          // (vocabSize, dim)
  std::vector<Buffer<float>> rmsAttWeight;  // (nLayers, dim)
  std::vector<OwnedMatrix> wq;              // (nLayers, dim, dim)
  std::vector<OwnedMatrix> wk;              // (nLayers, kvDim, dim)
  std::vector<OwnedMatrix> wv;              // (nLayers, kvDim, dim)
  std::vector<OwnedMatrix> wo;              // (nLayers, dim, dim)
  std::vector<Buffer<float>> rmsFfnWeight;  // (nLayers, dim)
  std::vector<OwnedMatrix> w1;              // (nLayers, hiddenDim, dim)
  std::vector<OwnedMatrix> w2;              // (nLayers, dim, hiddenDim)
  std::vector<OwnedMatrix> w3;              // (nLayers, hiddenDim, dim)
  Buffer<float> rmsFinalWeight;             // (dim)
  OwnedMatrix wclsOwned;                    // (vocabSize, dim), unless it is tokenEmbeddingTable
  Matrix wcls;
};

/* Numbers that wait in pinned memory to be sent, and where they arrive; there are two, so that one fills meanwhile. */
struct Staging {
  Pinned<uint8_t> host;
  Buffer<uint8_t> device;
  cudaEvent_t sent;
};

struct Transformer::Parts {
  Config config;
  Options options;
  int multiprocessors;
  bool early;  // kernels may start before the previous one has ended
  Stream stream;
  TransformerWeights w;
  Buffer<float> frequencies;  // (headSize / 2) of RoPE
  Staging staging[2];
  int current = 0;     // which of them is being filled
  size_t staged = 0;   // numbers in it
  std::string tensor;  // whose they are
  size_t next = 0;     // which of its numbers is expected

  Parts(const Config& config, const Options& options);
  ~Parts();
  /* Make the device the thread's current one. */
  void use() const { check(cudaSetDevice(options.device), "cudaSetDevice"); }
  /* The matrix of that name, or the vector, or neither. */
  OwnedMatrix* findMatrix(const std::string& name, int layer);
  float* findVector(const std::string& name, int layer);
  bool begin(const std::string& name, int layer, size_t size, size_t count, size_t offset);
  Staging& free();
  void send(const Matrix& to);
};

}  // namespace llama2::cuda

#endif
