/*
 * The backend's kernels one by one, as often as a token needs them: where the time of a token goes. With the reduction
 * that opens four of them, and with what putting the parts of attention together costs at far positions.
 */
#include "../classifier.h"
#include "../context.h"
#include "../ffn.h"
#include "../output.h"
#include "../qkv.h"
#include "bench.h"
#include "checkpoint.h"
#include "limits.h"
#include "sections.h"

namespace llama2::check {

using namespace llama2::cuda;  // its kernels

namespace {

__global__ void fillBytes(unsigned* to, size_t count, unsigned mask) {
  const size_t step = static_cast<size_t>(gridDim.x) * kThreads;
  for (size_t i = static_cast<size_t>(blockIdx.x) * kThreads + threadIdx.x; i < count; i += step) {
    to[i] = (static_cast<unsigned>(i) * 2654435761u ^ static_cast<unsigned>(i >> 9)) & mask;
  }
}

/* Nothing but rmsnormFactors, again and again. */
__global__ void __launch_bounds__(kThreads) reductions(const float* x, int n, int rounds, float* out) {
  SHARED(float, factors, [kColumns]);
  float all = 0.0f;
  for (int round = 0; round < rounds; round++) {
    rmsnormFactors(factors, x, n, 1, 1e-5f);
    __syncthreads();  // orders the writes of factors before the reads below
    all += factors[0];
  }
  if (threadIdx.x == 0) *out = all;
}

/* Memory of one kind of number, full of small ones. */
template <class T>
Buffer<T> numbers(const Stream& stream, size_t count) {
  // bits that are small numbers in any precision: about 1e-3 in fp32 and fp16, up to 63 in int8
  const unsigned mask = sizeof(T) == 4 ? 0x3a83ffffu : sizeof(T) == 2 ? 0x17ff17ffu : 0x3f3f3f3fu;
  const size_t words = (count * sizeof(T) + 3) / 4;
  Buffer<T> memory(words * 4 / sizeof(T));
  const Launch how = {dim3(static_cast<unsigned>(4 * multiprocessors())), kThreads, 0, stream.get(), false};
  check(launch(how, fillBytes, reinterpret_cast<unsigned*>(memory.get()), words, mask), "fillBytes");
  return memory;
}

/* Several copies of a matrix, so that they do not all stay in L2 where a model's do not. */
template <class W>
class Matrices {
 public:
  Matrices(const Stream& stream, int copies, int d, int n, int groupSize) {
    const int stride = roundUp(n, 16);
    for (int i = 0; i < copies; i++) {
      data_.push_back(numbers<W>(stream, static_cast<size_t>(d) * stride));
      if (sizeof(W) == 1) scales_.push_back(numbers<float>(stream, static_cast<size_t>(d) * n / groupSize));
      int shift = 0;
      while (groupSize > 0 && 1 << shift < groupSize) shift++;
      all_.push_back({data_[i].get(), sizeof(W) == 1 ? scales_[i].get() : nullptr, d, n, stride, groupSize, shift});
    }
  }
  const Matrix& operator[](int i) const { return all_[i % all_.size()]; }
  double bytes() const {
    const Matrix& m = all_[0];
    return static_cast<double>(m.d) * m.n * (sizeof(W) + (sizeof(W) == 1 ? 4.0 / m.groupSize : 0));
  }

 private:
  std::vector<Buffer<W>> data_;
  std::vector<Buffer<float>> scales_;
  std::vector<Matrix> all_;
};

/* One layer's kernels, and the classifier, for one token. */
template <class W>
class Layer {
 public:
  Layer(const Settings& settings, const Shape& shape, Precision precision, int copies)
      : settings_(settings),
        name_(describe(shape.name, precision)),
        p_(shape.config()),
        group_(sizeof(W) == 1 ? shape.groupSize : 0),
        copies_(copies),
        early_(startsEarly()),
        x_(numbers<float>(stream_, p_.dim)),
        q_(numbers<float>(stream_, p_.dim)),
        hb_(numbers<float>(stream_, p_.hiddenDim)),
        gains_(numbers<float>(stream_, p_.dim)),
        angles_(numbers<float>(stream_, static_cast<size_t>(p_.seqLen) * p_.headSize())),
        parts_(numbers<float>(stream_, static_cast<size_t>(p_.nHeads) * splits() * (2 + p_.headSize()))),
        logits_(p_.vocabSize),
        best_(p_.vocabSize),
        entry_(1),
        cache_{nullptr, nullptr, 1, p_.nKvHeads, p_.seqLen, roundUp(p_.headSize(), 8)},
        keys_(numbers<float>(stream_, cache_.size(1))) {
    cache_.keys = cache_.values = keys_.get();
    const size_t heads = static_cast<size_t>(p_.nHeads) * splits();
    partials_ = {parts_.get(), parts_.get() + heads, parts_.get() + 2 * heads, splits(), chunkOf(p_)};
  }

