// The way back: rows of queries pass by blocks of keys, whose probabilities are made again.
#include "core/isa.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "kernels/attention/door.h"
#include "kernels/attention/tile.h"
#include "kernels/gemm/rules.h"
#include "kernels/shape/shape.h"

namespace mlext {

MLEXT_DISPATCH(GemmKernels, gemm_kernels)
MLEXT_DISPATCH(AttentionKernels, attention_kernels)
MLEXT_DISPATCH(RandomKernels, random_kernels)

namespace attention_detail {
namespace {

constexpr index kBlockKeys = 192, kTileRows = 96;
// Tasks that all threads have enough of. With fewer groups of heads, blocks of keys are dealt out to several tasks, each with
// gradients of q of its own, which are added up in order: shapes alone decide.
constexpr index kTasks = 16;
// Rows of a parallel loop over all queries.
constexpr index kRowsAtOnce = 256;

index parts_of(const Problem& p) {
  const index units = std::max<index>(p.sequences * p.groups, 1);
  return std::clamp<index>(ceil_div(p.keys, kBlockKeys), 1, ceil_div(kTasks, units));
}

// Of the way back. Gradients of q, k and v have the heads of a step side by side, and the type that is computed in.
struct Gradients {
  Operand g, q, k, v;
  Operand q_parts;  // those of q by all parts but the first, one behind the other
  const void* stats;
  index parts;
};

template <class T>
class Backward {
 public:
  Backward(const GemmTypeKernels<T>& gemm, const AttentionTypeKernels<T>& kernels, const Problem& problem,
           const Gradients& gradients, const Dropping* dropping)
      : gemm_(gemm), kernels_(kernels), p_(problem), d_(gradients), dropping_(dropping) {}

  void run() {
    if (p_.offsets != nullptr || p_.lengths != nullptr) clear();
    T* sums = scratch<T>(kSlotParts, all_rows());
    along_ = sums;
    const index steps = p_.batches * p_.queries;
    parallel_for(steps, kRowsAtOnce, [&](index begin, index end) {
      for (index i = begin; i < end; ++i) add_along(gemm_detail::divide(i, p_.queries), i % p_.queries, sums);
    });
    const Tasks tasks(p_, [&](const Segment& s) { return s.queries == 0 ? 0 : p_.groups * d_.parts; });
    each(tasks.count(), [&](index task) {
      const Segment segment = p_.segment(tasks.sequence(task));
      const index group = gemm_detail::divide(task, d_.parts);
      pass(segment, group, task - group * d_.parts);
    });
    parallel_for(d_.parts > 1 ? steps : 0, kRowsAtOnce, [&](index begin, index end) {
      for (index i = begin; i < end; ++i) {
        const index n = gemm_detail::divide(i, p_.queries), t = i - n * p_.queries;
        for (index part = 1; part < d_.parts; ++part)
          kernels_.add(p_.heads * p_.width, at(of_q(part), n, t, 0), at(d_.q, n, t, 0));
      }
    });
  }

 private:
  // Memory of a task.
  struct Workspace {
    index row, q_row, g_row;
    T *q, *g, *scores, *slopes, *steepness, *of_k, *of_v;
  };

