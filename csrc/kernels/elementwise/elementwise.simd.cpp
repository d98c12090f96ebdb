#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/ops.h"
#include "simd/vec.h"

namespace mlext::MLEXT_LEVEL {
namespace {

// An operand of one element waits as a row of copies, so that one loop serves all cases: there are many maps to compile.
constexpr index kCopies = 1024;

template <class T>
[[gnu::noinline]] const T* copies_of(T value, index n, T* row) {
  const index count = n < kCopies ? n : kCopies;
  for (index i = 0; i < count; ++i) row[i] = value;
  return row;
}

// f(in, y, count) for a row of elements after the other, all of them if each operand has so many.
template <class T, class R, int kInputs, class F>
MLEXT_INLINE void in_rows(const MapArgs& args, F f) {
  T copies[kInputs][kCopies];
  const T* in[kInputs];
  R* y = static_cast<R*>(args.out);
  const index n = args.n;
  index row = n;
  for (int k = 0; k < kInputs; ++k) {
    in[k] = static_cast<const T*>(args.in[k]);
    if (args.step[k] != 0) continue;
    in[k] = copies_of(*in[k], n, copies[k]);
    row = kCopies;
  }
  for (index done = 0; done < n; done += row, y += row) {
    f(in, y, n - done < row ? n - done : row);
    for (int k = 0; k < kInputs; ++k) in[k] += args.step[k] * row;
  }
}

// ---- floating maps --------------------------------------------------------------------------------------------------

// Idle lanes of the last vector compute on 0 and are dropped.
template <class T, class Op, int kInputs>
void float_map(const MapArgs& args) {
  using V = Vec<T>;
  in_rows<T, T, kInputs>(args, [&](const T* const(&in)[kInputs], T* y, index n) {
    index i = 0;
    if constexpr (kInputs == 1) {
      for (; i + V::N <= n; i += V::N) Op::run(V::load(in[0] + i), args.p).store(y + i);
      if (i < n) Op::run(V::load(in[0] + i, n - i), args.p).store(y + i, n - i);
    } else {
      for (; i + V::N <= n; i += V::N) Op::run(V::load(in[0] + i), V::load(in[1] + i), args.p).store(y + i);
      if (i < n) Op::run(V::load(in[0] + i, n - i), V::load(in[1] + i, n - i), args.p).store(y + i, n - i);
    }
  });
}

// ---- integer maps, comparisons, casts: plain loops that the compiler vectorises ---------------------------------------

// Wrapping arithmetic: signed overflow is undefined, unsigned is not.
template <class T>
struct Unsigned;
template <>
struct Unsigned<std::int8_t> {
  using type = std::uint8_t;
};
template <>
struct Unsigned<std::uint8_t> {
  using type = std::uint8_t;
};
template <>
struct Unsigned<std::int32_t> {
  using type = std::uint32_t;
};
template <>
struct Unsigned<std::int64_t> {
  using type = std::uint64_t;
};

#define MLEXT_INT_OP(name, formula)                          \
  struct int_##name {                                        \
    template <class T>                                       \
    static MLEXT_INLINE T run(T a, [[maybe_unused]] T b) {   \
      [[maybe_unused]] typedef typename Unsigned<T>::type U; \
      return static_cast<T>(formula);                        \
    }                                                        \
  };
MLEXT_INT_OP(neg, U(0) - U(a))
MLEXT_INT_OP(abs, a < 0 ? U(0) - U(a) : U(a))
MLEXT_INT_OP(add, U(a) + U(b))
MLEXT_INT_OP(sub, U(a) - U(b))
MLEXT_INT_OP(mul, U(a) * U(b))
MLEXT_INT_OP(maximum, a > b ? a : b)
MLEXT_INT_OP(minimum, a < b ? a : b)

#define MLEXT_TEST_OP(name, formula)                          \
  struct test_##name {                                        \
    template <class T>                                        \
    static MLEXT_INLINE bool run(T a, [[maybe_unused]] T b) { \
      return formula;                                         \
    }                                                         \
  };
MLEXT_TEST_OP(eq, a == b)
MLEXT_TEST_OP(ne, a != b)
MLEXT_TEST_OP(lt, a < b)
MLEXT_TEST_OP(le, a <= b)
MLEXT_TEST_OP(gt, a > b)
MLEXT_TEST_OP(ge, a >= b)
MLEXT_TEST_OP(isnan, a != a)
MLEXT_TEST_OP(isfinite, a - a == T(0))
MLEXT_TEST_OP(logical_and, a&& b)
MLEXT_TEST_OP(logical_or, a || b)
MLEXT_TEST_OP(logical_xor, a != b)
MLEXT_TEST_OP(logical_not, !a)

