#include "kernels/reduce/positions.h"

#include "kernels/reduce/row.h"

namespace mlext::MLEXT_LEVEL {
namespace {

// ---- positions --------------------------------------------------------------------------------------------------------

// The first position of `value`, which is there; NaN matches NaN.
template <class T>
MLEXT_INLINE index find_first(const T* x, index n, T value) {
  if constexpr (T(0.5) != T(0)) {
    using V = Vec<T>;
    const bool nan = value != value;
    for (index i = 0; i < n; i += V::N) {
      const index count = n - i < V::N ? n - i : V::N;
      const V v = V::load(x + i, count);
      const unsigned hits = ((nan ? is_nan(v) : v == V(value)) & Mask<T>::first(count)).bits();
      if (hits != 0) return i + __builtin_ctz(hits);
    }
    return 0;
  } else {
    index i = 0;
    while (x[i] != value) ++i;
    return i;
  }
}

template <class T, bool kMin>
void arg_rows(const ReduceArgs& args) {
  const T* x = static_cast<const T*>(args.x);
  index* out = static_cast<index*>(args.out);
  for (index r = 0; r < args.outputs; ++r, x += args.step) {
    T extreme = x[0];
    if constexpr (T(0.5) == T(0)) {
      for (index i = 1; i < args.n; ++i) extreme = kMin ? IntMin::run(extreme, x[i]) : IntMax::run(extreme, x[i]);
    } else if constexpr (kMin) {
      extreme = reduce_row<T, T, MinOp>(x, args.n, Vec<T>::zero());
    } else {
      extreme = reduce_row<T, T, MaxOp>(x, args.n, Vec<T>::zero());
    }
    out[r] = find_first(x, args.n, extreme);
  }
}

// Positions as wide as the values, so that one comparison mask serves both.
template <int bytes>
struct PositionOf {
  using Type = std::int32_t;
};
template <>
struct PositionOf<8> {
  using Type = std::int64_t;
};
template <class T>
using Position = typename PositionOf<sizeof(T)>::Type;
constexpr index kArgRun = index{1} << 30;

template <class T, bool kMin>
void arg_columns(const ReduceArgs& args) {
  const T* x = static_cast<const T*>(args.x);
  index* out = static_cast<index*>(args.out);
  T best[kArgColumns];  // local, so the compiler knows that x is not written
  Position<T> at[kArgColumns];
  for (index c = 0; c < args.outputs; ++c) {
    best[c] = x[c];
    out[c] = 0;
  }
  // Row numbers are kept relative to a run of rows that 32 bits can count.
  const index count = args.outputs, step = args.step;
  for (index run = 0; run < args.n; run += kArgRun) {
    const index end = args.n - run < kArgRun ? args.n - run : kArgRun;
    for (index c = 0; c < count; ++c) at[c] = -1;
    for (index i = 0; i < end; ++i, x += step) {
      for (index c = 0; c < count; ++c) {
        const T v = x[c], b = best[c];
        // The first NaN beats every number and is beaten by nothing.
        const bool better = (kMin ? v < b : v > b) | ((v != v) & (b == b));
        best[c] = better ? v : b;
        at[c] = better ? static_cast<Position<T>>(i) : at[c];
      }
    }
    for (index c = 0; c < args.outputs; ++c) out[c] = at[c] < 0 ? out[c] : run + at[c];
  }
}

// ---- running sums ---------------------------------------------------------------------------------------------------

// Running sums are one long chain by nature: float32 keeps it in float64.
template <class S, class Acc, class D>
void scan(const ScanArgs& args) {
  const S* x = static_cast<const S*>(args.x);
  D* y = static_cast<D*>(args.y);
  const index step = args.step;
  if (args.columns == 1) {
    Acc acc = 0;
    for (index i = 0; i < args.n; ++i) y[i * step] = static_cast<D>(acc += static_cast<Acc>(x[i * step]));
    return;
  }
  Acc acc[kScanColumns] = {};
  for (index i = 0; i < args.n; ++i, x += step, y += step) {
    for (index c = 0; c < args.columns; ++c) y[c] = static_cast<D>(acc[c] += static_cast<Acc>(x[c]));
  }
}

// ---- the table --------------------------------------------------------------------------------------------------------

template <class T>
constexpr void add_positions(PositionKernels& t, DType dtype) {
  const int type = static_cast<int>(dtype);
  t.arg_rows[0][type] = arg_rows<T, false>;
  t.arg_rows[1][type] = arg_rows<T, true>;
  t.arg_columns[0][type] = arg_columns<T, false>;
  t.arg_columns[1][type] = arg_columns<T, true>;
}

constexpr PositionKernels make_table() {
  PositionKernels t{};
#define MLEXT_ROW(name, T, Acc, Out) \
  add_positions<T>(t, DType::name);  \
  t.scan[static_cast<int>(DType::name)] = scan<T, Acc, Out>;
  MLEXT_ROW(float32, float, double, float)
  MLEXT_ROW(float64, double, double, double)
  MLEXT_ROW(int8, std::int8_t, std::uint64_t, std::uint64_t)
  MLEXT_ROW(uint8, std::uint8_t, std::uint64_t, std::uint64_t)
  MLEXT_ROW(int32, std::int32_t, std::uint64_t, std::uint64_t)
  MLEXT_ROW(int64, std::int64_t, std::uint64_t, std::uint64_t)
  MLEXT_ROW(bool_, std::uint8_t, std::uint64_t, std::uint64_t)
#undef MLEXT_ROW
  return t;
}

}  // namespace

extern const PositionKernels position_kernels;
constexpr PositionKernels position_kernels = make_table();

}  // namespace mlext::MLEXT_LEVEL