  template <class Body>
  void each(index n, Body body) const {
    parallel_for(n, gemm_detail::parallel_grain(n, 3 * p_.flops()), [&](index begin, index end) {
      for (index i = begin; i < end; ++i) poll_interrupt(), body(i);
    });
  }
  index all_rows() const { return p_.batches * p_.heads * p_.queries; }
  static T* at(const Operand& operand, index n, index t, index head) {
    return static_cast<T*>(operand.data) + operand.at(n, t, head);
  }
  // Where a part leaves those of q.
  Operand of_q(index part) const {
    if (part == 0) return d_.q;
    Operand q = d_.q_parts;
    q.data = static_cast<T*>(q.data) + (part - 1) * all_rows() * p_.width;
    return q;
  }
  // What belongs to no sequence.
  void clear() const {
    const auto wipe = [&](const Operand& a, index steps, index width) {
      for (index i = 0; i < p_.batches * steps; ++i) std::fill_n(at(a, i / steps, i % steps, 0), width, T(0));
    };
    for (index part = 0; part < d_.parts; ++part) wipe(of_q(part), p_.queries, p_.heads * p_.width);
    wipe(d_.k, p_.keys, p_.groups * p_.width), wipe(d_.v, p_.keys, p_.groups * p_.v_width);
  }
  // The sum of the gradients of a row's probabilities, each times its probability, which is that of o times its gradient.
  void add_along(index n, index t, T* to) const {
    kernels_.along({p_.heads, p_.v_width, p_.dtype, gemm_detail::at(d_.g.data, p_.dtype, d_.g.at(n, t, 0)), d_.g.head,
                    gemm_detail::at(p_.out.data, p_.dtype, p_.out.at(n, t, 0)), p_.out.head,
                    to + n * p_.heads * p_.queries + t, p_.queries});
  }

  Workspace workspace() const {
    Workspace w{};
    w.row = ceil_div(kBlockKeys, gemm_.lanes) * gemm_.lanes;
    w.q_row = rounded(gemm_, p_.width), w.g_row = rounded(gemm_, p_.v_width);
    w.q = scratch<T>(kSlotRows, kTileRows * (w.q_row + w.g_row));
    w.g = w.q + kTileRows * w.q_row;
    const index tile = kTileRows * w.row;
    w.scores = scratch<T>(kSlotScores, (p_.cap != 0 ? 3 : 2) * tile);
    w.slopes = w.scores + tile;
    w.steepness = p_.cap != 0 ? w.slopes + tile : nullptr;
    w.of_k = scratch<T>(kSlotSums, kBlockKeys * (w.q_row + w.g_row));
    w.of_v = w.of_k + kBlockKeys * w.q_row;
    return w;
  }

  // Every so many blocks of keys, past all queries of the heads that share them.
  void pass(const Segment& segment, index group, index part) const {
    const Rows rows(p_, segment, group * p_.heads_each(), {0, p_.heads_each() * segment.queries});
    const Workspace w = workspace();
    for (index j = part * kBlockKeys; j < segment.keys; j += d_.parts * kBlockKeys) {
      const Span block{j, std::min(j + kBlockKeys, segment.keys)};
      pass_block(segment, group, part, rows, block, w);
      leave(segment, group, block, w);
    }
  }
  void clear_q(const Segment& segment, const Rows& rows, Span some, index part) const {
    for (index r = some.first; r < some.last; ++r) std::fill_n(to_q(segment, rows.place(r), part), p_.width, T(0));
  }
  T* to_q(const Segment& segment, Rows::Place at, index part) const {
    return Backward::at(of_q(part), segment.batch, segment.q_first + at.query, at.head);
  }

