// The bodies. Columns: strips of rows, so that what belongs to a column is loaded once per strip and memory is read in
// order, row by row. Rows: a row stays in L1 from its mean to its result.
#include "kernels/norm/norm.h"

#include "kernels/norm/row_bodies.h"

namespace mlext::MLEXT_LEVEL {
namespace {

constexpr index kStrip = 8;
// Rows whose mean the squares are taken about. Other rows may lie elsewhere; but as these stay in, the sum of squares is
// at most rows / kNear times that about the mean, and so is its rounding error.
constexpr index kNear = 32;

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
  t.rows[0][type] = rows<S, false>;
  t.rows[1][type] = rows<S, true>;
  t.rows_gradient[0][type] = rows_gradient<S, false>;
  t.rows_gradient[1][type] = rows_gradient<S, true>;
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
