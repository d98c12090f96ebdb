// Softmax along an axis that is not the last one: one vector of slices side by side.
#pragma once

#include "kernels/softmax/rows.h"
#include "kernels/softmax/softmax.h"

namespace mlext::MLEXT_LEVEL {

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
  } else if constexpr (op == SoftmaxOp::masked_softmax) {
    const bool* mask = args.mask + c;
    const auto taken = [&](index i) { return mask_at<V>(mask + i * step, part); };
    C* e = static_cast<C*>(args.work);
    V m = lowest<V>();
    for (index i = 0; i < n; ++i) m = max(select(taken(i), at(x, i), lowest<V>()), m);
    const V sum = column_sum<V>(n, [&](index i) {
      const V v = exp_below(select(taken(i), at(x, i) - m, lowest<V>()));
      v.store(e + i * V::N);
      return v;
    });
    const V inverse = select(sum == V::zero(), V::zero(), V(C(1)) / sum);
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

}  // namespace mlext::MLEXT_LEVEL
