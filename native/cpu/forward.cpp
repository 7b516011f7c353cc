/*
 * The forward pass: `forward` of src/llama2/transformer.ts, step for step, for a batch of tokens at once.
 *
 * All threads go through the same steps. If a step is over the rows of a matrix, a thread takes some of its panels,
 * always the same ones; if it is over tokens or heads, it takes some of those. There is a barrier before every step
 * that reads what another thread wrote; its comment says what.
 *
 * With a single token, small work (an rmsnorm, rounding a vector) takes no longer than a barrier, so each thread does
 * it for itself, in a row of its own. A layer then has four barriers.
 */
#include <math.h>

#include <algorithm>
#include <chrono>

#include "../rope.h"
#include "transformer.h"

namespace llama2 {

/* Up to this many vectors are not interleaved: it would take a barrier, and gain nothing. */
constexpr int kFew = 8;

/* One thread's part of one forward pass. */
class Transformer::Pass {
 public:
  Pass(Transformer& transformer, Context& context, const Entry* batch, int count, int thread, int threads)
      : p(transformer.config_),
        w(transformer.weights_),
        s(context.state_),
        transformer_(transformer),
        kernels_(transformer.kernels_),
        caches_(context.caches_),
        batch_(batch),
        count_(count),
        thread_(thread),
        threads_(threads) {}

  void forward(int wanted, float* logits);

 private:
  /* This thread's rows of a matrix of d rows. */
  Share rowsOf(int d) const {
    const Share panels(panelsOf(d), thread_, threads_);
    Share rows(d, 0, 1);
    rows.begin = std::min(d, panels.begin * kPanel);
    rows.end = std::min(d, panels.end * kPanel);
    return rows;
  }

  /* The tokens that this thread prepares for all threads; a single token is prepared by each for itself. */
  Share tokensOf(int count) const { return count == 1 ? Share(1, 0, 1) : Share(count, thread_, threads_); }
  /* The row of the first of them. */
  int rowOf(int count) const { return count == 1 ? thread_ : 0; }
  void prepared(int count) {
    if (count > 1) barrier();
  }

  const float* rmsnorm(const float* x, const float* weight, int count);
  void handOver();
  void matmul(float* xout, const float* x, int count, const Matrix& w);
  void interleave(const float* x, int count, int n);
  void round(const float* x, int count, int n, int groupSize);
  MutableInt8Vectors quantized(int first) const;
  void ropeAngles(int entry);
  void rope(float* vec, int size);
  void remember(int layer);
  void attention(int layer);
  int together(int first, int most) const;
  void attend(int layer, int first, int count, int firstHead, int endHead);
  void residual(const float* y);

  bool headsAreOwn() const;

  void barrier() { transformer_.pool_.barrier(thread_); }

