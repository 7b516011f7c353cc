/* Shared by both native backends: the shape of a model, and the tokens to read. */
#ifndef LLAMA2_CONFIG_H
#define LLAMA2_CONFIG_H

#include <stdint.h>

namespace llama2 {

/* The architecture: Config of src/llama2/transformer.ts. */
struct Config {
  int dim;
  int hiddenDim;
  int nLayers;
  int nHeads;
  int nKvHeads;
  int vocabSize;
  int seqLen;
  float normEps;

  int headSize() const { return dim / nHeads; }
  int kvDim() const { return headSize() * nKvHeads; }
  int kvMul() const { return nHeads / nKvHeads; }
};

/* A token to read: its id, its position, and its sequence in the context. */
struct Entry {
  int32_t token;
  int32_t pos;
  int32_t sequence;
};

}  // namespace llama2

#endif
