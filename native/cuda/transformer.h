/* The implementation of Transformer: the weights on the device, and how they are loaded. */
#ifndef LLAMA2_CUDA_TRANSFORMER_H
#define LLAMA2_CUDA_TRANSFORMER_H

#include <vector>

#include "host.h"
#include "matrix.h"

namespace llama2::cuda {

/* A matrix that owns its memory. */
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
  OwnedMatrix wclsOwned;                    // (vocabSize, dim), empty if the embedding table is shared
  Matrix wcls;                              // (vocabSize, dim)
};

/* A pinned buffer and its copy on the device. There are two, so that one is filled while the other is sent. */
struct Staging {
  Pinned<uint8_t> host;
  Buffer<uint8_t> device;
  cudaEvent_t sent;
};

struct Transformer::Parts {
  Config config;
  Options options;
  int multiprocessors;
  bool early;  // this device supports programmatic dependent launch in graphs
  Stream stream;
  TransformerWeights w;
  Buffer<float> frequencies;  // (headSize / 2) of RoPE
  Staging staging[2];
  int current = 0;     // the staging buffer that is being filled
  size_t staged = 0;   // values in it
  std::string tensor;  // the tensor that is being loaded
  size_t next = 0;     // the element of it that is expected next

  Parts(const Config& config, const Options& options);
  ~Parts();
  /* Make the device current for this thread. */
  void use() const { check(cudaSetDevice(options.device), "cudaSetDevice"); }
  /* The matrix, or vector, of that name and layer; null if there is none. */
  OwnedMatrix* findMatrix(const std::string& name, int layer);
  float* findVector(const std::string& name, int layer);
  bool begin(const std::string& name, int layer, size_t size, size_t count, size_t offset);
  Staging& free();
  void send(const Matrix& to);
};

}  // namespace llama2::cuda

#endif
