// The way there: blocks of keys pass by rows of queries.
#include "core/isa.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "kernels/attention/door.h"
#include "kernels/attention/tile.h"
#include "kernels/gemm/rules.h"

namespace mlext {

MLEXT_DISPATCH(GemmKernels, gemm_kernels)
MLEXT_DISPATCH(AttentionKernels, attention_kernels)
MLEXT_DISPATCH(RandomKernels, random_kernels)

namespace attention_detail {
namespace {

// Keys of a block: its panels, a tile of scores and the sums that it adds to stay in L2.
constexpr index kBlockKeys = 192, kFewRowsKeys = 512;
// Rows of a task, which share packed keys and values: packing takes 3 per cent of their products. And of a tile.
constexpr index kTaskRows = 512, kLeastTaskRows = 64, kTileRows = 56;
// Tasks that all threads have enough of; with fewer, rows or keys are split further. Shapes alone decide.
constexpr index kTasks = 16, kLeastPartKeys = 512;

// How rows and keys of a problem fall into tasks.
struct Plan {
  index task_rows, parts;

  explicit Plan(const Problem& p) {
    const index rows = p.heads_each() * p.queries, units = std::max<index>(p.sequences * p.groups, 1),
                wanted = ceil_div(kTasks, units);
    task_rows = std::clamp(ceil_div(rows, wanted), std::min(kLeastTaskRows, rows), kTaskRows);
    const index tasks = units * ceil_div(rows, task_rows);
    parts = tasks < kTasks ? std::clamp<index>(p.keys / kLeastPartKeys, 1, ceil_div(kTasks, tasks)) : 1;
  }
  Split rows(const Problem& p, const Segment& segment) const {
    return Split::of(p.heads_each() * segment.queries, task_rows);
  }
  // Keys of a part.
  Span keys(const Problem& p, index part) const {
    const index each = ceil_div(ceil_div(p.keys, parts), kAlignedKeys) * kAlignedKeys;
    return {part * each, part + 1 == parts ? kUnbounded : (part + 1) * each};
  }
};

// What is added up for rows of queries: o, sums of exponentials, largest scores.
template <class T>
struct Sums {
  index rows, o_row, lanes;
  T* data;

  T* o(index r) const { return data + r * o_row; }
  T* sum(index r) const { return data + rows * o_row + r * lanes; }
  T* largest(index r) const { return data + rows * (o_row + lanes) + r; }
  static index size(index rows, index o_row, index lanes) { return rows * (o_row + lanes + 1); }
  void clear() const {
    std::fill_n(data, rows * (o_row + lanes), T(0));
    std::fill_n(largest(0), rows, -std::numeric_limits<T>::infinity());
  }
};

template <class T>
class Forward {
 public:
  Forward(const GemmTypeKernels<T>& gemm, const AttentionTypeKernels<T>& kernels, const Problem& problem,
          const Dropping* dropping)
      : gemm_(gemm), kernels_(kernels), p_(problem), dropping_(dropping), plan_(problem) {}

  void run() const {
    const Tasks tasks(p_, [&](const Segment& s) { return s.queries == 0 ? 0 : p_.groups * plan_.rows(p_, s).count; });
    const index count = tasks.count() * plan_.parts;
    T* shared = plan_.parts > 1 ? scratch<T>(kSlotParts, count * room()) : nullptr;
    const auto each = [&](index n, auto body) {
      parallel_for(n, gemm_detail::parallel_grain(n, p_.flops()), [&](index begin, index end) {
        for (index i = begin; i < end; ++i) poll_interrupt(), body(i);
      });
    };
    each(count, [&](index i) {
      const index unit = gemm_detail::divide(i, plan_.parts), part = i - unit * plan_.parts;
      with_rows(tasks, unit, [&](const Segment& segment, index group, const Rows& rows) {
        const Sums<T> sums = sums_of(rows, shared != nullptr ? shared + i * room() : scratch<T>(kSlotSums, room()));
        sums.clear();
        attend(segment, group, rows, plan_.keys(p_, part), sums);
        if (shared == nullptr) finish(rows, sums);
      });
    });
    if (shared == nullptr) return;
    each(tasks.count(), [&](index unit) {
      with_rows(tasks, unit, [&](const Segment&, index, const Rows& rows) {
        finish(rows, sums_of(rows, shared + unit * plan_.parts * room()));
      });
    });
  }