template <class T, class R, class Op, int kInputs>
void plain_map(const MapArgs& args) {
  in_rows<T, R, kInputs>(args, [](const T* const(&in)[kInputs], R* y, index n) {
    for (index i = 0; i < n; ++i) y[i] = Op::template run<T>(in[0][i], in[kInputs - 1][i]);
  });
}

// float to integer saturates and sends NaN to 0: every input has a defined result.
template <class T>
inline constexpr bool kHoldsHalf =
    static_cast<float>(static_cast<T>(0.5f)) != 0.0f;  // true for floating types and bool

template <class To, class From>
MLEXT_INLINE To convert(From x) {
  if constexpr (kHoldsHalf<To>) {
    return static_cast<To>(x);
  } else if constexpr (!kHoldsHalf<From> || sizeof(From) == 1) {  // integer and bool sources
    return static_cast<To>(x);
  } else {
    constexpr To kMax = static_cast<To>(~To(0)) < To(0)
                            ? static_cast<To>((std::uint64_t(1) << (8 * sizeof(To) - 1)) - 1)
                            : static_cast<To>(~To(0));
    constexpr To kMin = static_cast<To>(~To(0)) < To(0) ? static_cast<To>(-kMax - 1) : To(0);
    // The first float at or above kMax + 1, exact because it is a power of two.
    constexpr From kTop = static_cast<From>(kMax / 2 + 1) * From(2);
    if (x >= kTop) return kMax;
    if (x <= static_cast<From>(kMin)) return kMin;
    return x == x ? static_cast<To>(x) : To(0);
  }
}

template <class From, class To>
void cast_run(const MapArgs& args) {
  const From* x = static_cast<const From*>(args.in[0]);
  To* y = static_cast<To*>(args.out);
  if (args.step[0] == 0) {
    const To value = convert<To>(*x);
    for (index i = 0; i < args.n; ++i) y[i] = value;
  } else {
    for (index i = 0; i < args.n; ++i) y[i] = convert<To>(x[i]);
  }
}

// Between float and the half types, and copies of a type to itself.
template <class From, class To>
void cast_half(const MapArgs& args) {
  using V = Vec<float>;
  const From* x = static_cast<const From*>(args.in[0]);
  To* y = static_cast<To*>(args.out);
  const index n = args.n, step = args.step[0];
  index i = 0;
  for (; step != 0 && i + V::N <= n; i += V::N) V::load(x + i).store(y + i);
  if (step != 0) {
    V::load(x + i, n - i).store(y + i, n - i);
    return;
  }
  float first[V::N];
  V::load(x, 1).store(first);
  const V value(first[0]);
  for (; i < n; i += V::N) value.store(y + i, n - i < V::N ? n - i : V::N);
}

template <class T>
void copy_run(const MapArgs& args) {
  const T* x = static_cast<const T*>(args.in[0]);
  T* y = static_cast<T*>(args.out);
  if (args.step[0] == 0) {
    const T value = *x;
    for (index i = 0; i < args.n; ++i) y[i] = value;
  } else {
    __builtin_memmove(y, x, static_cast<std::size_t>(args.n) * sizeof(T));
  }
}

template <class U>
void where_run(const MapArgs& args) {
  const bool* c = static_cast<const bool*>(args.in[0]);
  const U* a = static_cast<const U*>(args.in[1]);
  const U* b = static_cast<const U*>(args.in[2]);
  U* y = static_cast<U*>(args.out);
  const index sc = args.step[0], sa = args.step[1], sb = args.step[2];
  if (sc == 1 && sa == 1 && sb == 1) {
    for (index i = 0; i < args.n; ++i) y[i] = c[i] ? a[i] : b[i];
  } else {
    for (index i = 0; i < args.n; ++i) y[i] = c[i * sc] ? a[i * sa] : b[i * sb];
  }
}

// ---- the table --------------------------------------------------------------------------------------------------------

constexpr int id(MapOp op) { return static_cast<int>(op); }
constexpr int id(DType dtype) { return static_cast<int>(dtype); }