  const Config& p;
  const TransformerWeights& w;
  const RunState& s;
  Transformer& transformer_;
  const Kernels& kernels_;
  const std::vector<KvCache>& caches_;
  const Entry* const batch_;  // (count)
  const int count_;
  const int thread_, threads_;
  bool interleaved_ = false;  // whether xi has the vectors that were handed over last
  int rounded_ = 0;           // the group size in which xq has them; 0: not rounded yet
};

double Transformer::forward(Context& context, const Entry* batch, int count, int wanted, float* logits,
                            int threads) noexcept {
  return pool_.run(threads,
                   [&](int thread) { Pass(*this, context, batch, count, thread, threads).forward(wanted, logits); });
}

void Transformer::Pass::forward(int wanted, float* logits) {
  // copy the token embeddings into x, and compute RoPE's angles
  const Share mine(count_, thread_, threads_);
  for (int e = mine.begin; e < mine.end; e++) {
    w.tokenEmbeddingTable.copyRow(s.x + static_cast<size_t>(e) * p.dim, batch_[e].token);
    ropeAngles(e);
  }
  barrier();  // x, and the angles

  // forward all the layers
  for (int l = 0; l < p.nLayers; l++) {
    // attention rmsnorm
    const float* xn = rmsnorm(s.x, w.rmsAttWeight[l], count_);

    // qkv matmuls for these positions
    matmul(s.q, xn, count_, w.wq[l]);
    matmul(s.k, xn, count_, w.wk[l]);
    matmul(s.v, xn, count_, w.wv[l]);

    // RoPE relative positional encoding, and into the kv cache: of the rows that this thread has just made
    rope(s.q, p.dim);
    rope(s.k, p.kvDim());
    remember(l);
    if (!headsAreOwn()) barrier();  // q, and the kv cache

    // multihead attention
    attention(l);
    handOver();  // xb

    // final matmul of the attention, and the residual connection back into x
    matmul(s.xb2, s.xb, count_, w.wo[l]);
    residual(s.xb2);
    barrier();  // x

    // ffn rmsnorm
    xn = rmsnorm(s.x, w.rmsFfnWeight[l], count_);

    // the feed-forward network: w2(silu(w1(x)) * w3(x))
    matmul(s.hb, xn, count_, w.w1[l]);
    matmul(s.hb2, xn, count_, w.w3[l]);
    const Share rows = rowsOf(p.hiddenDim);
    for (int e = 0; e < count_; e++) {
      const size_t at = static_cast<size_t>(e) * p.hiddenDim + rows.begin;
      kernels_.swiglu(s.hb + at, s.hb2 + at, rows.end - rows.begin);
    }
    handOver();  // hb

    // final matmul to get the output of the ffn, and the residual connection
    matmul(s.xb2, s.hb, count_, w.w2[l]);
    residual(s.xb2);
    barrier();  // x
  }
  if (wanted == 0) return;

  // final rmsnorm, and the classifier into logits
  const float* x = s.x + static_cast<size_t>(count_ - wanted) * p.dim;
  matmul(logits, rmsnorm(x, w.rmsFinalWeight, wanted), wanted, w.wcls);
}

void Transformer::sample(Context& context, float* logits, const Draw* draws, int count, int32_t* tokens,
                         int threads) noexcept {
  const auto choose = [&](int row, int thread) {
    tokens[row] = context.samplers_[thread].sample(logits + static_cast<size_t>(row) * config_.vocabSize, draws[row]);
  };
  if (count == 1) return choose(0, 0);  // here, where the logits are warm
  pool_.run(threads, [&](int thread) {
    const Share mine(count, thread, threads);
    for (int row = mine.begin; row < mine.end; row++) choose(row, thread);
  });
}

namespace {

using Clock = std::chrono::steady_clock;

double millisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/* randomF32 of sampler.ts: the next random number in [0, 1). */
float randomF32(uint64_t& state) {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  const auto bits = static_cast<uint32_t>((state * 0x2545F4914F6CDD1Dull) >> 32);
  return static_cast<float>(bits >> 8) / 16777216.0f;
}

}  // namespace

Decoded Transformer::decode(Context& context, Running* running, const Choice* choices, uint64_t* states, int count,
                            int most, double milliseconds, float* logits, int32_t* tokens, int threads) noexcept {
  const auto start = Clock::now();
  Entry batch[kMaxBatch];
  Draw draws[kMaxBatch];
  Decoded decoded = {};
  bool ended = false;
  do {
    for (int e = 0; e < count; e++) batch[e] = running[e].entry;
    decoded.lateMs += forward(context, batch, count, count, logits, threads);

    const auto read = Clock::now();
    for (int e = 0; e < count; e++) {
      const auto [temperature, topp] = choices[e];
      draws[e] = {temperature, topp, temperature == 0 ? 0 : randomF32(states[e])};
    }
    sample(context, logits, draws, count, tokens, threads);
    decoded.sampleMs += millisecondsSince(read);

    for (int e = 0; e < count; e++) {
      running[e].entry.token = tokens[e];
      running[e].entry.pos++;
      if (tokens[e] < 0 || tokens[e] == running[e].stop) ended = true;
    }
    tokens += count;
    decoded.steps++;
  } while (!ended && decoded.steps < most && millisecondsSince(start) < milliseconds);
  return decoded;
}

/* The rmsnorm of x (count, dim), which all threads multiply with. */
const float* Transformer::Pass::rmsnorm(const float* x, const float* weight, int count) {
  float* xn = s.xn + static_cast<size_t>(rowOf(count)) * p.dim;
  const Share mine = tokensOf(count);
  for (int e = mine.begin; e < mine.end; e++) {
    const size_t at = static_cast<size_t>(e) * p.dim;
    kernels_.rmsnorm(xn + at, x + at, weight, p.dim, p.normEps);
  }
  prepared(count);  // xn
  interleaved_ = false;
  rounded_ = 0;
  return xn;
}

/*
 * After this, all threads may multiply with vectors of which each has written a part. A float32 matrix needs many
 * vectors interleaved, and an int8 matrix needs them rounded in its groups: the first matmul that needs it does it.
 */
void Transformer::Pass::handOver() {
  barrier();  // the vectors are written, and xq and xi are no longer read
  interleaved_ = false;
  rounded_ = 0;
}

/* xi (n, count) = x (count, n). Each thread interleaves some columns. */
void Transformer::Pass::interleave(const float* x, int count, int n) {
  if (interleaved_) return;
  const Share mine(n, thread_, threads_);
  float* to = s.xi + static_cast<size_t>(mine.begin) * count;
  for (int j = mine.begin; j < mine.end; j++) {
    for (int e = 0; e < count; e++) *to++ = x[static_cast<size_t>(e) * n + j];
  }
  barrier();  // xi
  interleaved_ = true;
}

/* xq = x (count, n) in groups of groupSize. */
void Transformer::Pass::round(const float* x, int count, int n, int groupSize) {
  if (rounded_ == groupSize) return;
  if (rounded_ != 0) prepared(count);  // xq is no longer read
  const Share mine = tokensOf(count);
  const Segments segments = segmentsOf(n, groupSize);
  const Columns<const float> from = {x + static_cast<size_t>(mine.begin) * n, static_cast<size_t>(n)};
  kernels_.quantize(quantized(rowOf(count) + mine.begin), from, mine.end - mine.begin, segments, groupSize);
  prepared(count);  // xq
  rounded_ = groupSize;
}

/* The rounded numbers from vector `first` on. */
MutableInt8Vectors Transformer::Pass::quantized(int first) const {
  return {{s.xq + first * s.xqStride, s.xqStride},
          {s.xs + first * s.xsStride, s.xsStride},
          {s.xsum + first * s.xsStride, s.xsStride}};
}

/* This thread's rows of xout (count, d) = w (d, n) @ x (count, n). x: the vectors that were handed over last. */
void Transformer::Pass::matmul(float* xout, const float* x, int count, const Matrix& w) {
  const Share rows = rowsOf(w.d);
  const Columns<float> out = {xout + rows.begin, static_cast<size_t>(w.d)};
  const Reading reading = transformer_.readings_[std::min(count, 3) - 1];
  if (w.groupSize == 0) {
    const bool few = count <= kFew;
    if (!few) interleave(x, count, w.n);
    const Columns<const float> in = few ? Columns<const float>{x, static_cast<size_t>(w.n)}
                                        : Columns<const float>{s.xi, 1, static_cast<size_t>(count)};
    kernels_.matmul(out, in, count, w.panels(rows.begin, rows.end), reading);
  } else {
    round(x, count, w.n, w.groupSize);
    const MutableInt8Vectors xq = quantized(rowOf(count));
    const Int8Vectors in = {{xq.q.data, xq.q.stride}, {xq.s.data, xq.s.stride}, {xq.sum.data, xq.sum.stride}};
    kernels_.matmulInt8(out, in, count, w.int8Panels(rows.begin, rows.end), reading);
  }
}

/* The cosines and sines of RoPE's angles at an entry's position. */
void Transformer::Pass::ropeAngles(int entry) {
  const size_t pairs = transformer_.frequencies_.size();
  for (size_t i = 0; i < pairs; i++) {
    const float val = static_cast<float>(batch_[entry].pos) * transformer_.frequencies_[i];
    s.fcr[entry * pairs + i] = quarterTurns(val, 1);
    s.fci[entry * pairs + i] = quarterTurns(val, 0);
  }
}

/* Rotate each pair of numbers in this thread's rows of vec (count, size) by its token's angle. */
void Transformer::Pass::rope(float* vec, int size) {
  const int headSize = p.headSize();
  const Share rows = rowsOf(size);
  for (int e = 0; e < count_; e++) {
    const size_t angles = static_cast<size_t>(e) * (headSize / 2);
    float* row = vec + static_cast<size_t>(e) * size;
    for (int i = rows.begin; i < rows.end; i += 2) {
      const float fcr = s.fcr[angles + i % headSize / 2];
      const float fci = s.fci[angles + i % headSize / 2];
      const float v0 = row[i];
      const float v1 = row[i + 1];
      row[i] = v0 * fcr - v1 * fci;
      row[i + 1] = v0 * fci + v1 * fcr;
    }
  }
}

/* Write this thread's rows of k and v to the caches. */
void Transformer::Pass::remember(int layer) {
  const size_t headSize = p.headSize();
  const Share rows = rowsOf(p.kvDim());
  for (int e = 0; e < count_; e++) {
    const KvCache& cache = caches_[batch_[e].sequence];
    const size_t pos = batch_[e].pos;
    const float* k = s.k + static_cast<size_t>(e) * p.kvDim();
    const float* v = s.v + static_cast<size_t>(e) * p.kvDim();
    for (int row = rows.begin; row < rows.end;) {
      const size_t head = static_cast<size_t>(layer) * p.nKvHeads + row / headSize;
      float* keys = cache.keyCache + head * Matrix::size(p.seqLen, headSize);
      float* values = cache.valueCache + head * Matrix::size(headSize, p.seqLen);
      for (size_t i = row % headSize; i < headSize && row < rows.end; i++, row++) {
        // row pos and column i of the keys; row i and column pos of the values
        keys[(pos / kPanel * headSize + i) * kPanel + pos % kPanel] = k[row];
        values[(i / kPanel * p.seqLen + pos) * kPanel + i % kPanel] = v[row];
      }
    }
  }
}

/*
 * How many entries from `first` on, at most `most`, can attend together: consecutive positions of one sequence. Earlier
 * ones multiply the values of later ones by a weight of 0, which changes nothing if those are finite.
 */
int Transformer::Pass::together(int first, int most) const {
  const int end = std::min(first + most, count_);
  for (int e = first + 1; e < end; e++) {
    if (batch_[e].sequence != batch_[first].sequence || batch_[e].pos != batch_[e - 1].pos + 1) return e - first;
    if (!kernels_.allFinite(s.v + static_cast<size_t>(e) * p.kvDim(), p.kvDim())) return e - first;
  }
  return end - first;
}

void Transformer::Pass::attention(int layer) {
  const bool byHeads = count_ < threads_ || p.nHeads % threads_ == 0;
  const Share heads = byHeads ? Share(p.nHeads, thread_, threads_) : Share(p.nHeads, 0, 1);
  const int most = byHeads ? kTogether : std::min(kTogether, count_ / threads_);
  for (int first = 0, turn = 0, count = 0; first < count_; first += count, turn++) {
    count = together(first, most);
    // In a prompt, later entries attend to more positions. Taken in turn, each thread gets early and late ones.
    if (byHeads || turn % threads_ == thread_) attend(layer, first, count, heads.begin, heads.end);
  }
}

/* Whether this thread's heads read only rows of q, k and v that this thread has written. */
bool Transformer::Pass::headsAreOwn() const {
  const int rows = p.nKvHeads / threads_ * p.headSize();
  return count_ == 1 && p.nKvHeads % threads_ == 0 && rows % kPanel == 0;
}

/* Attention of some heads of `count` entries from `first` on, which attend together, from q into xb. */
void Transformer::Pass::attend(int layer, int first, int count, int firstHead, int endHead) {
  const int most = scoreRows(p) / count;  // heads at once
  for (; endHead - firstHead > most; firstHead += most) attend(layer, first, count, firstHead, firstHead + most);
  const int headSize = p.headSize();
  const int positions = batch_[first].pos + count;  // of the last entry; the one before it has one less
  const KvCache& cache = caches_[batch_[first].sequence];
  const float* q = s.q + static_cast<size_t>(first) * p.dim;
  float* xb = s.xb + static_cast<size_t>(first) * p.dim;
  const size_t headStride = attStride(p);
  const size_t entryStride = (endHead - firstHead) * headStride;
  float* att = s.att + thread_ * scoreRows(p) * headStride;

  // A key/value head is multiplied with several vectors at once: the entries', or one entry's heads that share it.
  const auto forEachShared = [&](auto&& work) {
    for (int h = firstHead; h < endHead;) {
      const int group = h / p.kvMul();
      const int heads = count > 1 ? 1 : std::min(endHead, (group + 1) * p.kvMul()) - h;
      const Columns<float> scores = {att + (h - firstHead) * headStride, count > 1 ? entryStride : headStride};
      work(h, std::max(count, heads), scores, static_cast<size_t>(layer) * p.nKvHeads + group);
      h += heads;
    }
  };
  const size_t stride = count > 1 ? p.dim : headSize;  // from one of these vectors to the next, in q and xb

  // how well does each position, the current one included, answer the query?
  forEachShared([&](int h, int vectors, Columns<float> scores, size_t group) {
    const float* keys = cache.keyCache + group * Matrix::size(p.seqLen, headSize);
    kernels_.matmul(scores, {q + h * headSize, stride}, vectors,
                    {keys, static_cast<size_t>(headSize) * kPanel, positions, headSize}, Reading::kPanels);
  });

  // softmax the scores to get attention weights; later entries have none
  for (int e = 0; e < count && firstHead < endHead; e++) {
    const int own = positions - count + 1 + e;
    float* weights = att + e * entryStride;
    kernels_.softmax({weights, headStride}, endHead - firstHead, own, sqrtf(static_cast<float>(headSize)));
    for (int h = firstHead; h < endHead; h++, weights += headStride)
      std::fill(weights + own, weights + positions, 0.0f);
  }

  // weighted sum of the values, into xb
  forEachShared([&](int h, int vectors, Columns<float> weights, size_t group) {
    const float* values = cache.valueCache + group * Matrix::size(headSize, p.seqLen);
    kernels_.matmul({xb + h * headSize, stride}, {weights.data, weights.stride}, vectors,
                    {values, static_cast<size_t>(p.seqLen) * kPanel, headSize, positions}, Reading::kPanels);
  });
}

/* x += y, this thread's rows. */
void Transformer::Pass::residual(const float* y) {
  const Share rows = rowsOf(p.dim);
  for (int e = 0; e < count_; e++) {
    const size_t at = static_cast<size_t>(e) * p.dim + rows.begin;
    kernels_.add(s.x + at, y + at, rows.end - rows.begin);
  }
}

}  // namespace llama2
