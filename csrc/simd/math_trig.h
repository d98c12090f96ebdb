// sin and cos with exact argument reduction over the whole range.
#pragma once

#include "simd/math_common.h"

namespace mlext::MLEXT_LEVEL {

// sin r = r + r^3 s(r^2), cos r = 1 - r^2/2 + r^4 c(r^2) for |r| <= pi/4: relative errors 2^-27.8
// and 2^-33 (float), 2^-57.9 and 2^-63.8 (double). pi/2 = kPio2[0] + [1] + ...: float in full
// precision, for fma; double in pieces of 33 bits, whose products with n < 2^20 are exact without.
template <class T>
struct TrigData;
template <>
struct TrigData<float> {
  static constexpr float kLimit = 1e5f;  // |x| from here on is reduced by reduce_large
  static constexpr float kPio2[] = {0x1.921fb6p+0f, -0x1.777a5cp-25f, -0x1.ee59dap-50f};
  static constexpr float kSin[] = {-0x1.555544p-3f, 0x1.1106e0p-7f, -0x1.9929dcp-13f};
  static constexpr float kCos[] = {0x1.55554ap-5f, -0x1.6c0c26p-10f, 0x1.99e71ap-16f};
};
template <>
struct TrigData<double> {
  static constexpr double kLimit = 8e5;
  static constexpr double kPio2[] = {0x1.921fb544p+0, 0x1.0b4611a6p-34, 0x1.3198a2ep-69, 0x1.b839a252049c1p-104};
  static constexpr double kSin[] = {-0x1.5555555555548p-3, 0x1.111111110f73ap-7,   -0x1.a01a019beb030p-13,
                                    0x1.71de355724ad6p-19, -0x1.ae5e4d40f96ddp-26, 0x1.5d8be1e15c40ep-33};
  static constexpr double kCos[] = {0x1.555555555554ap-5,   -0x1.6c16c16c14e2fp-10, 0x1.a01a019c641ddp-16,
                                    -0x1.27e4f7d4b8c2dp-22, 0x1.1ee9c95102a1dp-29,  -0x1.8f9d613ba868ap-37};
};
inline constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;

// x = n pi/2 + hi + lo.
template <class T>
struct TrigReduced {
  Vec<T> n;
  Pair<T> r;
};

MLEXT_INLINE TrigReduced<double> reduce_trig(Vec<double> x) {
  using V = Vec<double>;
  using D = TrigData<double>;
  const V n = fma(x, V(kTwoOverPi), V(V::kMagic)) - V(V::kMagic);
  // The first difference is exact; each further one loses a rounding error that is collected in lo.
  // Near a multiple of pi/2 the first terms cancel and any of the terms may be the largest: hence
  // two_sum.
  const auto r1 = two_sum(x - n * V(D::kPio2[0]), n * V(-D::kPio2[1]));
  const auto r2 = two_sum(r1.hi, n * V(-D::kPio2[2]));
  return {n, {r2.hi, (r1.lo + r2.lo) - n * V(D::kPio2[3])}};
}

MLEXT_INLINE TrigReduced<float> reduce_trig(Vec<float> x) {
  using V = Vec<float>;
  if constexpr (kFma<float>) {
    using D = TrigData<float>;
    const V n = fma(x, V(static_cast<float>(kTwoOverPi)), V(V::kMagic)) - V(V::kMagic);
    const auto w = two_product(n, V(-D::kPio2[1]));
    const auto r = two_sum(fma(n, V(-D::kPio2[0]), x), w.hi);  // the fma is exact
    return {n, {r.hi, fma(n, V(-D::kPio2[2]), r.lo + w.lo)}};
  } else {
    // Without fma the reduction is cheaper in double than in many short pieces of pi/2.
    using W = Vec<double>;
    float in[V::N], n[V::N], hi[V::N], lo[V::N];
    x.store(in);
    for (index i = 0; i < V::N; i += W::N) {
      const auto r = reduce_trig(W::load(in + i));
      r.n.store(n + i);
      r.r.hi.store(hi + i);
      (r.r.hi - W::load(hi + i)).store(lo + i);
    }
    return {V::load(n), {V::load(hi), V::load(lo)}};
  }
}

// Payne and Hanek: x = m 2^e; of 2/pi only the 192 bits matter whose product with m is neither a
// multiple of four quadrants nor below 2^-139. Integer arithmetic, one lane at a time: such
// arguments are rare.
template <class T>
__attribute__((noinline)) void reduce_large(double x, T* quadrant, T* hi, T* lo) {
  static constexpr std::uint64_t kBits[] = {0,
                                            0xa2f9836e4e441529,
                                            0xfc2757d1f534ddc0,
                                            0xdb6295993c439041,
                                            0xfe5163abdebbc561,
                                            0xb7246e3a424dd2e0,
                                            0x06492eea09d1921c,
                                            0xfe1deb1cb129a73e,
                                            0xe88235f52ebb4484,
                                            0xe99c7026b45f7e41,
                                            0x3991d639835339f4,
                                            0x9c845f8bbdf9283b,
                                            0x1ff897ffde05980f,
                                            0xef2f118b5a0a6d1f,
                                            0x6d367ecf27cb09b7,
                                            0x4f463f669e5fea2d,
                                            0x7527bac7ebe5f17b,
                                            0x3d0739f78a5292ea,
                                            0x6bfb5fb11f8d5d08,
                                            0x56033046fc7b6bab,
                                            0xf0cfbc209af4361d};
  using Wide = unsigned __int128;
  std::uint64_t word;
  __builtin_memcpy(&word, &x, sizeof word);
  const int exponent = static_cast<int>((word >> 52) & 0x7ff) - 1075;
  const std::uint64_t m = (word & 0xfffffffffffff) | 0x10000000000000;
  const int start = exponent - 2 + 64, at = start / 64, shift = start % 64;
  std::uint64_t f[3];
  for (int i = 0; i < 3; ++i) {
    f[i] = shift == 0 ? kBits[at + i] : (kBits[at + i] << shift) | (kBits[at + i + 1] >> (64 - shift));
  }
  // The 192 low bits of m * f: quadrant in the top two, the fraction of a quadrant below.
  const Wide p2 = Wide(m) * f[2];
  const Wide p1 = Wide(m) * f[1] + static_cast<std::uint64_t>(p2 >> 64);
  const std::uint64_t top = m * f[0] + static_cast<std::uint64_t>(p1 >> 64);
  const std::uint64_t middle = static_cast<std::uint64_t>(p1), low = static_cast<std::uint64_t>(p2);
  // As a signed fraction in [-1/2, 1/2), rounding the quadrant.
  const auto g1 = static_cast<std::int64_t>((top << 2) | (middle >> 62));
  const std::uint64_t g0 = (middle << 2) | (low >> 62);
  const int q = static_cast<int>(((top >> 62) + ((top >> 61) & 1)) & 3);
  const double d1 = static_cast<double>(g1 >> 32) * 0x1p-32;
  const double d2 = static_cast<double>(g1 & 0xffffffff) * 0x1p-64;
  const double d3 = static_cast<double>(g0 >> 11) * 0x1p-117;
  const auto high = fast_two_sum(Vec<double>(d1), Vec<double>(d2));
  const auto frac = fast_two_sum(high.hi, high.lo + Vec<double>(d3));
  auto r = two_product(frac.hi, Vec<double>(0x1.921fb54442d18p+0));
  r.lo += frac.hi * Vec<double>(0x1.1a62633145c07p-54) + frac.lo * Vec<double>(0x1.921fb54442d18p+0);
  r = fast_two_sum(r.hi, r.lo);
  const bool negative = word >> 63;
  double values[2][Vec<double>::N];
  r.hi.store(values[0]);
  r.lo.store(values[1]);
  const double sign = negative ? -1.0 : 1.0;
  *quadrant = static_cast<T>(negative ? -q : q);
  *hi = static_cast<T>(sign * values[0][0]);
  *lo = static_cast<T>(sign * ((values[0][0] - static_cast<double>(static_cast<T>(values[0][0]))) + values[1][0]));
}

template <class T>
__attribute__((noinline)) void fix_large(const T* x, T* n, T* hi, T* lo) {
  for (index i = 0; i < Vec<T>::N; ++i) {
    const T a = x[i] < 0 ? -x[i] : x[i];
    if (a < TrigData<T>::kLimit || a != a) continue;
    if (a == Limits<T>::kInfinity) {
      hi[i] = Limits<T>::kNaN;
    } else {
      reduce_large(static_cast<double>(x[i]), n + i, hi + i, lo + i);
    }
  }
}

// sin(x + quarter_turns pi/2).
template <class T>
MLEXT_INLINE Vec<T> sin_shifted(Vec<T> x, int quarter_turns) {
  using V = Vec<T>;
  using D = TrigData<T>;
  const V one(T(1));
  auto [n, r] = reduce_trig(x);
  if (__builtin_expect(any(abs(x) >= V(D::kLimit)), 0)) {
    T lanes[4][V::N];
    x.store(lanes[0]);
    n.store(lanes[1]);
    r.hi.store(lanes[2]);
    r.lo.store(lanes[3]);
    fix_large(lanes[0], lanes[1], lanes[2], lanes[3]);
    n = V::load(lanes[1]);
    r = {V::load(lanes[2]), V::load(lanes[3])};
  }
  const V z = r.hi * r.hi;
  const V s = r.hi + fma(z * r.hi, polynomial(z, D::kSin), r.lo);
  const V half = z * V(T(0.5)), c0 = one - half;
  const V c = c0 + (((one - c0) - half) + fma(z * z, polynomial(z, D::kCos), -(r.hi * r.lo)));
  const IVec<T> q = to_int(n) + IVec<T>(quarter_turns);
  const V y = select((q & IVec<T>(1)) == IVec<T>(0), s, c);
  return from_bits(bits(y) ^ ((q & IVec<T>(2)) << (8 * sizeof(T) - 2)));
}

// The sum hi + lo would lose the sign of zero; below 2^-30 (2^-15 in float) sin x rounds to x.
template <class T>
MLEXT_INLINE Vec<T> sin(Vec<T> x) {
  return select(abs(x) < Vec<T>(sizeof(T) == 4 ? T(0x1p-15) : T(0x1p-30)), x, sin_shifted(x, 0));
}
template <class T>
MLEXT_INLINE Vec<T> cos(Vec<T> x) {
  return sin_shifted(x, 1);
}

}  // namespace mlext::MLEXT_LEVEL
