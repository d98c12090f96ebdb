// The transforms: vectors hold neighbouring channels or outputs; rows and columns of a tile are the same map, twice.
#include "kernels/conv/winograd.h"

#include "simd/compute.h"
#include "simd/parts.h"

namespace mlext::MLEXT_LEVEL {
namespace {

using V = Vec<float>;

// F(t, 3) in one dimension.
template <int kTile>
struct Minimal;

template <>
struct Minimal<2> {
  static MLEXT_INLINE void input(V (&d)[4]) {
    const V middle = d[2];
    d[0] -= middle;
    d[3] = d[1] - d[3];
    d[2] = middle - d[1];
    d[1] += middle;
  }
  static MLEXT_INLINE void output(const V (&m)[4], V (&y)[2]) {
    y[0] = m[0] + (m[1] + m[2]);
    y[1] = (m[1] - m[2]) - m[3];
  }
  static MLEXT_INLINE void filter(const V (&w)[3], V (&u)[4]) {
    const V even = V(0.5f) * (w[0] + w[2]), odd = V(0.5f) * w[1];
    u[0] = w[0];
    u[1] = even + odd;
    u[2] = even - odd;
    u[3] = w[2];
  }
};

template <>
struct Minimal<4> {
  // Points 0, +-a, +-b and infinity; each of these is exact in float.
  static constexpr float a = 11.0f / 16, b = 11.0f / 8, aa = a * a, bb = b * b;

  static MLEXT_INLINE void input(V (&d)[6]) {
    const V a_even = fma(V(-bb), d[2], d[4]), a_odd = V(a) * fma(V(-bb), d[1], d[3]);
    const V b_even = fma(V(-aa), d[2], d[4]), b_odd = V(b) * fma(V(-aa), d[1], d[3]);
    d[0] = fma(V(aa * bb), d[0], fma(V(-(aa + bb)), d[2], d[4]));
    d[5] = fma(V(aa * bb), d[1], fma(V(-(aa + bb)), d[3], d[5]));
    d[1] = a_even + a_odd;
    d[2] = a_even - a_odd;
    d[3] = b_even + b_odd;
    d[4] = b_even - b_odd;
  }
  static MLEXT_INLINE void output(const V (&m)[6], V (&y)[4]) {
    const V a_even = m[1] + m[2], a_odd = V(a) * (m[1] - m[2]), b_even = m[3] + m[4], b_odd = V(b) * (m[3] - m[4]);
    y[0] = m[0] + (a_even + b_even);
    y[1] = a_odd + b_odd;
    y[2] = fma(V(aa), a_even, V(bb) * b_even);
    y[3] = fma(V(aa), a_odd, fma(V(bb), b_odd, m[5]));
  }
  static MLEXT_INLINE void filter(const V (&w)[3], V (&u)[6]) {
    constexpr float of_a = 1 / (2 * aa * (aa - bb)), of_b = 1 / (2 * bb * (bb - aa));
    const V a_even = V(of_a) * fma(V(aa), w[2], w[0]), a_odd = V(of_a * a) * w[1];
    const V b_even = V(of_b) * fma(V(bb), w[2], w[0]), b_odd = V(of_b * b) * w[1];
    u[0] = V(1 / (aa * bb)) * w[0];
    u[1] = a_even + a_odd;
    u[2] = a_even - a_odd;
    u[3] = b_even + b_odd;
    u[4] = b_even - b_odd;
    u[5] = w[2];
  }
};

template <int kTile, class S>
void input(const WinogradInput& args) {
  constexpr int kSide = kTile + 2;
  each<V>(args.channels, [&](index c, auto part) {
    V d[kSide][kSide];
#pragma GCC unroll 6
    for (int j = 0; j < kSide; ++j) {
      V column[kSide];
#pragma GCC unroll 6
      for (int i = 0; i < kSide; ++i) column[i] = get<V>(static_cast<const S*>(args.pixels[i * kSide + j]) + c, part);
      Minimal<kTile>::input(column);
#pragma GCC unroll 6
      for (int i = 0; i < kSide; ++i) d[i][j] = column[i];
    }
    float* to = args.points + c;
#pragma GCC unroll 6
    for (int i = 0; i < kSide; ++i) {
      Minimal<kTile>::input(d[i]);
#pragma GCC unroll 6
      for (int j = 0; j < kSide; ++j, to += args.step) put(to, d[i][j], part);
    }
  });
}

template <int kTile>
void output(const WinogradOutput& args) {
  constexpr int kSide = kTile + 2;
  const Limits<V> limits(args.top);
  each<V>(args.outputs, [&](index o, auto part) {
    V sums[kTile][kSide];
#pragma GCC unroll 6
    for (int j = 0; j < kSide; ++j) {
      V column[kSide], short_column[kTile];
#pragma GCC unroll 6
      for (int i = 0; i < kSide; ++i) column[i] = get<V>(args.points + (i * kSide + j) * args.step + o, part);
      Minimal<kTile>::output(column, short_column);
#pragma GCC unroll 4
      for (int i = 0; i < kTile; ++i) sums[i][j] = short_column[i];
    }
    const V bias = args.bias != nullptr ? get<V>(args.bias + o, part) : V::zero();
#pragma GCC unroll 4
    for (int i = 0; i < kTile; ++i) {
      if (i == args.rows) return;
      V row[kTile];
      Minimal<kTile>::output(sums[i], row);
#pragma GCC unroll 4
      for (int j = 0; j < kTile; ++j) {
        if (j == args.cols) break;
        const index at = i * args.y_row + j * args.y_col + o;
        V v = row[j] + bias;
        if (args.in != nullptr) v += get<V>(args.in + at, part);
        put(args.y + at, limits(v), part);
      }
    }
  });
}

template <int kTile>
void filter(const WinogradFilter& args) {
  constexpr int kSide = kTile + 2;
  each<V>(args.count, [&](index e, auto part) {
    V u[kSide][3];
#pragma GCC unroll 3
    for (int s = 0; s < 3; ++s) {
      V column[3], long_column[kSide];
#pragma GCC unroll 3
      for (int r = 0; r < 3; ++r) column[r] = get<V>(args.taps + (3 * r + s) * args.count + e, part);
      Minimal<kTile>::filter(column, long_column);
#pragma GCC unroll 6
      for (int i = 0; i < kSide; ++i) u[i][s] = long_column[i];
    }
    float* to = args.points + e;
#pragma GCC unroll 6
    for (int i = 0; i < kSide; ++i) {
      V row[kSide];
      Minimal<kTile>::filter(u[i], row);
#pragma GCC unroll 6
      for (int j = 0; j < kSide; ++j, to += args.step) put(to, row[j], part);
    }
  });
}

template <int kTile>
constexpr void add(WinogradKernels& table) {
  constexpr int i = kTile / 4;
  table.input[i][static_cast<int>(DType::float32)] = input<kTile, float>;
  table.input[i][static_cast<int>(DType::bfloat16)] = input<kTile, bf16>;
  table.input[i][static_cast<int>(DType::float16)] = input<kTile, f16>;
  table.output[i] = output<kTile>;
  table.filter[i] = filter<kTile>;
}

constexpr WinogradKernels make_table() {
  WinogradKernels table{};
  add<2>(table);
  add<4>(table);
  return table;
}

}  // namespace

extern const WinogradKernels winograd_kernels;
const WinogradKernels winograd_kernels = make_table();

}  // namespace mlext::MLEXT_LEVEL
