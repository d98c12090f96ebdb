// The bodies. Columns: strips of rows, so that what belongs to a column is loaded once per strip and memory is read in
// order, row by row. Rows: a row stays in L1 from its mean to its result.
#include "kernels/norm/norm.h"

#include "simd/compute.h"
#include "simd/parts.h"

namespace mlext::MLEXT_LEVEL {
namespace {

constexpr index kStrip = 8;
// Rows whose mean the squares are taken about. Other rows may lie elsewhere; but as these stay in, the sum of squares is
// at most rows / kNear times that about the mean, and so is its rounding error.
constexpr index kNear = 32;

// Values whose squares overflow are squared after this factor.
template <class C>
constexpr C kSmall = sizeof(C) == 4 ? C(0x1p-96) : C(0x1p-768);

template <index kRows>
struct Strip {};

template <class F>
MLEXT_INLINE void in_strips(index rows, F f) {
  index r = 0;
  for (; r + kStrip <= rows; r += kStrip) f(r, Strip<kStrip>{});
  for (; r < rows; ++r) f(r, Strip<1>{});
}

template <class V>
struct Terms {
  V first, second;
};

// first[c] and second[c] = the sums over the rows of term(r, c, part).
template <class V, class C, class F>
MLEXT_INLINE void column_sums(index rows, index columns, C* first, C* second, F term) {
  each<V>(columns, [&](index c, auto part) {
    put(first + c, V::zero(), part);
    put(second + c, V::zero(), part);
  });
  in_strips(rows, [&]<index kRows>(index r, Strip<kRows>) {
    each<V>(columns, [&](index c, auto part) {
      V a = V::zero(), b = V::zero();
#pragma GCC unroll 8
      for (index k = 0; k < kRows; ++k) {
        const Terms<V> t = term(r + k, c, part);
        a += t.first;
        b += t.second;
      }
      put(first + c, get<V>(first + c, part) + a, part);
      put(second + c, get<V>(second + c, part) + b, part);
    });
  });
}

template <class S>
void moments(const NormArgs& args) {
  using C = typename Compute<S>::Type;
  using V = Vec<C>;
  using Wide = Vec<double>;
  const index n = args.columns, near = args.rows < kNear ? args.rows : kNear;
  const S* x = static_cast<const S*>(args.x);
  C* about = static_cast<C*>(args.work);
  C *sum = about + n, *squares = sum + n;
  const auto value = [&](index r, index c, auto part) { return get<V>(x + r * n + c, part); };
  column_sums<V>(near, n, about, sum,
                 [&](index r, index c, auto part) { return Terms<V>{value(r, c, part), V::zero()}; });
  const V share(C(1) / static_cast<C>(near));
  each<V>(n, [&](index c, auto part) { put(about + c, get<V>(about + c, part) * share, part); });
  column_sums<V>(args.rows, n, sum, squares, [&](index r, index c, auto part) {
    const V d = value(r, c, part) - get<V>(about + c, part);
    return Terms<V>{d, d * d};
  });
  C* scale = squares + n;
  V least(C(1));
  each<V>(n, [&](index c, auto part) {
    const V by = select(get<V>(squares + c, part) < V(static_cast<C>(__builtin_inf())), V(C(1)), V(kSmall<C>));
    put(scale + c, by, part);
    least = min(by, least);
  });
  if (reduce_min(least) < C(1)) {
    column_sums<V>(args.rows, n, sum, squares, [&](index r, index c, auto part) {
      const V d = (value(r, c, part) - get<V>(about + c, part)) * get<V>(scale + c, part);
      return Terms<V>{d, d * d};
    });
  }
  const Wide rows(static_cast<double>(args.rows));
  each<Wide>(n, [&](index c, auto part) {
    const Wide by = get<Wide>(scale + c, part), total = get<Wide>(sum + c, part), off = total / rows;
    put(args.sums + c, get<Wide>(about + c, part) + off / by, part);
    put(args.sums + n + c, (get<Wide>(squares + c, part) - total * off) / (by * by), part);
  });
}

// What a column is normalised with.
template <class V>
struct Column {
  V mean, scale, shift;
  template <class Part>
  MLEXT_INLINE Column(const NormArgs& args, index c, Part part)
      : mean(vector(args.mean, c, part)), scale(vector(args.scale, c, part)), shift(vector(args.shift, c, part)) {}
  template <class Part>
  static MLEXT_INLINE V vector(const void* p, index c, Part part) {
    return get<V>(static_cast<const typename V::Scalar*>(p) + c, part);
  }
  MLEXT_INLINE V of(V x) const { return fma(x - mean, scale, shift); }
};

template <bool kRelu, class S>
void apply(const NormArgs& args) {
  using V = Vec<typename Compute<S>::Type>;
  const index n = args.columns;
  in_strips(args.rows, [&]<index kRows>(index r, Strip<kRows>) {
    const S* x = static_cast<const S*>(args.x) + r * n;
    S* y = static_cast<S*>(args.out) + r * n;
    each<V>(n, [&](index c, auto part) {
      const Column<V> column(args, c, part);
#pragma GCC unroll 8
      for (index k = 0; k < kRows; ++k) {
        const V v = column.of(get<V>(x + k * n + c, part));
        put(y + k * n + c, kRelu ? max(V::zero(), v) : v, part);  // in this order NaN stays
      }
    });
  });
}

template <bool kRelu, class S, class V, class Part>
MLEXT_INLINE V passed(const NormArgs& args, const Column<V>& column, V x, index at, Part part) {
  const V g = get<V>(static_cast<const S*>(args.g) + at, part);
  return kRelu ? select(column.of(x) > V::zero(), g, V::zero()) : g;
}

template <bool kRelu, class S>
void gradient_sums(const NormArgs& args) {
  using C = typename Compute<S>::Type;
  using V = Vec<C>;
  using Wide = Vec<double>;
  const index n = args.columns;
  C* sum = static_cast<C*>(args.work);
  C* products = sum + n;
  column_sums<V>(args.rows, n, sum, products, [&](index r, index c, auto part) {
    const Column<V> column(args, c, part);
    const V x = get<V>(static_cast<const S*>(args.x) + r * n + c, part);
    const V g = passed<kRelu, S>(args, column, x, r * n + c, part);
    return Terms<V>{g, g * (x - column.mean)};
  });
  each<Wide>(2 * n, [&](index c, auto part) { put(args.sums + c, get<Wide>(sum + c, part), part); });
}

template <bool kRelu, class S>
void gradient(const NormArgs& args) {
  using V = Vec<typename Compute<S>::Type>;
  const index n = args.columns;
  in_strips(args.rows, [&]<index kRows>(index r, Strip<kRows>) {
    each<V>(n, [&](index c, auto part) {
      const Column<V> column(args, c, part);
      const V by_x = Column<V>::vector(args.by_x, c, part), by_one = Column<V>::vector(args.by_one, c, part);
#pragma GCC unroll 8
      for (index k = 0; k < kRows; ++k) {
        const index at = (r + k) * n + c;
        const V x = get<V>(static_cast<const S*>(args.x) + at, part);
        const V g = passed<kRelu, S>(args, column, x, at, part);
        put(static_cast<S*>(args.out) + at, fma(x - column.mean, by_x, fma(g, column.scale, by_one)), part);
      }
    });
  });
}

// ---- rows -------------------------------------------------------------------------------------------------------------

template <class S>
void rows(const NormRowsArgs& args) {
  using C = typename Compute<S>::Type;
  using V = Vec<C>;
  const index n = args.n;
  const C *weight = static_cast<const C*>(args.weight), *bias = static_cast<const C*>(args.bias);
  for (index r = 0; r < args.count; ++r) {
    const S* x = static_cast<const S*>(args.x) + r * n;
    S* y = static_cast<S*>(args.out) + r * n;
    C mean(0);
    if (args.centred) {
      mean = row_sum<V>(n, [&](index i, auto part) { return get<V>(x + i, part); }) / static_cast<C>(n);
    }
    const V center(mean);
    C squares = row_sum<V>(n, [&](index i, auto part) {
      const V d = get<V>(x + i, part) - center;
      return d * d;
    });
    C factor(1);
    if (!(squares < static_cast<C>(__builtin_inf()))) {
      factor = kSmall<C>;
      squares = row_sum<V>(n, [&](index i, auto part) {
        const V d = (get<V>(x + i, part) - center) * V(factor);
        return d * d;
      });
    }
    const V scale = V(factor) / sqrt(V(squares / static_cast<C>(n) + static_cast<C>(args.eps) * factor * factor));
    each<V>(n, [&](index i, auto part) {
      const V d = (get<V>(x + i, part) - center) * scale;
      put(y + i, fma(d, get<V>(weight + i, part), get<V>(bias + i, part)), part);
    });
    static_cast<C*>(args.mean)[r] = mean;
    put(static_cast<C*>(args.rstd) + r, scale, index{1});
  }
}

// With h = (x - mean) rstd:  dx = rstd (g w - mean(g w) - h mean(g w h)), where RMS norm has no mean(g w).
template <class S>
void rows_gradient(const NormRowsArgs& args) {
  using C = typename Compute<S>::Type;
  using V = Vec<C>;
  const index n = args.n;
  const C* weight = static_cast<const C*>(args.weight);
  C *of_weight = static_cast<C*>(args.partial), *of_bias = of_weight + n;
  for (index r = 0; r < args.count; ++r) {
    const S *x = static_cast<const S*>(args.x) + r * n, *g = static_cast<const S*>(args.g) + r * n;
    S* dx = static_cast<S*>(args.out) + r * n;
    const C rstd = static_cast<const C*>(args.rstd)[r];
    const V center(static_cast<const C*>(args.mean)[r]), scale(rstd);
    V ones[2] = {V::zero(), V::zero()};  // mean(g w) from chains of their own
    const C by_x = row_sum<V>(n, [&](index i, auto part) {
      const V slope = get<V>(g + i, part) * get<V>(weight + i, part);
      ones[i / V::N % 2] += slope;
      return slope * (get<V>(x + i, part) - center);
    });
    const C count = static_cast<C>(n);
    const V about_one(args.centred ? -rstd * (reduce_add(ones[0] + ones[1]) / count) : C(0));
    const V about_x(-rstd * rstd * rstd * (by_x / count));
    each<V>(n, [&](index i, auto part) {
      const V slope = get<V>(g + i, part), d = get<V>(x + i, part) - center;
      put(dx + i, fma(slope * get<V>(weight + i, part), scale, fma(d, about_x, about_one)), part);
      put(of_weight + i, fma(slope, d * scale, get<V>(of_weight + i, part)), part);
      put(of_bias + i, get<V>(of_bias + i, part) + slope, part);
    });
  }
}

template <class S>
constexpr void add_type(NormKernels& t, DType dtype) {
  const int type = static_cast<int>(dtype);
  t.moments[type] = moments<S>;
  t.apply[0][type] = apply<false, S>;
  t.apply[1][type] = apply<true, S>;
  t.gradient_sums[0][type] = gradient_sums<false, S>;
  t.gradient_sums[1][type] = gradient_sums<true, S>;
  t.gradient[0][type] = gradient<false, S>;
  t.gradient[1][type] = gradient<true, S>;
  t.rows[type] = rows<S>;
  t.rows_gradient[type] = rows_gradient<S>;
}

constexpr NormKernels make_table() {
  NormKernels t{};
  add_type<float>(t, DType::float32);
  add_type<double>(t, DType::float64);
  add_type<bf16>(t, DType::bfloat16);
  add_type<f16>(t, DType::float16);
  return t;
}

}  // namespace

extern const NormKernels norm_kernels;
constexpr NormKernels norm_kernels = make_table();

}  // namespace mlext::MLEXT_LEVEL