  void measure(double copyBandwidth) {
    const Matrices<W> wq = matrices(p_.dim, p_.dim), wk = matrices(p_.kvDim(), p_.dim),
                      wv = matrices(p_.kvDim(), p_.dim);
    moveTo(std::min(32, p_.seqLen - 1));
    report("qkv", wq.bytes() + wk.bytes() + wv.bytes(), copyBandwidth, [&](int i) {
      const Tiling t = tiling(wq[i]);
      check(launch(how((p_.dim + 2 * p_.kvDim()) / 2, t), qkv<W, float, 1>, wq[i], wk[i], wv[i], x_.get(), gains_.get(),
                   p_.normEps, Rope{angles_.get(), angles_.get(), p_.headSize()}, entry_.get(), 1, t, q_.get(), cache_,
                   0),
            "qkv");
    });
    attentionAt("attention, position 32", std::min(32, p_.seqLen - 1), copyBandwidth);
    attentionAt("attention, last position", p_.seqLen - 1, copyBandwidth);
    outputAt("output", std::min(32, p_.seqLen - 1), copyBandwidth);
    const Matrices<W> w1 = matrices(p_.hiddenDim, p_.dim), w3 = matrices(p_.hiddenDim, p_.dim);
    report("ffnIn", w1.bytes() + w3.bytes(), copyBandwidth, [&](int i) {
      const Tiling t = tiling(w1[i]);
      check(
          launch(how(p_.hiddenDim, t), ffnIn<W, 1>, w1[i], w3[i], x_.get(), gains_.get(), p_.normEps, 1, t, hb_.get()),
          "ffnIn");
    });
    const Matrices<W> w2 = matrices(p_.dim, p_.hiddenDim);
    report("ffnOut", w2.bytes(), copyBandwidth, [&](int i) {
      const Tiling t = tiling(w2[i]);
      check(launch(how(p_.dim, t), ffnOut<W, 1>, w2[i], hb_.get(), 1, t, x_.get()), "ffnOut");
    });
    const Matrices<W> wcls(stream_, 1, p_.vocabSize, p_.dim, group_);
    report("classifier, again and again", wcls.bytes(), copyBandwidth, [&](int i) {
      const Tiling t = tiling(wcls[i]);
      check(launch(how(p_.vocabSize, t), classifier<W, 1>, wcls[i], x_.get(), gains_.get(), p_.normEps, 1, t,
                   logits_.get(), best_.get()),
            "classifier");
    });
  }

  /* wo, which puts together the parts of attention: the time above that of position 0 is theirs. */
  void outputAt(const std::string& what, int pos, double copyBandwidth) {
    const Matrices<W> wo = matrices(p_.dim, p_.dim);
    moveTo(pos);
    report(what, wo.bytes(), copyBandwidth, [&](int i) {
      const Tiling t = tiling(wo[i]);
      check(launch(how(p_.dim, t), output<W, 1>, wo[i], partials_, p_.headSize(), entry_.get(), 1, t, x_.get()),
            "output");
    });
  }

 private:
  void attentionAt(const std::string& what, int pos, double copyBandwidth) {
    moveTo(pos);
    const dim3 grid(static_cast<unsigned>(splits()), static_cast<unsigned>(p_.nHeads));
    const size_t shared = sizeof(float) * attentionFloats(cache_.headStride, partials_.chunk);
    report(what, 8.0 * p_.kvDim() * (pos + 1), copyBandwidth, [&](int) {
      check(launch(Launch{grid, kThreads, shared, stream_.get(), early_}, attention<float>, q_.get(), cache_, 0,
                   p_.headSize(), entry_.get(), partials_),
            "attention");
    });
  }

