#include "kernels/reduce/reduce.h"
#include "kernels/reduce/row.h"
#include "simd/vec.h"

namespace mlext::MLEXT_LEVEL {
namespace {

// ---- floating --------------------------------------------------------------------------------------------------------

template <class S, class C, class Op>
void rows(const ReduceArgs& args) {
  const S* x = static_cast<const S*>(args.x);
  C* out = static_cast<C*>(args.out);
  for (index r = 0; r < args.outputs; ++r) {
    const Vec<C> center(args.center == nullptr ? C(0) : static_cast<C>(args.center[r]));
    out[r] = reduce_row<S, C, Op>(x + r * args.step, args.n, center);
  }
}

// ---- columns ------------------------------------------------------------------------------------------------

struct Whole {};  // all lanes; an index below V::N in its place means the first so many
template <class V, class S>
MLEXT_INLINE V get(const S* p, Whole) {
  return V::load(p);
}
template <class V, class S>
MLEXT_INLINE V get(const S* p, index count) {
  if (count >= V::N) __builtin_unreachable();
  return V::load(p, count);
}
template <class V, class S>
MLEXT_INLINE void put(S* p, V v, Whole) {
  v.store(p);
}
template <class V, class S>
MLEXT_INLINE void put(S* p, V v, index count) {
  if (count >= V::N) __builtin_unreachable();
  v.store(p, count);
}

// One block of kColumnBlock rows, W vectors of columns from column `c` on, joined into the cascade in `work`. Rows are
// the outer loop of the caller: 16 row streams are read side by side, which the prefetchers follow, where whole columns
// at a time would touch a new page per row.
template <class S, class C, class Op, int W, class Part>
MLEXT_INLINE void column_block(const ReduceArgs& args, index block, index blocks, index c, index width, Part part) {
  using V = Vec<C>;
  const index begin = block * kColumnBlock;
  const index count = args.n - begin < kColumnBlock ? args.n - begin : kColumnBlock;
  const S* x = static_cast<const S*>(args.x) + begin * args.step + c;
  V acc[W], center[W];
  for (int w = 0; w < W; ++w) {
    acc[w] = Op::template start<V>();
    center[w] = V::zero();
    if constexpr (sizeof(C) == sizeof(double)) {
      if (args.center != nullptr) center[w] = get<V>(args.center + c + w * V::N, part);
    }
  }
#pragma GCC unroll 1
  for (index i = 0; i < count; ++i, x += args.step) {
    for (int w = 0; w < W; ++w) acc[w] = Op::step(acc[w], get<V>(x + w * V::N, part), center[w]);
  }
  C* level = static_cast<C*>(args.work) + c;
  const bool last = block == blocks - 1;
  index k = 0;
  for (; last ? (block >> k) != 0 : (block >> k & 1) != 0; ++k, level += width) {
    if (!(block >> k & 1)) continue;
    for (int w = 0; w < W; ++w) acc[w] = Op::join(V::load(level + w * V::N), acc[w]);
  }
  if (last) {
    for (int w = 0; w < W; ++w) put(static_cast<C*>(args.out) + c + w * V::N, acc[w], part);
  } else {
    for (int w = 0; w < W; ++w) acc[w].store(level + w * V::N);
  }
}

template <class S, class C, class Op>
void columns(const ReduceArgs& args) {
  using V = Vec<C>;
  const index outputs = args.outputs, width = (outputs + V::N - 1) / V::N * V::N;
  const index blocks = (args.n + kColumnBlock - 1) / kColumnBlock;
  for (index block = 0; block < blocks; ++block) {
    index c = 0;
    for (; c + 4 * V::N <= outputs; c += 4 * V::N) {
      column_block<S, C, Op, 4>(args, block, blocks, c, width, Whole{});
    }
    for (; c + V::N <= outputs; c += V::N) column_block<S, C, Op, 1>(args, block, blocks, c, width, Whole{});
    if (c < outputs) column_block<S, C, Op, 1>(args, block, blocks, c, width, outputs - c);
  }
}

// ---- integers ---------------------------------------------------------------------------------------------------------

// kStart: the value of no elements; extremes always have one and start from the first.
template <class S, class Acc, class Op, int kStart>
void int_rows(const ReduceArgs& args) {
  const S* x = static_cast<const S*>(args.x);
  Acc* out = static_cast<Acc*>(args.out);
  for (index r = 0; r < args.outputs; ++r, x += args.step) {
    Acc acc = kStart < 0 ? static_cast<Acc>(x[0]) : static_cast<Acc>(kStart);
    for (index i = 0; i < args.n; ++i) acc = Op::run(acc, x[i]);
    out[r] = acc;
  }
}

template <class S, class Acc, class Op, int kStart>
void int_columns(const ReduceArgs& args) {
  const S* x = static_cast<const S*>(args.x);
  Acc* out = static_cast<Acc*>(args.out);
  for (index c = 0; c < args.outputs; ++c) out[c] = kStart < 0 ? static_cast<Acc>(x[c]) : static_cast<Acc>(kStart);
  for (index i = 0; i < args.n; ++i, x += args.step) {
    for (index c = 0; c < args.outputs; ++c) out[c] = Op::run(out[c], x[c]);
  }
}

// ---- finishing ---------------------------------------------------------------------------------------

template <class C, class S>
void finish(const ResultArgs& args) {
  using V = Vec<C>;
  const C* acc = static_cast<const C*>(args.acc);
  S* out = static_cast<S*>(args.out);
  const V divisor(static_cast<C>(args.divisor));
  const index n = args.n;
  for (index i = 0; i < n; i += V::N) {
    const index count = n - i < V::N ? n - i : V::N;
    const V v = V::load(acc + i, count) / divisor;
    (args.root ? sqrt(v) : v).store(out + i, count);
  }
}

// ---- the table --------------------------------------------------------------------------------------------------------

constexpr int id(ReduceOp op) { return static_cast<int>(op); }
constexpr int id(DType dtype) { return static_cast<int>(dtype); }

template <class S, class C>
constexpr void add_floating(ReduceKernels& t, DType dtype) {
#define MLEXT_ROW(name, Op)                               \
  t.rows[id(ReduceOp::name)][id(dtype)] = rows<S, C, Op>; \
  t.columns[id(ReduceOp::name)][id(dtype)] = columns<S, C, Op>;
  MLEXT_ROW(sum, SumOp)
  MLEXT_ROW(sumsq, SquareOp)
  MLEXT_ROW(prod, ProductOp)
  MLEXT_ROW(max, MaxOp)
  MLEXT_ROW(min, MinOp)
#undef MLEXT_ROW
}

template <class S>
constexpr void add_wide(ReduceKernels& t, DType dtype) {
#define MLEXT_ROW(name, Op)                                    \
  t.rows[id(ReduceOp::name)][id(dtype)] = rows<S, double, Op>; \
  t.columns[id(ReduceOp::name)][id(dtype)] = columns<S, double, Op>;
  MLEXT_ROW(wide_sum, SumOp)
  MLEXT_ROW(wide_sumsq, SquareOp)
  MLEXT_ROW(deviation, DeviationOp)
#undef MLEXT_ROW
}

template <class S>
constexpr void add_integer(ReduceKernels& t, DType dtype) {
#define MLEXT_ROW(name, Acc, Op, start)                                \
  t.rows[id(ReduceOp::name)][id(dtype)] = int_rows<S, Acc, Op, start>; \
  t.columns[id(ReduceOp::name)][id(dtype)] = int_columns<S, Acc, Op, start>;
  MLEXT_ROW(sum, std::uint64_t, IntSum, 0)
  MLEXT_ROW(prod, std::uint64_t, IntProduct, 1)
  MLEXT_ROW(max, S, IntMax, -1)
  MLEXT_ROW(min, S, IntMin, -1)
#undef MLEXT_ROW
}

constexpr ReduceKernels make_table() {
  ReduceKernels t{};
  add_floating<float, float>(t, DType::float32);
  add_floating<double, double>(t, DType::float64);
  add_floating<bf16, float>(t, DType::bfloat16);
  add_floating<f16, float>(t, DType::float16);
  add_wide<float>(t, DType::float32);
  add_wide<double>(t, DType::float64);
  // bool memory holds 0 or 1: its extremes are `any` and `all`.
  add_integer<std::int8_t>(t, DType::int8);
  add_integer<std::uint8_t>(t, DType::uint8);
  add_integer<std::int32_t>(t, DType::int32);
  add_integer<std::int64_t>(t, DType::int64);
  add_integer<std::uint8_t>(t, DType::bool_);
  t.finish[0][id(DType::float32)] = finish<float, float>;
  t.finish[0][id(DType::bfloat16)] = finish<float, bf16>;
  t.finish[0][id(DType::float16)] = finish<float, f16>;
  t.finish[1][id(DType::float32)] = finish<double, float>;
  t.finish[1][id(DType::float64)] = finish<double, double>;
  return t;
}

}  // namespace

extern const ReduceKernels reduce_kernels;
constexpr ReduceKernels reduce_kernels = make_table();

}  // namespace mlext::MLEXT_LEVEL
