#include "kernels/vecmath/vecmath.h"

#include "simd/math.h"

namespace mlext::MLEXT_LEVEL {

extern const VecmathKernels vecmath_kernels;

namespace {

// clang-format off
// X(name, operands, result as a Vec<T> of x, y, z). Masks come out as ones and zeros, whole-vector
// results in every lane.
#define MLEXT_VECTOR_OPS(X)                                                                       \
  X(add, 2, x + y) X(sub, 2, x - y) X(mul, 2, x * y) X(div, 2, x / y) X(neg, 1, -x)               \
  X(fma, 3, fma(x, y, z)) X(min, 2, min(x, y)) X(max, 2, max(x, y)) X(min_nan, 2, min_nan(x, y))  \
  X(max_nan, 2, max_nan(x, y)) X(abs, 1, abs(x)) X(sqrt, 1, sqrt(x)) X(round, 1, round(x))        \
  X(floor, 1, floor(x)) X(scale, 2, scale(x, y)) X(copysign, 2, copysign(x, y))                   \
  X(xorsign, 2, xorsign(x, y)) X(sign_of, 1, sign_of(x)) X(lt, 2, as_number(x < y))               \
  X(le, 2, as_number(x <= y)) X(gt, 2, as_number(x > y)) X(ge, 2, as_number(x >= y))              \
  X(eq, 2, as_number(x == y)) X(ne, 2, as_number(x != y)) X(is_nan, 1, as_number(is_nan(x)))      \
  X(select, 3, select(x < y, y, z)) X(mask_and, 3, as_number((x < y) & (y < z)))                  \
  X(mask_or, 3, as_number((x < y) | (y < z))) X(mask_xor, 3, as_number((x < y) ^ (y < z)))        \
  X(mask_not, 2, as_number(!(x < y))) X(mask_bits, 2, Vec<T>(static_cast<T>((x < y).bits())))     \
  X(any, 2, Vec<T>(static_cast<T>(any(x < y)))) X(all, 2, Vec<T>(static_cast<T>(all(x < y))))     \
  X(reduce_add, 1, Vec<T>(reduce_add(x))) X(reduce_max, 1, Vec<T>(reduce_max(x)))                 \
  X(reduce_min, 1, Vec<T>(reduce_min(x))) X(int_add, 2, from_bits(bits(x) + bits(y)))             \
  X(int_sub, 2, from_bits(bits(x) - bits(y))) X(int_and, 2, from_bits(bits(x) & bits(y)))         \
  X(int_or, 2, from_bits(bits(x) | bits(y))) X(int_xor, 2, from_bits(bits(x) ^ bits(y)))          \
  X(int_not, 1, from_bits(~bits(x))) X(int_shl, 1, from_bits(bits(x) << 3))                       \
  X(int_sar, 1, from_bits(bits(x) >> 3)) X(int_shr, 1, from_bits(shift_right(bits(x), 3)))        \
  X(int_eq, 2, as_number(bits(x) == bits(y))) X(int_gt, 2, as_number(bits(x) > bits(y)))          \
  X(int_lt, 2, as_number(bits(x) < bits(y)))                                                      \
  X(int_select, 3, from_bits(select(x < y, bits(y), bits(z)))) X(to_int, 1, from_bits(to_int(x))) \
  X(to_float, 1, to_float(bits(x)))

#define MLEXT_MATH_OPS(X)                                                                         \
  X(exp, 1, exp(x)) X(exp2, 1, exp2(x)) X(expm1, 1, expm1(x)) X(log, 1, log(x))                   \
  X(log2, 1, log2(x)) X(log1p, 1, log1p(x)) X(tanh, 1, tanh(x)) X(sigmoid, 1, sigmoid(x))         \
  X(erf, 1, erf(x)) X(sin, 1, sin(x)) X(cos, 1, cos(x)) X(pow, 2, pow(x, y))                      \
  X(softplus, 1, softplus(x)) X(normal_cdf, 1, normal_cdf(x)) X(gelu, 1, gelu(x))                 \
  X(gelu_tanh, 1, gelu_tanh(x))
// clang-format on

template <class T>
Vec<T> as_number(Mask<T> m) {
  return select(m, Vec<T>(T(1)), Vec<T>::zero());
}

#define MLEXT_DEFINE(name, arity, result)                                                                  \
  struct Op_##name {                                                                                       \
    static constexpr int kArity = arity;                                                                   \
    template <class T>                                                                                     \
    static Vec<T> apply([[maybe_unused]] Vec<T> x, [[maybe_unused]] Vec<T> y, [[maybe_unused]] Vec<T> z) { \
      return result;                                                                                       \
    }                                                                                                      \
  };
MLEXT_VECTOR_OPS(MLEXT_DEFINE)
MLEXT_MATH_OPS(MLEXT_DEFINE)
#undef MLEXT_DEFINE

template <class Op, class T>
void map(const void* a, const void* b, const void* c, void* out, index n) {
  using V = Vec<T>;
  const T* in[3] = {static_cast<const T*>(a), static_cast<const T*>(b), static_cast<const T*>(c)};
  T* to = static_cast<T*>(out);
  V v[3] = {V::zero(), V::zero(), V::zero()};
  for (index i = 0; i < n; i += V::N) {
    const index count = n - i < V::N ? n - i : V::N;
    for (int k = 0; k < Op::kArity; ++k) v[k] = V::load(in[k] + i, count);
    Op::template apply<T>(v[0], v[1], v[2]).store(to + i, count);
  }
}

template <class From, class T, class To>
void convert(const void* a, const void*, const void*, void* out, index n) {
  using V = Vec<T>;
  const From* from = static_cast<const From*>(a);
  To* to = static_cast<To*>(out);
  index i = 0;
  for (; n - i > V::N; i += V::N) V::load(from + i).store(to + i);
  V::load(from + i, n - i).store(to + i, n - i);
}

// Whole vectors only, out aligned.
template <class T>
void stream(const void* a, const void*, const void*, void* out, index n) {
  for (index i = 0; i + Vec<T>::N <= n; i += Vec<T>::N) {
    Vec<T>::load(static_cast<const T*>(a) + i).stream(static_cast<T*>(out) + i);
  }
  fence();
}

// The sum over all lanes of the last, partial vector, its missing lanes filled with zeros (fill 0)
// or ones.
template <class T, int fill>
void load_fill(const void* a, const void*, const void*, void* out, index n) {
  const T* p = static_cast<const T*>(a);
  const Vec<T> v = fill == 0 ? Vec<T>::load(p, n) : Vec<T>::load(p, n, T(fill));
  Vec<T>(reduce_add(v)).store(static_cast<T*>(out), n);
}

template <class T>
void mask_first(const void*, const void*, const void*, void* out, index n) {
  Vec<T>(static_cast<T>(Mask<T>::first(n).bits())).store(static_cast<T*>(out), n);
}

constexpr DType kF32 = DType::float32, kF64 = DType::float64;
constexpr VecmathOp kOps[] = {
#define MLEXT_ROWS(name, arity, result) \
  {#name, kF32, kF32, arity, map<Op_##name, float>}, {#name, kF64, kF64, arity, map<Op_##name, double>},
    MLEXT_VECTOR_OPS(MLEXT_ROWS) MLEXT_MATH_OPS(MLEXT_ROWS)
#undef MLEXT_ROWS
        {"convert", kF32, kF32, 1, convert<float, float, float>},
    {"convert", DType::bfloat16, kF32, 1, convert<bf16, float, float>},
    {"convert", DType::float16, kF32, 1, convert<f16, float, float>},
    {"convert", DType::int8, kF32, 1, convert<std::int8_t, float, float>},
    {"convert", DType::uint8, kF32, 1, convert<std::uint8_t, float, float>},
    {"convert", DType::bool_, kF32, 1, convert<bool, float, float>},
    {"convert", DType::int32, kF32, 1, convert<std::int32_t, float, float>},
    {"convert", kF32, DType::bfloat16, 1, convert<float, float, bf16>},
    {"convert", kF32, DType::float16, 1, convert<float, float, f16>},
    {"convert", kF64, kF64, 1, convert<double, double, double>},
    {"convert", kF32, kF64, 1, convert<float, double, double>},
    {"convert", DType::int32, kF64, 1, convert<std::int32_t, double, double>},
    {"convert", DType::int64, kF64, 1, convert<std::int64_t, double, double>},
    {"convert", kF64, kF32, 1, convert<double, double, float>},
    {"stream", kF32, kF32, 1, stream<float>},
    {"stream", kF64, kF64, 1, stream<double>},
    {"load_zeros", kF32, kF32, 1, load_fill<float, 0>},
    {"load_zeros", kF64, kF64, 1, load_fill<double, 0>},
    {"load_ones", kF32, kF32, 1, load_fill<float, 1>},
    {"load_ones", kF64, kF64, 1, load_fill<double, 1>},
    {"mask_first", kF32, kF32, 1, mask_first<float>},
    {"mask_first", kF64, kF64, 1, mask_first<double>},
};

}  // namespace

const VecmathKernels vecmath_kernels = {kOps, sizeof(kOps) / sizeof(kOps[0])};

}  // namespace mlext::MLEXT_LEVEL