  template <class Enqueue>
  void report(const std::string& what, double bytes, double copyBandwidth, Enqueue enqueue) {
    const std::string name = name_ + ", " + what;
    if (!settings_.allows(name)) return;
    const auto seconds = secondsEach(settings_, stream_, settings_.small ? 2 : 96, enqueue);
    const double rate = bytes / medianOf(seconds);
    Line line(name);
    line.samples(times(seconds, 1e6), "us").number("bytes", bytes).number("gbPerSecond", rate / 1e9);
    line.number("ofCopy", rate / copyBandwidth);
  }

  void moveTo(int pos) {
    const Entry entry = {1, pos, 0};
    stream_.toDevice(entry_.get(), &entry, 1);
    stream_.wait();
  }
  int splits() const { return (p_.seqLen + chunkOf(p_) - 1) / chunkOf(p_); }
  Matrices<W> matrices(int d, int n) { return Matrices<W>(stream_, copies_, d, n, group_); }
  Tiling tiling(const Matrix& w) const { return {w.stride, group_ > 0 ? w.stride / group_ + 2 : 0}; }
  /* As forward.cu does. */
  Launch how(int units, const Tiling& t) const {
    const unsigned blocks =
        static_cast<unsigned>(std::min((units + kWarps - 1) / kWarps, kBlocksEach * multiprocessors()));
    const size_t shared = t.tile * (sizeof(W) == 1 ? 1 : 4) + 4 * static_cast<size_t>(t.groupStride);
    return {dim3(blocks), kThreads, shared, stream_.get(), early_};
  }

  const Settings& settings_;
  const std::string name_;
  const Stream stream_;
  const Config p_;
  const int group_, copies_;
  const bool early_;
  const Buffer<float> x_, q_, hb_, gains_, angles_, parts_, logits_;
  const Buffer<uint64_t> best_;
  const Buffer<Entry> entry_;
  KvCache cache_;
  const Buffer<float> keys_;
  Partials partials_;
};

void measureReductions(const Settings& settings) {
  const Stream stream;
  const Buffer<float> out(1);
  for (const int n : {288, 768, 4096}) {
    const Buffer<float> x = numbers<float>(stream, n);
    const int rounds = settings.small ? 2 : 2000;
    const auto seconds = secondsOf(settings, stream, [&] {
      check(launch(Launch{dim3(1), kThreads, 0, stream.get(), false}, reductions, x.get(), n, rounds, out.get()),
            "reductions");
    });
    Line("a block's reduction of " + std::to_string(n) + " numbers").samples(times(seconds, 1e6 / rounds), "us");
  }
}

template <class W>
void measureShape(const Settings& settings, const std::string& shape, Precision precision, double copyBandwidth) {
  const Shape s = shapeOf(shape);
  const int copies = settings.small ? 1 : s.dim >= 2048 ? 8 : s.nLayers;
  const std::string name = describe(shape, precision);
  if (settings.allows(name, 1))
    ifItFits(name, [&] { Layer<W>(settings, s, precision, copies).measure(copyBandwidth); });
}

}  // namespace

bool measurePhases(const Settings& settings) {
  measureReductions(settings);
  const double copy = medianOf(copyBandwidth(settings));
  for (const int pos : {0, 255, 1023, 4095}) {
    Shape shape = shapeOf(settings.small ? "gqa" : "15M");
    shape.seqLen = settings.small ? 130 : 4096;
    Layer<float> layer(settings, shape, Precision::kFp32, settings.small ? 1 : shape.nLayers);
    layer.outputAt("output at position " + std::to_string(pos), std::min(pos, shape.seqLen - 1), copy);
  }
  std::vector<std::string> shapes = {"15M", "7B", "110M"};
  if (settings.small) shapes = {"gqa"};
  for (const std::string& shape : shapes) {
    measureShape<float>(settings, shape, Precision::kFp32, copy);
    measureShape<__half>(settings, shape, Precision::kFp16, copy);
    measureShape<int8_t>(settings, shape, Precision::kInt8, copy);
  }
  return true;
}

}  // namespace llama2::check
