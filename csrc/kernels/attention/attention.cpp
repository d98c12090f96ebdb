// The way there: blocks of keys pass by rows of queries.
#include "core/isa.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "kernels/attention/door.h"
#include "kernels/attention/tile.h"
#include "kernels/gemm/qgemm.h"
#include "kernels/gemm/rules.h"

namespace mlext {

MLEXT_DISPATCH(GemmKernels, gemm_kernels)
MLEXT_DISPATCH(AttentionKernels, attention_kernels)
MLEXT_DISPATCH(RandomKernels, random_kernels)

namespace attention_detail {
namespace {

// Keys of a block, fewer if heads are wide: its panels, a tile of scores and the sums that it adds to stay in L2.
constexpr index kBlockKeys = 512, kBlockSize = 384 * 128;
// Rows of a task, which share packed keys and values: packing takes 2 per cent of their products. And of a tile.
constexpr index kTaskRows = 1024, kTaskSize = 1024 * 64, kLeastTaskRows = 64, kTileRows = 70;
// Scores of a block of few rows, which stay in L1 or near it; and keys whose values are.
constexpr index kFewScores = 8192, kWeighKeys = 16;
// Tasks that all threads have enough of; with fewer, rows or keys are split further. Shapes alone decide.
constexpr index kTasks = 16, kLeastPartKeys = 256;

// How rows and keys of a problem fall into tasks. A task of few rows takes those of all heads, so that it reads keys and values of
// a step as they lie, one head after the other: a CPU asks for what follows by itself, but not for pieces far apart.
struct Plan {
  bool few;
  index teams, task_rows, parts;  // teams: heads that share keys, or all

