// Numbers drawn one at a time: integers, permutations, truncated normals. Baseline code, so every ISA level agrees.
#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/random/random.h"

namespace mlext {

// 64-bit draws of one launch, buffered by blocks of 128. Draw i is words 2 i and 2 i + 1 of the sequence; what it needs
// beyond that after a rejection comes from the same block with the attempt's number in the counter's top word, so no
// draw moves another.
class Draws {
 public:
  Draws(RandomFn bits, const Stream& stream) : bits_(bits), stream_(stream) {}

  std::uint64_t raw(index i) {
    if (i < begin_ || i >= begin_ + kCount) {
      begin_ = i / kCount * kCount;
      bits_(stream_, 2 * begin_, kRandomBlock, nullptr, words_);
    }
    return pair(words_, i - begin_);
  }

  // Uniform in [0, range), range 0 meaning 2^64. Lemire 2019, "Fast random integer generation in an interval": the high
  // half of draw * range, refused where the low half falls into the part that would favour some results.
  std::uint64_t below(index i, std::uint64_t range) {
    std::uint64_t x = raw(i);
    if (range == 0) return x;
    auto product = static_cast<unsigned __int128>(x) * range;
    if (static_cast<std::uint64_t>(product) >= range) return static_cast<std::uint64_t>(product >> 64);
    const std::uint64_t unfair = (0 - range) % range;
    for (std::uint64_t attempt = 1; static_cast<std::uint64_t>(product) < unfair; ++attempt) {
      product = static_cast<unsigned __int128>(retry(i, attempt)) * range;
    }
    return static_cast<std::uint64_t>(product >> 64);
  }

  double open_unit(index i) { return (static_cast<double>(raw(i) >> 12) + 0.5) * 0x1p-52; }

 private:
  static constexpr index kCount = kRandomBlock / 2;
  static std::uint64_t pair(const std::uint32_t* words, index i) {
    return words[2 * i] | static_cast<std::uint64_t>(words[2 * i + 1]) << 32;
  }
  std::uint64_t retry(index i, std::uint64_t attempt) const {
    Stream other = stream_;
    other.counter += static_cast<std::uint64_t>(i / 2);
    other.high += attempt << 32;
    std::uint32_t words[4];
    bits_(other, 0, 4, nullptr, words);
    return pair(words, i % 2);
  }

  RandomFn bits_;
  Stream stream_;
  index begin_ = -kCount;
  alignas(64) std::uint32_t words_[kRandomBlock];
};

template <int count>
double horner(double x, const double (&c)[count]) {
  double y = c[count - 1];
  for (int i = count - 2; i >= 0; --i) y = y * x + c[i];
  return y;
}

// The x with Phi(x) = p, relative error 1e-16: Wichura 1988, "Algorithm AS 241: the percentage points of the normal
// distribution", PPND16. Rational functions of p - 1/2 in the middle and of sqrt(-log p) in the tails.
inline double normal_quantile(double p) {
  static constexpr double kA[] = {3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
                                  1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
                                  3.3430575583588128105e4, 2.5090809287301226727e3};
  static constexpr double kB[] = {1.0,
                                  4.2313330701600911252e1,
                                  6.8718700749205790830e2,
                                  5.3941960214247511077e3,
                                  2.1213794301586595867e4,
                                  3.9307895800092710610e4,
                                  2.8729085735721942674e4,
                                  5.2264952788528545610e3};
  static constexpr double kC[] = {1.42343711074968357734e0,  4.63033784615654529590e0, 5.76949722146069140550e0,
                                  3.64784832476320460504e0,  1.27045825245236838258e0, 2.41780725177450611770e-1,
                                  2.27238449892691845833e-2, 7.74545014278341407640e-4};
  static constexpr double kD[] = {1.0,
                                  2.05319162663775882187e0,
                                  1.67638483018380384940e0,
                                  6.89767334985100004550e-1,
                                  1.48103976427480074590e-1,
                                  1.51986665636164571966e-2,
                                  5.47593808499534494600e-4,
                                  1.05075007164441684324e-9};
  static constexpr double kE[] = {6.65790464350110377720e0,  5.46378491116411436990e0,  1.78482653991729133580e0,
                                  2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
                                  2.71155556874348757815e-5, 2.01033439929228813265e-7};
  static constexpr double kF[] = {1.0,
                                  5.99832206555887937690e-1,
                                  1.36929880922735805310e-1,
                                  1.48753612908506148525e-2,
                                  7.86869131145613259100e-4,
                                  1.84631831751005468180e-5,
                                  1.42151175831644588870e-7,
                                  2.04426310338993978564e-15};
  const double q = p - 0.5;
  if (std::abs(q) <= 0.425) {
    const double r = 0.180625 - q * q;
    return q * horner(r, kA) / horner(r, kB);
  }
  const double tail = std::sqrt(-std::log(q < 0 ? p : 1 - p));
  const double x =
      tail <= 5 ? horner(tail - 1.6, kC) / horner(tail - 1.6, kD) : horner(tail - 5, kE) / horner(tail - 5, kF);
  return q < 0 ? -x : x;
}

inline double normal_cdf(double x) { return 0.5 * std::erfc(-x * 0.70710678118654752440); }

// One truncated standard normal from u in (0, 1). An interval right of 0 is mirrored: probabilities near 1 have no digits
// left.
struct Truncated {
  double low, high;  // in units of the deviation
  bool mirrored;
  double from, width;

  Truncated(double a, double b) : low(a), high(b), mirrored(a > 0) {
    from = normal_cdf(mirrored ? -b : a);
    width = normal_cdf(mirrored ? -a : b) - from;
  }
  double operator()(double u) const {
    const double p = from + width * u;
    // Beyond 38 deviations no probability is left to invert: the edge nearest to 0 is all of the mass. 1 by rounding: the
    // upper edge.
    const double x = p > 0 && p < 1 ? normal_quantile(p) : mirrored ? -low : high;
    return std::clamp(mirrored ? -x : x, low, high);
  }
};

}  // namespace mlext