  void pass_block(const Segment& segment, index group, index part, const Rows& rows, Span block,
                  const Workspace& w) const {
    const index keys = block.size();
    std::fill_n(w.of_k, keys * w.q_row, T(0));
    std::fill_n(w.of_v, keys * w.g_row, T(0));
    const Span all = rows.seen_by({0, rows.count()}, block);
    const bool first_block = block.first == part * kBlockKeys;
    if (all.size() == 0) {
      if (first_block) clear_q(segment, rows, {0, rows.count()}, part);
      return;
    }
    const auto at = [&](const Operand& from) {
      return gemm_detail::at(from.data, p_.dtype, from.at(segment.batch, segment.k_first + block.first, group));
    };
    T* memory = scratch<T>(kSlotKeys, w.row * (p_.width + p_.v_width) + keys * w.q_row);
    const Panels<T> k_down(gemm_, p_.width, keys, gemm_.stream_vectors, memory),
        v_down(gemm_, p_.v_width, keys, gemm_.stream_vectors, memory + w.row * p_.width),
        k_along(gemm_, keys, p_.width, 2, memory + w.row * (p_.width + p_.v_width));
    k_down.pack(p_.dtype, at(p_.k), 1, p_.k.step);
    v_down.pack(p_.dtype, at(p_.v), 1, p_.v.step);
    k_along.pack(p_.dtype, at(p_.k), p_.k.step, 1);
    Scores<T> scores(kernels_, p_, segment, rows);
    scores.steepness = w.steepness;
    const Split split = Split::of(segment.queries, kTileRows);
    for (index i = 0; i < p_.heads_each() * split.count; ++i) {
      const index head = gemm_detail::divide(i, split.count), tile = i - head * split.count,
                  first = head * segment.queries + split.begin(tile);
      const Span some{first, first + split.size(tile)};
      const bool sees = scores.lay_out(some, block, w.scores, w.row), adds = !first_block || !scores.even();
      if (first_block && (adds || !sees)) clear_q(segment, rows, some, part);
      if (!sees) continue;

      to_scores(scores, rows, some, block, {k_down, v_down}, w);
      add_transposed(scores, w.scores, w.row, w.g, w.g_row, w.of_v);
      add_transposed(scores, w.slopes, w.row, w.q, w.q_row, w.of_k);
      scores.each_slice(gemm_.max_rows[k_along.panels.size(0) - 1], [&](Span slice, Span columns) {
        const T* slopes = w.slopes + slice.first * w.row + columns.first;
        T* to = to_q(segment, rows.place(some.first + slice.first), part);
        Product<T>{slopes, w.row, slice.size(), to, of_q(part).step, adds, true}.run(k_along, {columns, {0, p_.width}});
      });
    }
  }

  // Probabilities and gradients of scores of a tile.
  void to_scores(Scores<T>& scores, const Rows& rows, Span some, Span block, const Panels<T> (&factors)[2],
                 const Workspace& w) const {
    rows.pack(gemm_, p_.q, some, p_.width, w.q, w.q_row);
    rows.pack(gemm_, d_.g, some, p_.v_width, w.g, w.g_row);
    scores.each_slice(gemm_.max_rows[factors[0].panels.size(0) - 1], [&](Span slice, Span columns) {
      const auto multiply = [&](const T* a, index a_row, const Panels<T>& b, T* out) {
        Product<T>{a + slice.first * a_row, a_row, slice.size(), out + slice.first * w.row, w.row, false}.run(
            b, {{0, b.k}, columns});
      };
      multiply(w.q, w.q_row, factors[0], w.scores);
      multiply(w.g, w.g_row, factors[1], w.slopes);
    });
    scores.alter();
    const index number = rows.number(rows.place(some.first));
    const T factor = static_cast<T>(p_.factor()), scale = static_cast<T>(p_.scale),
            keep_scale = static_cast<T>(p_.keep_scale()), *stats = static_cast<const T*>(d_.stats) + 2 * number;
    ScoreGradientArgs<T> args{scores.tile,     w.slopes,    factor,  scale,     stats,
                              along_ + number, w.steepness, nullptr, keep_scale};
    if (dropping_ != nullptr) args.kept = dropping_->kept(rows, some.first, scores.tile, block.first);
    kernels_.gradient(args);
  }

  // out += a^T b, for columns of a tile of scores, and b with a row for each of its rows.
  void add_transposed(const Scores<T>& scores, const T* a, index a_row, const T* b, index b_row, T* out) const {
    const Span columns = scores.columns();
    const Split panels = Split::of(b_row / gemm_.lanes, 2);
    for (index i = 0; i < panels.count; ++i) {
      const index vectors = panels.size(i), column = panels.begin(i) * gemm_.lanes;
      const Split heights = Split::of(columns.size(), gemm_.max_rows[vectors - 1]);
      for (index h = 0; h < heights.count; ++h) {
        const index first = columns.first + heights.begin(h);
        const Span depth = scores.seeing({first, first + heights.size(h)});
        TileArgs<T> tile{};
        tile.rows = heights.size(h), tile.cols = vectors * gemm_.lanes, tile.k = depth.size();
        tile.a = a + depth.first * a_row + first, tile.a_row = 1, tile.a_col = a_row;
        tile.b = b + depth.first * b_row + column, tile.b_row = b_row, tile.b_col = 1;
        tile.in = tile.out = out + first * b_row + column;
        tile.in_row = tile.out_row = b_row;
        tile.alpha = tile.beta = 1, tile.runs = 1;
        if (tile.k > 0) gemm_.tile[vectors - 1][tile.rows - 1](tile);
      }
    }
  }