  explicit Plan(const Problem& p) : few(p.heads_each() * p.queries <= kFewRows), teams(few ? 1 : p.groups) {
    const index rows = p.heads / teams * p.queries, units = std::max<index>(p.sequences * teams, 1),
                wanted = ceil_div(kTasks, units);
    const index most = std::clamp(kTaskSize / std::max<index>(p.v_width, 1), kLeastTaskRows, kTaskRows);
    task_rows = few ? rows : std::clamp(ceil_div(rows, wanted), std::min(kLeastTaskRows, rows), most);
    const index tasks = units * ceil_div(rows, task_rows);
    parts = tasks < kTasks ? std::clamp<index>(p.keys / kLeastPartKeys, 1, ceil_div(kTasks, tasks)) : 1;
  }
  Split rows(const Problem& p, const Segment& segment) const {
    return Split::of(p.heads / teams * segment.queries, task_rows);
  }
  // Keys of a part.
  Span keys(const Problem& p, index part) const {
    const index each = ceil_div(ceil_div(p.keys, parts), kAlignedKeys) * kAlignedKeys;
    return {part * each, part + 1 == parts ? kUnbounded : (part + 1) * each};
  }
  // Of a block.
  index block_keys(const Problem& p, index rows) const {
    const index most = few ? kFewScores / rows : kBlockSize / std::max(p.width, p.v_width);
    return std::clamp(most / kAlignedKeys * kAlignedKeys, 2 * kAlignedKeys, kBlockKeys);
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
    const Tasks tasks(p_, [&](const Segment& s) { return s.queries == 0 ? 0 : plan_.teams * plan_.rows(p_, s).count; });
    const index count = tasks.count() * plan_.parts;
    T* shared = plan_.parts > 1 ? scratch<T>(kSlotParts, count * room()) : nullptr;
    const auto each = [&](index n, auto body) {
      parallel_for(n, gemm_detail::parallel_grain(n, p_.flops()), [&](index begin, index end) {
        for (index i = begin; i < end; ++i) poll_interrupt(), body(i);
      });
    };
    each(count, [&](index i) {
      const index unit = gemm_detail::divide(i, plan_.parts), part = i - unit * plan_.parts;
      with_rows(tasks, unit, [&](const Segment& segment, index team, const Rows& rows) {
        const Sums<T> sums = sums_of(rows, shared != nullptr ? shared + i * room() : scratch<T>(kSlotSums, room()));
        sums.clear();
        attend(segment, team, rows, plan_.keys(p_, part), sums);
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
    const index team = gemm_detail::divide(unit, split.count), at = unit - team * split.count, first = split.begin(at);
    body(segment, team, Rows(p_, segment, team * (p_.heads / plan_.teams), {first, first + split.size(at)}));
  }

  void attend(const Segment& segment, index team, const Rows& rows, Span part, const Sums<T>& sums) const {
    const index row = rounded(gemm_, p_.width), most = plan_.block_keys(p_, rows.count());
    const Span all = rows.seen_by({0, rows.count()}, {0, segment.keys});
    const index end = std::min(all.last, part.last);
    T* q = scratch<T>(kSlotRows, rows.count() * row);
    rows.pack(gemm_, p_.q, {0, rows.count()}, p_.width, q, row);
    Scores<T> scores(kernels_, p_, segment, rows);
    for (index j = std::max(all.first / kAlignedKeys * kAlignedKeys, part.first); j < end; j += most) {
      const Span block{j, std::min(j + most, end)};
      if (plan_.few) {
        attend_few(scores, rows, segment, block, q, row, sums);
      } else {
        attend_block(scores, rows, segment, block, team, q, row, sums);
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

  // Keys or values of a head from one on.
  CachedRows<T> cached(const Operand& from, const Operand& scale, const Segment& segment, index key, index head) const {
    const auto at = [&](const Operand& a) { return a.at(segment.batch, segment.k_first + key, head); };
    CachedRows<T> rows{gemm_detail::at(from.data, p_.kv_dtype, at(from)), from.step, p_.kv_dtype, nullptr, scale.step};
    if (scale.data != nullptr) rows.scale = static_cast<const T*>(scale.data) + at(scale);
    return rows;
  }

  // Keys are columns of a factor, values are rows.
  void pack(const Panels<T>& panels, CachedRows<T> from, bool keys) const {
    const index rows = keys ? panels.n : panels.k, cols = keys ? panels.k : panels.n;
    if constexpr (sizeof(T) == 4) {
      if (from.scale != nullptr) {
        T* wide = scratch<T>(kSlotWide, rows * cols);
        const auto* bytes = static_cast<const std::int8_t*>(from.data);
        expand_rows(p_.device, {bytes, from.row, from.scale, from.scale_row}, rows, cols, wide);
        from = {wide, cols, DType::float32, nullptr, 0};
      }
    }
    panels.pack(from.dtype, from.data, keys ? 1 : from.row, keys ? from.row : 1);
  }

  void attend_block(Scores<T>& scores, const Rows& rows, const Segment& segment, Span block, index team, const T* q,
                    index q_row, const Sums<T>& sums) const {
    const index keys = block.size(), row = rounded(gemm_, keys);
    const Panels<T> of_k(gemm_, p_.width, keys, gemm_.stream_vectors, scratch<T>(kSlotKeys, p_.width * row)),
        of_v(gemm_, keys, p_.v_width, 2, scratch<T>(kSlotValues, keys * sums.o_row));
    pack(of_k, cached(p_.k, p_.k_scale, segment, block.first, team), true);
    pack(of_v, cached(p_.v, p_.v_scale, segment, block.first, team), false);
    T* tile = scratch<T>(kSlotScores, kTileRows * row);
    const Split split = Split::of(rows.count(), kTileRows);
    for (index i = 0; i < split.count; ++i) {
      const Span some{split.begin(i), split.begin(i) + split.size(i)};
      if (!scores.lay_out(some, block, tile, row)) continue;
      // Where rows see different keys, as many at a time as a tile is high, each with the keys that they see.
      scores.each_slice(gemm_.max_rows[of_k.panels.size(0) - 1], [&](Span slice, Span keys) {
        Product<T>{q + (some.first + slice.first) * q_row, q_row, slice.size(), tile + slice.first * row, row, false}
            .run(of_k, {{0, p_.width}, keys});
      });
      soften(scores, rows, some, block.first, sums);
      scores.each_slice(gemm_.max_rows[of_v.panels.size(0) - 1], [&](Span slice, Span keys) {
        Product<T>{tile + slice.first * row + keys.first, row,        slice.size(),
                   sums.o(some.first + slice.first),      sums.o_row, true}
            .run(of_v, {keys, {0, p_.v_width}});
      });
    }
  }

  // Few rows of each head: keys and values are read once, as they lie.
  void attend_few(Scores<T>& scores, const Rows& rows, const Segment& segment, Span block, const T* q, index q_row,
                  const Sums<T>& sums) const {
    const index row = rounded(gemm_, block.size()), each = p_.heads_each() * segment.queries;
    T* tile = scratch<T>(kSlotScores, rows.count() * row);
    // f(first row, rows, group, first key, keys): some keys of all groups before the next ones.
    const auto walk = [&](index step, auto f) {
      for (index j = 0; j < block.size(); j += step) {
        for (index group = 0; group < p_.groups; ++group) {
          for (index r = 0; r < each; r += kScoreRows)
            f(group * each + r, std::min(kScoreRows, each - r), group, j, std::min(step, block.size() - j));
        }
      }
    };
    const index side_by_side = std::max<index>(gemm_.lanes / std::min(each, kScoreRows), 1);
    walk(side_by_side, [&](index r, index some, index group, index j, index keys) {
      kernels_.score({some, keys, p_.width, q + r * q_row, q_row,
                      cached(p_.k, p_.k_scale, segment, block.first + j, group), tile + r * row + j, row});
    });
    for (index r = 0; r < rows.count(); r += Scores<T>::kRows) {
      const Span some{r, std::min(r + Scores<T>::kRows, rows.count())};
      if (scores.lay_out(some, block, tile + r * row, row)) {
        soften(scores, rows, some, block.first, sums);
        scores.clear_outside(block);
      } else {
        std::fill_n(tile + r * row, some.size() * row, T(0));
      }
    }
    walk(kWeighKeys, [&](index r, index some, index group, index j, index keys) {
      kernels_.weigh({some, keys, p_.v_width, tile + r * row + j, row,
                      cached(p_.v, p_.v_scale, segment, block.first + j, group), sums.o(r), sums.o_row});
    });
  }

  void finish(const Rows& rows, const Sums<T>& sums) const {
    rows.each_run({0, rows.count()}, [&](index r, index some, Rows::Place at) {
      T* stats = static_cast<T*>(p_.stats);
      kernels_.join({some, plan_.parts, p_.v_width, static_cast<T>(p_.factor()), sums.largest(r), sums.sum(r),
                     sums.o(r), room(), sums.o_row, p_.dtype, rows.address(p_.out, at), p_.out.step,
                     stats != nullptr ? stats + 2 * rows.number(at) : nullptr});
    });
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
           const Dropping dropping{random_kernels(p.device), p, stream_at(drawn, 3)};
           run(p, &dropping);
           s[1] += Dropping::words(p) / 4;
         });
  if (drops) state->written();
  return left;
}

}  // namespace mlext
