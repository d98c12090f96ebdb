#include "kernels/softmax/softmax.h"

#include "kernels/softmax/columns.h"
#include "kernels/softmax/rows.h"

namespace mlext::MLEXT_LEVEL {
namespace {

// ---- rows: three passes over a row that stays in L1 -------------------------------------------------------------------

// Up to this length rows go together; their exponentials stay in L1, 2 x 12 KiB with the input.
constexpr index kTogether = 192;

template <class C>
void softmax_together(const SoftmaxArgs& args) {
  using V = Vec<C>;
  const index n = args.n;
  for (index first = 0; first < args.count; first += V::N) {
    const index rows = args.count - first < V::N ? args.count - first : V::N;
    const C* x = static_cast<const C*>(args.x) + first * n;
    C* y = static_cast<C*>(args.out) + first * n;
    C shared[V::N];
    max_of_rows<V>(x, rows, n).store(shared);
    V sums[V::N];
    for (index r = rows; r < V::N; ++r) sums[r] = V(C(1));
    for (index r = 0; r < rows; ++r) {
      const V m(shared[r]);
      sums[r] = fold_lanes<V>(n, [&](V sum, index i, auto part) {
        const V v = exp_below(get<V>(x + r * n + i, part) - m);
        put(y + r * n + i, v, part);
        return sum + v;
      });
    }
    (V(C(1)) / reduce_each<C>(sums)).store(shared);
    for (index r = 0; r < rows; ++r) {
      const V inverse(shared[r]);
      C* row = y + r * n;
      each<V>(n, [&](index i, auto part) { put(row + i, get<V>(row + i, part) * inverse, part); });
    }
  }
}

// The maximum of the next row is found before the last pass over this one, whose factor takes a tree of additions and a
// division after the last exponential: something to do for as long. While exponentials are what takes the time, memory
// brings the next row.
template <class S>
void softmax_rows(const SoftmaxArgs& args) {
  using C = typename Compute<S>::Type;
  using V = Vec<C>;
  constexpr bool in_place = sizeof(S) == sizeof(C);  // exponentials in place of the result, or aside: it is narrower
  const index n = args.n;
  if constexpr (in_place) {
    if (n <= kTogether) return softmax_together<C>(args);
  }
  const S* x = static_cast<const S*>(args.x);
  S* y = static_cast<S*>(args.out);
  C top = row_max<V>(x, n);
  for (index r = 0; r < args.count; ++r, x += n, y += n) {
    C* e;
    if constexpr (in_place) {
      e = y;
    } else {
      e = static_cast<C*>(args.work);
    }
    const V m(top);
    const C sum = row_sum<V>(n, [&](index i, auto part) {
      __builtin_prefetch(x + n + i);
      __builtin_prefetch(y + n + i, 1);
      const V v = exp_below(get<V>(x + i, part) - m);
      put(e + i, v, part);
      return v;
    });
    // One division per row; the product with the reciprocal is within 1.5 ulp of the quotient.
    const V inverse(C(1) / sum);
    if (r + 1 < args.count) top = row_max<V>(x + n, n);
    each<V>(n, [&](index i, auto part) { put(y + i, get<V>(e + i, part) * inverse, part); });
  }
}

template <class S>
void masked_softmax_rows(const SoftmaxArgs& args) {
  using C = typename Compute<S>::Type;
  using V = Vec<C>;
  const index n = args.n;
  for (index r = 0; r < args.count; ++r) {
    const S* x = static_cast<const S*>(args.x) + r * n;
    S* y = static_cast<S*>(args.out) + r * n;
    const bool* mask = args.mask + r * args.mask_step;
    C* e;
    if constexpr (sizeof(S) == sizeof(C)) {
      e = y;
    } else {
      e = static_cast<C*>(args.work);
    }
    V top = lowest<V>();
    each<V>(n, [&](index i, auto part) {
      top = max(select(mask_at<V>(mask + i, part), get<V>(x + i, part), lowest<V>()), top);
    });
    const V m(reduce_max(top));
    const C sum = row_sum<V>(n, [&](index i, auto part) {
      const V v = exp_below(select(mask_at<V>(mask + i, part), get<V>(x + i, part) - m, lowest<V>()));
      put(e + i, v, part);
      return v;
    });
    // The maximum is 1 of the sum, if there is one.
    const V inverse(sum == C(0) ? C(0) : C(1) / sum);
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
      // As in softmax_rows; rows that share a logarithm are read a group later.
      each<V>(n, [&](index i, auto part) {
        __builtin_prefetch(x + group * n + i);
        __builtin_prefetch(y + n + i, 1);
        put(y + i, (get<V>(x + i, part) - V(m[r])) - V(tail[r]), part);
      });
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
