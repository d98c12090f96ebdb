// Scores and sums of values for few rows: keys and values are read once, where they are.
#pragma once

#include "kernels/attention/attention.h"
#include "simd/parts.h"
#include "simd/shuffle.h"
#include "simd/vec.h"

namespace mlext::MLEXT_LEVEL {

// So many rows on: what a CPU fetches by itself comes as late as L2, and waiting for it would add up with computing.
inline constexpr index kRowsAhead = 8;

// Whether element i of a row that is aligned to cache lines is the first of one.
template <class S>
constexpr bool begins_line(index i) {
  return i * static_cast<index>(sizeof(S)) % 64 == 0;
}

// A factor that only bytes have.
template <class S, class T>
MLEXT_INLINE T row_scale(const CachedRows<T>& rows, index row) {
  return sizeof(S) == 1 ? rows.scale[row * rows.scale_row] : T(1);
}

// R rows of q and C keys, as many sums as a vector has lanes, which are then added up in one go. Keys from `count` on repeat
// the last one.
template <class S, class T, int R>
MLEXT_INLINE void score_keys(const ScoreArgs<T>& args, index key, index count) {
  using W = Vec<T>;
  constexpr int N = W::N, C = N / R;
  W sum[N];
#pragma GCC unroll 16
  for (int i = 0; i < N; ++i) sum[i] = W::zero();
  const S *from = static_cast<const S*>(args.k.data), *k[C];
#pragma GCC unroll 16
  for (int c = 0; c < C; ++c) k[c] = from + (key + (c < count ? c : count - 1)) * args.k.row;
  const index ahead = kRowsAhead * args.k.row;
  const auto step = [&](index i, auto load) __attribute__((always_inline)) {
    W x[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) x[r] = load(args.q + r * args.q_row + i);
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) {
      const W y = load(k[c] + i);
      if (begins_line<S>(i)) __builtin_prefetch(k[c] + i + ahead);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) sum[r * C + c] = fma(x[r], y, sum[r * C + c]);
    }
  };
  index i = 0;
  for (; i + N <= args.width; i += N) step(i, [](const auto* p) { return W::load(p); });
  if (i < args.width) step(i, [n = args.width - i](const auto* p) { return W::load(p, n); });
  T all[N];
  reduce_each(sum).store(all);
  for (index c = 0; c < count; ++c) {
    const T scale = row_scale<S>(args.k, key + c);
    for (index r = 0; r < R; ++r) args.out[r * args.out_row + key + c] = all[r * C + c] * scale;
  }
}
template <class S, class T, int R>
void score_rows(const ScoreArgs<T>& args) {
  if constexpr (Vec<T>::N < R) {
    ScoreArgs<T> one = args;
    for (index r = 0; r < R; ++r, one.q += one.q_row, one.out += one.out_row) score_rows<S, T, 1>(one);
  } else {
    constexpr index C = Vec<T>::N / R;
    for (index j = 0; j < args.keys; j += C) score_keys<S, T, R>(args, j, args.keys - j < C ? args.keys - j : C);
  }
}

// R rows, V vectors of columns; `last` lanes of the last one. Few sums wait for each other: several keys at once.
template <class S, class T, int R, int V>
MLEXT_INLINE void weigh_columns(const WeighArgs<T>& args, index column, index last) {
  using W = Vec<T>;
  constexpr int kChains = R * V < 4 ? 4 / (R * V) : 1;
  W sum[kChains][R][V];
#pragma GCC unroll 16
  for (int i = 0; i < kChains * R * V; ++i) sum[i / (R * V)][i / V % R][i % V] = W::zero();
  const S* v = static_cast<const S*>(args.v.data) + column;
  const auto add = [&](index j, int chain) __attribute__((always_inline)) {
    const S* from = v + j * args.v.row;
    const T scale = row_scale<S>(args.v, j);
#pragma GCC unroll 4
    for (int c = 0; c < V; ++c) {
      const W value = c == V - 1 ? W::load(from + c * W::N, last) : W::load(from + c * W::N);
      if (begins_line<S>(c * W::N)) __builtin_prefetch(from + c * W::N + kRowsAhead * args.v.row);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r)
        sum[chain][r][c] = fma(W(args.p[r * args.p_row + j] * scale), value, sum[chain][r][c]);
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
// f(RowCount<R>{}) for so many rows.
template <int R>
struct RowCount {
  static constexpr int value = R;
};
template <class F>
MLEXT_INLINE void with_rows(index rows, F f) {
  switch (rows) {
    case 1:
      return f(RowCount<1>{});
    case 2:
      return f(RowCount<2>{});
    case 3:
      return f(RowCount<3>{});
    default:
      return f(RowCount<4>{});
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

// The same with bytes.
template <class T, class F>
MLEXT_INLINE auto with_cached(DType dtype, F f) {
  if constexpr (sizeof(T) == 4) {
    if (dtype == DType::int8) return f(std::int8_t{});
  }
  return with_storage<T>(dtype, f);
}

template <class T>
void score(const ScoreArgs<T>& args) {
  with_cached<T>(args.k.dtype, [&](auto s) {
    with_rows(args.rows, [&](auto rows) { score_rows<decltype(s), T, decltype(rows)::value>(args); });
  });
}

template <class T>
void weigh(const WeighArgs<T>& args) {
  with_cached<T>(args.v.dtype, [&](auto s) {
    with_rows(args.rows, [&](auto rows) { weigh_rows<decltype(s), T, decltype(rows)::value>(args); });
  });
}

}  // namespace mlext::MLEXT_LEVEL
