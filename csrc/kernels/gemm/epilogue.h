// The way out for tiles that do not go straight to C: bias, activation, other dtype, other strides.
#pragma once

#include "kernels/gemm/gemm.h"
#include "kernels/gemm/tile.h"
#include "simd/math.h"
#include "simd/vec.h"

namespace mlext::MLEXT_LEVEL {

template <Activation kActivation, class T>
MLEXT_INLINE Vec<T> activate(Vec<T> x) {
  switch (kActivation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return relu(x);
    case Activation::relu6:
      return relu_to(x, Vec<T>(T(6)));
    case Activation::sigmoid:
      return sigmoid(x);
    case Activation::tanh:
      return tanh(x);
    case Activation::gelu:
      return gelu(x);
    case Activation::gelu_tanh:
      return gelu_tanh(x);
    case Activation::silu:
      return x * sigmoid(x);
  }
}

// n values to a row of C, contiguous or strided.
template <class T, class Out>
MLEXT_INLINE void store_row(Vec<T> v, Out* to, index stride, index n) {
  if (stride == 1) return v.store(to, n);
  Out lanes[Vec<T>::N];
  v.store(lanes);
  for (index i = 0; i < n; ++i) to[i * stride] = lanes[i];
}

template <class T, class Out>
MLEXT_INLINE Vec<T> load_row(const Out* from, index stride, index n) {
  if (stride == 1) return Vec<T>::load(from, n);
  Out lanes[Vec<T>::N] = {};
  for (index i = 0; i < n; ++i) lanes[i] = from[i * stride];
  return Vec<T>::load(lanes);
}

template <class T, class Out, Activation kActivation>
void finish_as(const FinishArgs<T>& g) {
  using W = Vec<T>;
  constexpr index N = W::N;
  const W beta(g.beta);
  // Most rows: nothing to add, and whole vectors. Other activations take so long that masks do not show.
  constexpr bool kCheap = kActivation <= Activation::relu6;
  const bool plain = kCheap && g.c_col == 1 && g.beta == 0;
  for (index i = 0; i < g.rows; ++i) {
    const T* tile = g.tile + i * g.tile_row;
    Out* c = static_cast<Out*>(g.c) + i * g.c_row;
    const Out* in = static_cast<const Out*>(g.in) + i * g.c_row;
    Out* pre = g.pre != nullptr ? static_cast<Out*>(g.pre) + i * g.c_row : nullptr;
    const W bias_m(g.bias_m != nullptr ? g.bias_m[i] : T(0));
    index j = 0;
    if (plain) {
      for (; j + N <= g.cols; j += N) {
        W v = W::load(tile + j);
        if (g.bias_m != nullptr) v += bias_m;
        if (pre != nullptr) v.store(pre + j);
        activate<kActivation>(v).store(c + j);
      }
    }
    for (; j < g.cols; j += N) {
      const index n = g.cols - j < N ? g.cols - j : N;
      W v = W::load(tile + j, n);
      if (g.beta != 0) v = fma(beta, load_row<T>(in + j * g.c_col, g.c_col, n), v);
      if (g.bias_m != nullptr) v += bias_m;
      if (pre != nullptr) store_row(v, pre + j * g.c_col, g.c_col, n);
      store_row(activate<kActivation>(v), c + j * g.c_col, g.c_col, n);
    }
  }
}

template <class T, class Out>
void finish_out(const FinishArgs<T>& g) {
  switch (g.activation) {
#define MLEXT_CASE(name) \
  case Activation::name: \
    return finish_as<T, Out, Activation::name>(g);
    MLEXT_ACTIVATIONS(MLEXT_CASE)
#undef MLEXT_CASE
  }
}

inline void finish(const FinishArgs<float>& g) {
  switch (g.out_dtype) {
    case DType::bfloat16:
      return finish_out<float, bf16>(g);
    case DType::float16:
      return finish_out<float, f16>(g);
    default:
      return finish_out<float, float>(g);
  }
}
inline void finish(const FinishArgs<double>& g) { finish_out<double, double>(g); }

}  // namespace mlext::MLEXT_LEVEL
