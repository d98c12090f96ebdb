// Layer norm and RMS norm, row by row, with their gradients.
#pragma once

#include "kernels/norm/norm.h"
#include "simd/compute.h"
#include "simd/parts.h"

namespace mlext::MLEXT_LEVEL {

// Values whose squares overflow are squared after this factor.
template <class C>
constexpr C kSmall = sizeof(C) == 4 ? C(0x1p-96) : C(0x1p-768);

// One row, which is x or, with a residual, the sum of both. The first pass over it writes the sum.
template <class S, bool kAdd>
struct NormRow {
  using C = typename Compute<S>::Type;
  using V = Vec<C>;

  const S *x, *residual;
  S* sum;
  index n;

  MLEXT_INLINE NormRow(const NormRowsArgs& args, index r)
      : x(static_cast<const S*>(args.x) + r * args.n),
        residual(kAdd ? static_cast<const S*>(args.residual) + r * args.n : nullptr),
        sum(kAdd ? static_cast<S*>(args.sum) + r * args.n : nullptr),
        n(args.n) {}

  template <class Part>
  MLEXT_INLINE V first(index i, Part part) const {
    const V v = get<V>(x + i, part);
    if constexpr (!kAdd) return v;
    put(sum + i, v + get<V>(residual + i, part), part);
    return value(i, part);  // as it was rounded
  }
  template <class Part>
  MLEXT_INLINE V value(index i, Part part) const {
    return get<V>((kAdd ? sum : x) + i, part);
  }
  // What the first pass finds: the mean, or without one the sum of squares.
  MLEXT_INLINE C begin(bool centred) const {
    const auto v = [&](index i, auto part) { return first(i, part); };
    return centred ? row_sum<V>(n, v) / static_cast<C>(n) : row_squares<V>(n, v);
  }
  MLEXT_INLINE C squares_about(V center, V factor) const {
    return row_squares<V>(n, [&](index i, auto part) { return (value(i, part) - center) * factor; });
  }
  MLEXT_INLINE C squares_about(V center) const {
    return row_squares<V>(n, [&](index i, auto part) { return value(i, part) - center; });
  }
};

// The first pass over the next row comes before the last one over this, whose deviation takes a root and two divisions
// after the last of its squares: something to do for as long.
template <class S, bool kAdd>
void rows(const NormRowsArgs& args) {
  using Row = NormRow<S, kAdd>;
  using C = typename Row::C;
  using V = typename Row::V;
  const index n = args.n;
  const C *weight = static_cast<const C*>(args.weight), *bias = static_cast<const C*>(args.bias);
  if (args.count == 0) return;
  C found = Row(args, 0).begin(args.centred);
  for (index r = 0; r < args.count; ++r) {
    const Row row(args, r);
    const C mean = args.centred ? found : C(0);
    const V center(mean);
    C squares = args.centred ? row.squares_about(center) : found;
    C factor(1);
    if (!(squares < static_cast<C>(__builtin_inf()))) {
      factor = kSmall<C>;
      squares = row.squares_about(center, V(factor));
    }
    const V scale = V(factor) / sqrt(V(squares / static_cast<C>(n) + static_cast<C>(args.eps) * factor * factor));
    if (r + 1 < args.count) found = Row(args, r + 1).begin(args.centred);
    S* y = static_cast<S*>(args.out) + r * n;
    each<V>(n, [&](index i, auto part) {
      put(y + i, fma((row.value(i, part) - center) * scale, get<V>(weight + i, part), get<V>(bias + i, part)), part);
    });
    static_cast<C*>(args.mean)[r] = mean;
    put(static_cast<C*>(args.rstd) + r, scale, index{1});
  }
}

// With h = (x - mean) rstd:  dx = rstd (g w - mean(g w) - h mean(g w h)), where RMS norm has no mean(g w). Where x is a sum
// that was a result too, plus the gradient of that.
template <class S, bool kAdd>
void rows_gradient(const NormRowsArgs& args) {
  using C = typename Compute<S>::Type;
  using V = Vec<C>;
  const index n = args.n;
  const C* weight = static_cast<const C*>(args.weight);
  C *of_weight = static_cast<C*>(args.partial), *of_bias = of_weight + n;
  for (index r = 0; r < args.count; ++r) {
    const S *x = static_cast<const S*>(args.x) + r * n, *g = static_cast<const S*>(args.g) + r * n;
    const S* of_sum = kAdd ? static_cast<const S*>(args.residual) + r * n : nullptr;
    S* dx = static_cast<S*>(args.out) + r * n;
    const C rstd = static_cast<const C*>(args.rstd)[r];
    const V center(static_cast<const C*>(args.mean)[r]), scale(rstd);
    V ones[2] = {V::zero(), V::zero()};  // mean(g w) from chains of their own
    const C by_x = row_fold<V>(n, [&](V sum, index i, auto part) {
      const V slope = get<V>(g + i, part) * get<V>(weight + i, part);
      ones[i / V::N % 2] += slope;
      return fma(slope, get<V>(x + i, part) - center, sum);
    });
    const C count = static_cast<C>(n);
    const V about_one(args.centred ? -rstd * (reduce_add(ones[0] + ones[1]) / count) : C(0));
    const V about_x(-rstd * rstd * rstd * (by_x / count));
    each<V>(n, [&](index i, auto part) {
      const V slope = get<V>(g + i, part), d = get<V>(x + i, part) - center;
      V v = fma(slope * get<V>(weight + i, part), scale, fma(d, about_x, about_one));
      if constexpr (kAdd) v += get<V>(of_sum + i, part);
      put(dx + i, v, part);
      put(of_weight + i, fma(slope, d * scale, get<V>(of_weight + i, part)), part);
      put(of_bias + i, get<V>(of_bias + i, part) + slope, part);
    });
  }
}

}  // namespace mlext::MLEXT_LEVEL
