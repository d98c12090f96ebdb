// One contiguous row reduced to one value: the heart of sums and of the extremes that positions look for.
#pragma once

#include "kernels/reduce/ops.h"

namespace mlext::MLEXT_LEVEL {

// Eight independent chains hide the latency of an addition (4 cycles, two per cycle).
constexpr index kChains = 8;
constexpr index kChainLength = 16;

template <class S, class V, class Op>
MLEXT_INLINE V reduce_block(const S* x, V center) {
  V acc[kChains];
  for (index c = 0; c < kChains; ++c) acc[c] = Op::template start<V>();
  for (index i = 0; i < kChainLength; ++i, x += kChains * V::N) {
    for (index c = 0; c < kChains; ++c) acc[c] = Op::step(acc[c], V::load(x + c * V::N), center);
  }
  for (index width = kChains / 2; width > 0; width /= 2) {
    for (index c = 0; c < width; ++c) acc[c] = Op::join(acc[c], acc[c + width]);
  }
  return acc[0];
}

// Fewer elements than a block: four chains.
template <class S, class V, class Op>
MLEXT_INLINE V reduce_rest(const S* x, index n, V center) {
  V a = Op::template start<V>(), b = a, c = a, d = a;
  index i = 0;
  for (; i + 4 * V::N <= n; i += 4 * V::N) {
    a = Op::step(a, V::load(x + i), center);
    b = Op::step(b, V::load(x + i + V::N), center);
    c = Op::step(c, V::load(x + i + 2 * V::N), center);
    d = Op::step(d, V::load(x + i + 3 * V::N), center);
  }
  for (; i + V::N <= n; i += V::N) a = Op::step(a, V::load(x + i), center);
  if (i < n) b = select(Mask<typename V::Scalar>::first(n - i), Op::step(b, V::load(x + i, n - i), center), b);
  return Op::join(Op::join(a, b), Op::join(c, d));
}

template <class S, class C, class Op>
MLEXT_INLINE C reduce_row(const S* x, index n, Vec<C> center) {
  using V = Vec<C>;
  constexpr index kBlock = kChains * kChainLength * V::N;
  if (n < kBlock) return Op::lanes(reduce_rest<S, V, Op>(x, n, center));
  Cascade<V, Op> cascade;
  index i = 0;
  for (; i + kBlock <= n; i += kBlock) cascade.push(reduce_block<S, V, Op>(x + i, center));
  return Op::lanes(cascade.finish(reduce_rest<S, V, Op>(x + i, n - i, center)));
}

}  // namespace mlext::MLEXT_LEVEL
