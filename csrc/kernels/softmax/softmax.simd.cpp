#include "kernels/softmax/softmax.h"
#include "kernels/softmax/rows.h"
#include "simd/math_log.h"

namespace mlext::MLEXT_LEVEL {
namespace {

// ---- rows: three passes over a row that stays in L1 -------------------------------------------------------------------

template <class S>
void softmax_rows(const SoftmaxArgs& args) {
  using C = typename Compute<S>::Type;
  using V = Vec<C>;
  const index n = args.n;
  for (index r = 0; r < args.count; ++r) {
    const S* x = static_cast<const S*>(args.x) + r * n;
    S* y = static_cast<S*>(args.out) + r * n;
    C* e;  // exponentials: in place of the result, or aside when that is narrower
    if constexpr (sizeof(S) == sizeof(C)) {
      e = y;
    } else {
      e = static_cast<C*>(args.work);
    }
    const V m(row_max<V>(x, n));
    const C sum = row_sum<V>(n, [&](index i, auto part) {
      const V v = exp_below(get<V>(x + i, part) - m);
      put(e + i, v, part);
      return v;
    });
    // One division per row; the product with the reciprocal is within 1.5 ulp of the quotient.
    const V inverse(C(1) / sum);
    each<V>(n, [&](index i, auto part) { put(y + i, get<V>(e + i, part) * inverse, part); });
  }
}

template <class S>
void log_softmax_rows(const SoftmaxArgs& args) {
  using C = typename Compute<S>::Type;
  using V = Vec<C>;
  const index n = args.n, group = rows_per_log<V>(n);
  for (index first = 0; first < args.count; first += group) {
    const index rows = args.count - first < group ? args.count - first : group;
    C m[V::N], tail[V::N];
    row_log_sums<V>(static_cast<const S*>(args.x) + first * n, rows, n, m, tail);
    for (index r = 0; r < rows; ++r) {
      const S* x = static_cast<const S*>(args.x) + (first + r) * n;
      S* y = static_cast<S*>(args.out) + (first + r) * n;
      each<V>(n, [&](index i, auto part) { put(y + i, (get<V>(x + i, part) - V(m[r])) - V(tail[r]), part); });
    }
  }
}

// The maximum to subtract in a log-sum-exp: 0 in place of an infinity, where x - m would be NaN and the limit is not.
template <class C>
MLEXT_INLINE C finite_or_zero(C m) {
  return m - m == C(0) ? m : C(0);
}

template <class S>
void logsumexp_rows(const SoftmaxArgs& args) {
  using C = typename Compute<S>::Type;
  using V = Vec<C>;
  const index n = args.n;
  for (index r = 0; r < args.count; ++r) {
    const S* x = static_cast<const S*>(args.x) + r * n;
    const C m = finite_or_zero(row_max<V>(x, n));
    const C sum = row_sum<V>(n, [&](index i, auto part) { return exp(get<V>(x + i, part) - V(m)); });
    static_cast<C*>(args.out)[r] = m + log_of(sum);
  }
}

// dx = y (g - sum g y)
template <class S>
void softmax_backward_rows(const SoftmaxArgs& args) {
  using V = Vec<typename Compute<S>::Type>;
  const index n = args.n;
  for (index r = 0; r < args.count; ++r) {
    const S* y = static_cast<const S*>(args.x) + r * n;
    const S* g = static_cast<const S*>(args.g) + r * n;
    S* dx = static_cast<S*>(args.out) + r * n;
    const V dot(row_sum<V>(n, [&](index i, auto part) { return get<V>(y + i, part) * get<V>(g + i, part); }));
    each<V>(n, [&](index i, auto part) { put(dx + i, get<V>(y + i, part) * (get<V>(g + i, part) - dot), part); });
  }
}

// dx = g - exp(y) sum g
template <class S>
void log_softmax_backward_rows(const SoftmaxArgs& args) {
  using V = Vec<typename Compute<S>::Type>;
  const index n = args.n;
  for (index r = 0; r < args.count; ++r) {
    const S* y = static_cast<const S*>(args.x) + r * n;
    const S* g = static_cast<const S*>(args.g) + r * n;
    S* dx = static_cast<S*>(args.out) + r * n;
    const V sum(row_sum<V>(n, [&](index i, auto part) { return get<V>(g + i, part); }));
    each<V>(n,
            [&](index i, auto part) { put(dx + i, fma(-exp(get<V>(y + i, part)), sum, get<V>(g + i, part)), part); });
  }
}

// ---- columns: one vector of slices side by side -----------------------------------------------------------------------

// The sum of term(i) over the rows: chains of 32, joined in a second chain.
template <class V, class F>
MLEXT_INLINE V column_sum(index n, F term) {
  V total = V::zero();
  for (index begin = 0; begin < n; begin += 32) {
    const index end = n - begin < 32 ? n : begin + 32;
    V a = V::zero();
    for (index i = begin; i < end; ++i) a += term(i);
    total += a;
  }
  return total;
}

template <class V, class S, class Part>
MLEXT_INLINE V column_max(const S* x, index n, index step, Part part) {
  V m(-typename V::Scalar(__builtin_inf()));
  for (index i = 0; i < n; ++i) m = max(get<V>(x + i * step, part), m);
  return m;
}

template <class S, SoftmaxOp op, class Part>
MLEXT_INLINE void column_slices(const SoftmaxArgs& args, index c, Part part) {
  using C = typename Compute<S>::Type;
  using V = Vec<C>;
  const index n = args.n, step = args.step;
  const S* x = static_cast<const S*>(args.x) + c;
  const S* g = static_cast<const S*>(args.g) + c;
  S* out = static_cast<S*>(args.out) + c;
  auto at = [&](const S* p, index i) { return get<V>(p + i * step, part); };
  auto to = [&](index i, V v) { put(out + i * step, v, part); };
  if constexpr (op == SoftmaxOp::softmax) {
    C* e = static_cast<C*>(args.work);
    const V m = column_max<V>(x, n, step, part);
    const V sum = column_sum<V>(n, [&](index i) {
      const V v = exp_below(at(x, i) - m);
      v.store(e + i * V::N);
      return v;
    });
    const V inverse = V(C(1)) / sum;
    for (index i = 0; i < n; ++i) to(i, V::load(e + i * V::N) * inverse);
  } else if constexpr (op == SoftmaxOp::log_softmax) {
    const V m = column_max<V>(x, n, step, part);
    const V one(C(1));
    V ties = V::zero();  // as in row_log_sums
    const V others = column_sum<V>(n, [&](index i) {
      const V v = at(x, i);
      ties += select(v == m, one, V::zero());
      return select(v == m, V::zero(), exp_below(v - m));
    });
    const V log_sum = (m - m) + log1p(others + (ties - one));
    for (index i = 0; i < n; ++i) to(i, (at(x, i) - m) - log_sum);
  } else if constexpr (op == SoftmaxOp::logsumexp) {
    V m = column_max<V>(x, n, step, part);
    m = select(m - m == V::zero(), m, V::zero());
    const V sum = column_sum<V>(n, [&](index i) { return exp(at(x, i) - m); });
    put(static_cast<C*>(args.out) + c, m + log(sum), part);
  } else if constexpr (op == SoftmaxOp::softmax_backward) {
    const V dot = column_sum<V>(n, [&](index i) { return at(x, i) * at(g, i); });
    for (index i = 0; i < n; ++i) to(i, at(x, i) * (at(g, i) - dot));
  } else {
    const V sum = column_sum<V>(n, [&](index i) { return at(g, i); });
    for (index i = 0; i < n; ++i) to(i, fma(-exp(at(x, i)), sum, at(g, i)));
  }
}

template <class S, SoftmaxOp op>
void softmax_columns(const SoftmaxArgs& args) {
  using V = Vec<typename Compute<S>::Type>;
  const index count = args.count;
  index c = 0;
  for (; c + V::N <= count; c += V::N) column_slices<S, op>(args, c, Whole{});
  if (c < count) column_slices<S, op>(args, c, count - c);
}

// ---- the table --------------------------------------------------------------------------------------------------------

template <class S>
constexpr void add_type(SoftmaxKernels& t, DType dtype) {
  const int type = static_cast<int>(dtype);
#define MLEXT_ROW(name)                                             \
  t.rows[static_cast<int>(SoftmaxOp::name)][type] = name##_rows<S>; \
  t.columns[static_cast<int>(SoftmaxOp::name)][type] = softmax_columns<S, SoftmaxOp::name>;
  MLEXT_SOFTMAXES(MLEXT_ROW)
#undef MLEXT_ROW
}

constexpr SoftmaxKernels make_table() {
  SoftmaxKernels t{};
  add_type<float>(t, DType::float32);
  add_type<double>(t, DType::float64);
  add_type<bf16>(t, DType::bfloat16);
  add_type<f16>(t, DType::float16);
  return t;
}

}  // namespace

extern const SoftmaxKernels softmax_kernels;
constexpr SoftmaxKernels softmax_kernels = make_table();

}  // namespace mlext::MLEXT_LEVEL