 private:
  index o_row() const { return rounded(gemm_, p_.v_width); }
  index room() const { return Sums<T>::size(plan_.task_rows, o_row(), gemm_.lanes); }
  Sums<T> sums_of(const Rows& rows, T* memory) const { return {rows.count(), o_row(), gemm_.lanes, memory}; }

  template <class Body>
  void with_rows(const Tasks& tasks, index unit, Body body) const {
    const Segment segment = p_.segment(tasks.sequence(unit));
    const Split split = plan_.rows(p_, segment);
    const index group = gemm_detail::divide(unit, split.count), at = unit - group * split.count,
                first = split.begin(at);
    body(segment, group, Rows(p_, segment, group, {first, first + split.size(at)}));
  }

  void attend(const Segment& segment, index group, const Rows& rows, Span part, const Sums<T>& sums) const {
    const bool few = rows.count() <= kFewRows;
    const index row = rounded(gemm_, p_.width), most = few ? kFewRowsKeys : kBlockKeys;
    const Span all = rows.seen_by({0, rows.count()}, {0, segment.keys});
    const index end = std::min(all.last, part.last);
    T* q = scratch<T>(kSlotRows, rows.count() * row);
    rows.pack(gemm_, p_.q, {0, rows.count()}, p_.width, q, row);
    const auto at = [&](const Operand& from, index key) {
      return gemm_detail::at(from.data, p_.dtype, from.at(segment.batch, segment.k_first + key, group));
    };
    Scores<T> scores(kernels_, p_, segment, rows);
    for (index j = std::max(all.first / kAlignedKeys * kAlignedKeys, part.first); j < end; j += most) {
      const Span block{j, std::min(j + most, end)};
      if (few) {
        attend_few(scores, rows, block, at(p_.k, j), at(p_.v, j), {q, row, rows.count(), nullptr, 0, false}, sums);
      } else {
        attend_block(scores, rows, block, at(p_.k, j), at(p_.v, j), {q, row, rows.count(), nullptr, 0, false}, sums);
      }
    }
  }

  // Scores become probabilities, of which those that are dropped are 0.
  void soften(Scores<T>& scores, const Rows& rows, Span some, index block, const Sums<T>& sums) const {
    scores.alter();
    kernels_.soften({scores.tile, static_cast<T>(p_.factor()), sums.largest(some.first), sums.sum(some.first),
                     sums.o(some.first), sums.o_row, p_.v_width});
    if (dropping_ != nullptr) {
      const bool* kept = dropping_->kept(rows, some.first, scores.tile, block);
      kernels_.drop(scores.tile, kept, static_cast<T>(p_.keep_scale()));
    }
  }

  void attend_block(Scores<T>& scores, const Rows& rows, Span block, const void* k, const void* v, Product<T> product,
                    const Sums<T>& sums) const {
    const index keys = block.size(), row = rounded(gemm_, keys);
    const Panels<T> of_k(gemm_, p_.width, keys, gemm_.stream_vectors, scratch<T>(kSlotKeys, p_.width * row)),
        of_v(gemm_, keys, p_.v_width, 2, scratch<T>(kSlotValues, keys * sums.o_row));
    of_k.pack(p_.dtype, k, 1, p_.k.step);
    of_v.pack(p_.dtype, v, p_.v.step, 1);
    T* tile = scratch<T>(kSlotScores, kTileRows * row);
    const T* q = product.a;
    const Split split = Split::of(rows.count(), kTileRows);
    for (index i = 0; i < split.count; ++i) {
      const Span some{split.begin(i), split.begin(i) + split.size(i)};
      if (!scores.lay_out(some, block, tile, row)) continue;
      Product<T>{q + some.first * product.a_row, product.a_row, some.size(), tile, row, false}.run(
          of_k, {{0, p_.width}, scores.columns()});
      soften(scores, rows, some, block.first, sums);
      Product<T>{tile + scores.tile.begin, row, some.size(), sums.o(some.first), sums.o_row, true}.run(
          of_v, {scores.columns(), {0, p_.v_width}});
    }
  }