  // Gradients of a block of keys and values.
  void leave(const Segment& segment, index group, Span block, const Workspace& w) const {
    for (index j = 0; j < block.size(); ++j) {
      const index step = segment.k_first + block.first + j;
      std::copy_n(w.of_k + j * w.q_row, p_.width, at(d_.k, segment.batch, step, group));
      std::copy_n(w.of_v + j * w.g_row, p_.v_width, at(d_.v, segment.batch, step, group));
    }
  }

  const GemmTypeKernels<T>& gemm_;
  const AttentionTypeKernels<T>& kernels_;
  const Problem& p_;
  const Gradients& d_;
  const Dropping* dropping_;
  const T* along_ = nullptr;
};

void run(const Problem& p, const Gradients& gradients, const Dropping* dropping) {
  const GemmKernels& gemm = gemm_kernels(p.device);
  const AttentionKernels& kernels = attention_kernels(p.device);
  if (p.dtype == DType::float64) {
    Backward<double>(gemm.f64, kernels.f64, p, gradients, dropping).run();
  } else {
    Backward<float>(gemm.f32, kernels.f32, p, gradients, dropping).run();
  }
}

}  // namespace
}  // namespace attention_detail

AttentionGradients attention_gradient(const AttentionInputs& in, const Array& g, const Attended& left,
                                      const AttentionOptions& options) {
  using namespace attention_detail;
  constexpr const char* op = "scaled_dot_product_attention_gradient";
  const Checked checked(op, in, options);
  const DType dtype = in.q->dtype, computed = checked.computed();
  const auto check = [&](const char* name, const Array& a, DType expected, const Dims& shape) {
    require_dtype(op, name, a, expected, "");
    require_shape(op, name, a, shape, "");
  };
  check("g", g, dtype, checked.out_shape());
  check("out", left.out, dtype, checked.out_shape());
  check("stats", left.stats, computed, checked.stats_shape());
  if (options.dropout > 0) check("drawn", left.drawn, DType::int64, {3});
  Problem p = checked.problem();
  const Array of_out = with_features(g), out = with_features(left.out), stats = dense(left.stats);
  const Array* operands[] = {&checked.q(), &checked.k(), &checked.v()};
  Array made[3];
  rooms_like(operands, 3, 2, computed, made);
  auto& [q, k, v] = made;
  p.out = operand_of(out);
  const index parts = parts_of(p);
  Array more;
  if (parts > 1) more = Array::empty({(parts - 1) * p.batches, p.queries, p.heads, p.width}, computed, q.device);
  const Gradients d{operand_of(of_out), operand_of(q), operand_of(k), operand_of(v),
                    operand_of(more),   stats.data,    parts};
  const std::int64_t* drawn = options.dropout > 0 ? left.drawn.ptr<std::int64_t>() : nullptr;
  if (q.size() == 0 || v.size() + k.size() == 0 || left.out.size() == 0) {
    for (const Array& a : made) fill_into(0, a);
  } else {
    launch(op, checked.work(2.5), checked.inputs({&of_out, &out, &stats, given(left.drawn)}), {&q, &k, &v, given(more)},
           [=] {
             if (drawn == nullptr) return run(p, d, nullptr);
             const Dropping dropping{random_kernels(p.device), p, stream_at(drawn, 3)};
             run(p, d, &dropping);
           });
  }
  for (Array& a : made) a = dtype == computed ? a : cast(a, dtype);
  return {q, k, v};
}

}  // namespace mlext
