#include "kernels/random/random.h"
#include "kernels/random/normal.h"
#include "kernels/random/philox.h"

namespace mlext::MLEXT_LEVEL {
namespace {

// Calls body(words, at, n) for blocks of n elements of kWords words each. n is kRandomBlock / kWords but for the last.
template <int kWords, class Body>
MLEXT_INLINE void for_blocks(const Stream& stream, index begin, index n, Body body) {
  constexpr index kElements = kRandomBlock / kWords;
  alignas(64) std::uint32_t words[kRandomBlock];
  for (index at = 0; at < n; at += kElements) {
    const index count = n - at < kElements ? n - at : kElements;
    philox(stream, static_cast<std::uint64_t>((begin + at) * kWords / 4), count * kWords, words);
    body(words, at, count);
  }
}

// Whole blocks go to `out`; the last one, if it is short, by way of the stack. The words past a short block's end are
// old or not yet written: any bits give some number, and it is dropped.
template <class T, class Make>
MLEXT_INLINE void numbers(const Stream& stream, index begin, index n, void* out, Make make) {
  constexpr int kWords = sizeof(T) / 4;
  constexpr index kElements = kRandomBlock / kWords;
  for_blocks<kWords>(stream, begin, n, [&](const std::uint32_t* words, index at, index count) {
    T* to = static_cast<T*>(out) + at;
    const T* from = reinterpret_cast<const T*>(words);
    if (count == kElements) return make(from, to, kElements);
    T rest[kElements];
    constexpr index kPair = 2 * Vec<T>::N;
    make(from, rest, (count + kPair - 1) / kPair * kPair);
    __builtin_memcpy(to, rest, static_cast<std::size_t>(count) * sizeof(T));
  });
}

// Random bits, loaded as T without being looked at.
template <class T>
MLEXT_INLINE IVec<T> load_bits(const T* from) {
  return bits(Vec<T>::load(from));
}

void random_bits(const Stream& stream, index begin, index n, const double*, void* out) {
  for_blocks<1>(stream, begin, n, [&](const std::uint32_t* words, index at, index count) {
    __builtin_memcpy(static_cast<std::uint32_t*>(out) + at, words, static_cast<std::size_t>(count) * 4);
  });
}

template <class T>
void uniform(const Stream& stream, index begin, index n, const double* p, void* out) {
  using V = Vec<T>;
  const V low(static_cast<T>(p[0])), width(static_cast<T>(p[1]) - static_cast<T>(p[0]));
  const V high(static_cast<T>(p[1])), below(static_cast<T>(p[2]));
  numbers<T>(stream, begin, n, out, [&](const T* from, T* to, index count) {
    for (index i = 0; i < count; i += V::N) {
      const V x = mul(unit(load_bits(from + i)), width) + low;
      select(x < high, x, below).store(to + i);  // the sum may round up to high
    }
  });
}

template <class T>
void normal(const Stream& stream, index begin, index n, const double* p, void* out) {
  using V = Vec<T>;
  const V mean(static_cast<T>(p[0])), deviation(static_cast<T>(p[1]));
  numbers<T>(stream, begin, n, out, [&](const T* from, T* to, index count) {
    for (index i = 0; i < count; i += 2 * V::N) {
      V a, b;
      box_muller(load_bits(from + i), load_bits(from + i + V::N), a, b);
      (mul(a, deviation) + mean).store(to + i);
      (mul(b, deviation) + mean).store(to + i + V::N);
    }
  });
}

void bernoulli(const Stream& stream, index begin, index n, const double* p, void* out) {
  const std::uint32_t last = static_cast<std::uint32_t>(p[0]);
  for_blocks<1>(stream, begin, n, [&](const std::uint32_t* words, index at, index count) {
    bool* to = static_cast<bool*>(out) + at;
    for (index i = 0; i < count; ++i) to[i] = words[i] <= last;
  });
}

// x or +0, NaN included, without the branch that gcc would make of `kept ? x : 0` and then not vectorise.
template <class T>
MLEXT_INLINE T kept_or_zero(T x, bool kept) {
  using UInt = typename IntOf<T>::UInt;
  return __builtin_bit_cast(T, __builtin_bit_cast(UInt, x) & (UInt(0) - UInt(kept)));
}

template <class T>
void dropout(const Stream& stream, index begin, index n, const DropoutArgs& args) {
  const T scale = static_cast<T>(args.scale);
  const std::uint32_t last = args.last;  // a copy, which the stores below cannot change
  for_blocks<1>(stream, begin, n, [&, last](const std::uint32_t* __restrict words, index at, index count) {
    const T* x = static_cast<const T*>(args.x) + begin + at;
    T* __restrict y = static_cast<T*>(args.y) + begin + at;
    bool* __restrict mask = args.mask + begin + at;
    for (index i = 0; i < count; ++i) mask[i] = words[i] > last;
    for (index i = 0; i < count; ++i) y[i] = kept_or_zero(x[i] * scale, words[i] > last);
  });
}

template <class T>
void masked(const bool* mask, const void* g, double scale, void* out, index n) {
  const T* from = static_cast<const T*>(g);
  T* to = static_cast<T*>(out);
  const T factor = static_cast<T>(scale);
  for (index i = 0; i < n; ++i) to[i] = kept_or_zero(from[i] * factor, mask[i]);
}

}  // namespace

extern const RandomKernels random_kernels;
const RandomKernels random_kernels = {
    random_bits, {uniform<float>, uniform<double>}, {normal<float>, normal<double>},
    bernoulli,   {dropout<float>, dropout<double>}, {masked<float>, masked<double>},
};

}  // namespace mlext::MLEXT_LEVEL