  // Few rows: keys and values are read once, where they are.
  void attend_few(Scores<T>& scores, const Rows& rows, Span block, const void* k, const void* v, Product<T> product,
                  const Sums<T>& sums) const {
    const index row = rounded(gemm_, block.size());
    T* tile = scratch<T>(kSlotScores, kFewRows * row);
    const Span all{0, rows.count()};
    if (!scores.lay_out(all, block, tile, row)) return;
    TileArgs<T> dot{};
    const Span columns = scores.columns();
    dot.rows = rows.count(), dot.cols = columns.size(), dot.k = p_.width;
    dot.a = product.a, dot.a_row = product.a_row, dot.a_col = 1;
    dot.b = static_cast<const T*>(gemm_detail::at(k, p_.dtype, columns.first * p_.k.step));
    dot.b_row = 1, dot.b_col = p_.k.step;
    dot.out = tile + columns.first, dot.out_row = row;
    dot.alpha = 1, dot.runs = 1;
    gemm_.dot(p_.dtype, dot);
    soften(scores, rows, all, block.first, sums);
    kernels_.weigh({rows.count(), columns.size(), p_.v_width, tile + columns.first, row,
                    gemm_detail::at(v, p_.dtype, columns.first * p_.v.step), p_.v.step, p_.dtype, sums.o(0),
                    sums.o_row});
  }

  void finish(const Rows& rows, const Sums<T>& sums) const {
    for (index r = 0; r < rows.count(); ++r) {
      const Rows::Place at = rows.place(r);
      T* stats = static_cast<T*>(p_.stats);
      kernels_.join({plan_.parts, p_.v_width, static_cast<T>(p_.factor()), sums.largest(r), sums.sum(r), sums.o(r),
                     room(), p_.dtype, rows.address(p_.out, at),
                     stats != nullptr ? stats + 2 * rows.number(at) : nullptr});
    }
  }

  const GemmTypeKernels<T>& gemm_;
  const AttentionTypeKernels<T>& kernels_;
  const Problem& p_;
  const Dropping* dropping_;
  const Plan plan_;
};

void run(const Problem& p, const Dropping* dropping) {
  const GemmKernels& gemm = gemm_kernels(p.device);
  const AttentionKernels& kernels = attention_kernels(p.device);
  if (p.dtype == DType::float64) {
    Forward<double>(gemm.f64, kernels.f64, p, dropping).run();
  } else {
    Forward<float>(gemm.f32, kernels.f32, p, dropping).run();
  }
}

}  // namespace
}  // namespace attention_detail

Attended attention(const AttentionInputs& in, const Array* state, const AttentionOptions& options) {
  using namespace attention_detail;
  constexpr const char* op = "scaled_dot_product_attention";
  const Checked checked(op, in, options);
  Attended left;
  left.out = Array::empty(checked.out_shape(), in.q->dtype, in.q->device);
  if (options.saves) left.stats = Array::empty(checked.stats_shape(), checked.computed(), in.q->device);
  const bool drops = options.dropout > 0;
  if (drops) require_state(op, state);
  if (drops) left.drawn = Array::empty({3}, DType::int64, in.q->device);
  Problem p = checked.problem();
  p.out = operand_of(left.out);
  p.stats = left.stats.data;
  if (left.out.size() == 0) return left;
  auto* s = drops ? state->ptr<std::int64_t>() : nullptr;
  auto* drawn = left.drawn.ptr<std::int64_t>();
  const bool high = drops && state->shape[0] == 3;
  const auto bytes = static_cast<std::size_t>(left.out.nbytes());
  launch(op, checked.work(1), checked.inputs({drops ? state : nullptr}),
         {&left.out, given(left.stats), given(left.drawn), drops ? state : nullptr}, [=] {
           if (p.offsets != nullptr) std::memset(p.out.data, 0, bytes);
           if (!drops) return run(p, nullptr);
           drawn[0] = s[0], drawn[1] = s[1], drawn[2] = high ? s[2] : 0;
           const Dropping dropping{random_kernels(p.device), p, stream_of(drawn)};
           run(p, &dropping);
           s[1] += Dropping::words(p) / 4;
         });
  if (drops) state->written();
  return left;
}

}  // namespace mlext
