// Sums of values for few rows of probabilities: values are read once, where they are.
#pragma once

#include "kernels/attention/attention.h"
#include "simd/vec.h"

namespace mlext::MLEXT_LEVEL {

// R rows, V vectors of columns; `last` lanes of the last one. Few sums wait for each other: several keys at once.
template <class S, class T, int R, int V>
MLEXT_INLINE void weigh_columns(const WeighArgs<T>& args, index column, index last) {
  using W = Vec<T>;
  constexpr int kChains = R * V < 4 ? 4 / (R * V) : 1;
  W sum[kChains][R][V];
#pragma GCC unroll 16
  for (int i = 0; i < kChains * R * V; ++i) sum[i / (R * V)][i / V % R][i % V] = W::zero();
  const S* v = static_cast<const S*>(args.v) + column;
  const auto add = [&](index j, int chain) __attribute__((always_inline)) {
    const S* from = v + j * args.v_row;
#pragma GCC unroll 4
    for (int c = 0; c < V; ++c) {
      const W value = c == V - 1 ? W::load(from + c * W::N, last) : W::load(from + c * W::N);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) sum[chain][r][c] = fma(W(args.p[r * args.p_row + j]), value, sum[chain][r][c]);
    }
  };
  index j = 0;
  for (; j + kChains <= args.keys; j += kChains) {
#pragma GCC unroll 4
    for (int i = 0; i < kChains; ++i) add(j + i, i);
  }
  for (; j < args.keys; ++j) add(j, 0);
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < V; ++c) {
      T* to = args.out + r * args.out_row + column + c * W::N;
      const index lanes = c == V - 1 ? last : W::N;
      W all = W::load(to, lanes);
#pragma GCC unroll 4
      for (int i = 0; i < kChains; ++i) all += sum[i][r][c];
      all.store(to, lanes);
    }
  }
}
template <class S, class T, int R>
void weigh_rows(const WeighArgs<T>& args) {
  constexpr index N = Vec<T>::N;
  for (index c = 0; c < args.cols; c += 4 * N) {
    const index left = args.cols - c;
    if (left > 3 * N) {
      weigh_columns<S, T, R, 4>(args, c, left < 4 * N ? left - 3 * N : N);
    } else if (left > 2 * N) {
      weigh_columns<S, T, R, 3>(args, c, left - 2 * N);
    } else if (left > N) {
      weigh_columns<S, T, R, 2>(args, c, left - N);
    } else {
      weigh_columns<S, T, R, 1>(args, c, left);
    }
  }
}
template <class S, class T>
void weigh_from(const WeighArgs<T>& args) {
  switch (args.rows) {
    case 1:
      return weigh_rows<S, T, 1>(args);
    case 2:
      return weigh_rows<S, T, 2>(args);
    case 3:
      return weigh_rows<S, T, 3>(args);
    default:
      return weigh_rows<S, T, 4>(args);
  }
}

// f(S{}) with what is stored for a type that is computed in.
template <class T, class F>
MLEXT_INLINE auto with_storage(DType dtype, F f) {
  if constexpr (sizeof(T) == 8) {
    return f(double{});
  } else {
    if (dtype == DType::bfloat16) return f(bf16{});
    if (dtype == DType::float16) return f(f16{});
    return f(float{});
  }
}

template <class T>
void weigh(const WeighArgs<T>& args) {
  with_storage<T>(args.dtype, [&](auto s) { weigh_from<decltype(s), T>(args); });
}

}  // namespace mlext::MLEXT_LEVEL