constexpr ElementwiseKernels make_table() {
  ElementwiseKernels t{};
#define MLEXT_ROW(name, inputs, params)                                             \
  t.map[id(MapOp::name)][id(DType::float32)] = float_map<float, op_##name, inputs>; \
  t.map[id(MapOp::name)][id(DType::float64)] = float_map<double, op_##name, inputs>;
  MLEXT_FLOAT_MAPS(MLEXT_ROW)
#undef MLEXT_ROW
#define MLEXT_ROW(name, inputs, params)                                                                 \
  t.map[id(MapOp::name)][id(DType::int8)] = plain_map<std::int8_t, std::int8_t, int_##name, inputs>;    \
  t.map[id(MapOp::name)][id(DType::uint8)] = plain_map<std::uint8_t, std::uint8_t, int_##name, inputs>; \
  t.map[id(MapOp::name)][id(DType::int32)] = plain_map<std::int32_t, std::int32_t, int_##name, inputs>; \
  t.map[id(MapOp::name)][id(DType::int64)] = plain_map<std::int64_t, std::int64_t, int_##name, inputs>;
  MLEXT_INTEGER_MAPS(MLEXT_ROW)
#undef MLEXT_ROW
#define MLEXT_ROW(name, inputs)                                                                  \
  t.map[id(MapOp::name)][id(DType::float32)] = plain_map<float, bool, test_##name, inputs>;      \
  t.map[id(MapOp::name)][id(DType::float64)] = plain_map<double, bool, test_##name, inputs>;     \
  t.map[id(MapOp::name)][id(DType::int8)] = plain_map<std::int8_t, bool, test_##name, inputs>;   \
  t.map[id(MapOp::name)][id(DType::uint8)] = plain_map<std::uint8_t, bool, test_##name, inputs>; \
  t.map[id(MapOp::name)][id(DType::int32)] = plain_map<std::int32_t, bool, test_##name, inputs>; \
  t.map[id(MapOp::name)][id(DType::int64)] = plain_map<std::int64_t, bool, test_##name, inputs>; \
  t.map[id(MapOp::name)][id(DType::bool_)] = plain_map<bool, bool, test_##name, inputs>;
  MLEXT_COMPARES(MLEXT_ROW)
#undef MLEXT_ROW
#define MLEXT_ROW(name, inputs) t.map[id(MapOp::name)][id(DType::bool_)] = plain_map<bool, bool, test_##name, inputs>;
  MLEXT_LOGICALS(MLEXT_ROW)
#undef MLEXT_ROW

#define MLEXT_CASTS_FROM(from, From)                                        \
  t.cast[id(DType::from)][id(DType::float32)] = cast_run<From, float>;      \
  t.cast[id(DType::from)][id(DType::float64)] = cast_run<From, double>;     \
  t.cast[id(DType::from)][id(DType::int8)] = cast_run<From, std::int8_t>;   \
  t.cast[id(DType::from)][id(DType::uint8)] = cast_run<From, std::uint8_t>; \
  t.cast[id(DType::from)][id(DType::int32)] = cast_run<From, std::int32_t>; \
  t.cast[id(DType::from)][id(DType::int64)] = cast_run<From, std::int64_t>; \
  t.cast[id(DType::from)][id(DType::bool_)] = cast_run<From, bool>;
  MLEXT_CASTS_FROM(float32, float)
  MLEXT_CASTS_FROM(float64, double)
  MLEXT_CASTS_FROM(int8, std::int8_t)
  MLEXT_CASTS_FROM(uint8, std::uint8_t)
  MLEXT_CASTS_FROM(int32, std::int32_t)
  MLEXT_CASTS_FROM(int64, std::int64_t)
  MLEXT_CASTS_FROM(bool_, bool)
#undef MLEXT_CASTS_FROM
  t.cast[id(DType::float32)][id(DType::bfloat16)] = cast_half<float, bf16>;
  t.cast[id(DType::bfloat16)][id(DType::float32)] = cast_half<bf16, float>;
  t.cast[id(DType::float32)][id(DType::float16)] = cast_half<float, f16>;
  t.cast[id(DType::float16)][id(DType::float32)] = cast_half<f16, float>;
#define MLEXT_ROW(name, T) t.cast[id(DType::name)][id(DType::name)] = copy_run<T>;
  MLEXT_DTYPES(MLEXT_ROW)
#undef MLEXT_ROW
  t.where[0] = where_run<std::uint8_t>;
  t.where[1] = where_run<std::uint16_t>;
  t.where[2] = where_run<std::uint32_t>;
  t.where[3] = where_run<std::uint64_t>;
  return t;
}

}  // namespace

extern const ElementwiseKernels elementwise_kernels;
constexpr ElementwiseKernels elementwise_kernels = make_table();

}  // namespace mlext::MLEXT_LEVEL
