// What the way there and the way back share: factors in panels, rows of queries, and tiles of scores.
#pragma once

#include <vector>

#include "core/scratch.h"
#include "kernels/attention/problem.h"
#include "kernels/gemm/panel_product.h"
#include "kernels/gemm/walk.h"

namespace mlext::attention_detail {

using gemm_detail::ceil_div;
using gemm_detail::Split;

// kSlotParts is that of the thread that called.
enum Slot { kSlotRows, kSlotKeys, kSlotValues, kSlotScores, kSlotSums, kSlotSpans, kSlotKept, kSlotWide, kSlotParts };

// Blocks of keys begin at multiples of this, of which whole vectors and whole words of random numbers are.
constexpr index kAlignedKeys = 16;

template <class T>
index rounded(const GemmTypeKernels<T>& gemm, index n) {
  return ceil_div(n, gemm.lanes) * gemm.lanes;
}

// A factor B (k, n) in panels, one behind the other.
template <class T>
struct Panels {
  const GemmTypeKernels<T>& gemm;
  index k, n;
  T* data;
  Split panels;

  Panels(const GemmTypeKernels<T>& kernels, index depth, index columns, index widest, T* memory)
      : gemm(kernels),
        k(depth),
        n(columns),
        data(memory),
        panels(Split::of(ceil_div(columns, kernels.lanes), widest)) {}

  index column(index panel) const { return panels.begin(panel) * gemm.lanes; }
  index width(index panel) const { return panels.size(panel) * gemm.lanes; }
  T* panel(index i) const { return data + k * column(i); }
  // From a matrix with these strides.
  void pack(DType dtype, const void* from, index row, index col) const {
    for (index i = 0; i < panels.count; ++i) {
      const index cols = std::min(column(i + 1), n) - column(i);
      gemm.pack_b(dtype, gemm_detail::at(from, dtype, column(i) * col), row, col, k, cols, panel(i), width(i));
    }
  }
};

// Steps of k and columns of a product: all, or some.
struct Part {
  Span depth, columns;
};

// out (+)= a B for some rows of a, whose first column belongs to the first step of a part. A panel is computed whole, so `out` has
// room for whole vectors, unless `exact`.
template <class T>
struct Product {
  const T* a;
  index a_row, rows;
  T* out;
  index out_row;
  bool adds, exact = false;

  void run(const Panels<T>& b, const Part& part) const {
    for (index i = 0; i < b.panels.count; ++i) {
      const index width = b.width(i), column = b.column(i);
      if (column + width <= part.columns.first || column >= part.columns.last) continue;
      gemm_detail::PanelProduct<T> product{};
      product.tile.cols = exact ? std::min(width, b.n - column) : width;
      product.tile.k = part.depth.size();
      product.tile.a = a;
      product.tile.a_row = a_row;
      product.tile.b = b.panel(i) + part.depth.first * width;
      product.tile.in = product.tile.out = out + column;
      product.tile.in_row = product.tile.out_row = out_row;
      product.tile.beta = adds ? 1 : 0;
      product.tile.runs = 1;
      product.rows = rows;
      product.vectors = b.panels.size(i);
      gemm_detail::multiply_panel(b.gemm, product);
    }
  }
};

// Queries of some heads, one head after the other: row r is query r % queries. And what they see.
class Rows {
 public:
  struct Place {
    index head, query;
  };
  Rows(const Problem& problem, const Segment& segment, index first_head, Span rows)
      : problem_(problem), segment_(segment), first_head_(first_head), rows_(rows) {
    spans_ = scratch<Span>(kSlotSpans, rows.size());
    each_run({0, rows.size()}, [&](index r, index some, Place at) {
      for (index i = 0; i < some; ++i) spans_[r + i] = problem.seen(segment, at.query + i);
    });
  }

  index count() const { return rows_.size(); }
  Place place(index r) const {
    const index head = gemm_detail::divide(rows_.first + r, segment_.queries);
    return {first_head_ + head, rows_.first + r - head * segment_.queries};
  }
  // What row r sees of keys from `block.first` on, counted from there.
  Span seen(index r, Span block) const {
    const index first = std::clamp(spans_[r].first, block.first, block.last);
    return {first - block.first, std::clamp(spans_[r].last, first, block.last) - block.first};
  }
  // What some of the rows see.
  Span seen_by(Span rows, Span block) const {
    Span all{block.size(), 0};
    for (index r = rows.first; r < rows.last; ++r) {
      const Span one = seen(r, block);
      if (one.size() > 0) all = {std::min(all.first, one.first), std::max(all.last, one.last)};
    }
    return all.first < all.last ? all : Span{0, 0};
  }
  // f(first, count, place of the first) for rows that are neighbours in one head.
  template <class F>
  void each_run(Span rows, F f) const {
    for (index r = rows.first; r < rows.last;) {
      const Place at = place(r);
      const index some = std::min(rows.last - r, segment_.queries - at.query);
      f(r, some, at);
      r += some;
    }
  }
  // Copies rows of an operand that lies as q does.
  template <class T>
  void pack(const GemmTypeKernels<T>& gemm, const Operand& from, Span rows, index width, T* to, index to_row) const {
    each_run(rows, [&](index r, index some, Place at) {
      gemm.pack_a(problem_.dtype, address(from, at), from.step, 1, some, width, to + (r - rows.first) * to_row, to_row);
    });
  }
  void* address(const Operand& operand, Place at) const {
    return gemm_detail::at(operand.data, problem_.dtype,
                           operand.at(segment_.batch, segment_.q_first + at.query, at.head));
  }
  // The number of a row among all.
  index number(Place at) const {
    return (segment_.batch * problem_.heads + at.head) * problem_.queries + segment_.q_first + at.query;
  }

 private:
  const Problem& problem_;
  const Segment& segment_;
  index first_head_;
  Span rows_;
  Span* spans_;
};

// A tile of scores of some rows and a block of keys, and what altering it takes.
template <class T>
class Scores {
 public:
  Scores(const AttentionTypeKernels<T>& kernels, const Problem& problem, const Segment& segment, const Rows& rows)
      : kernels_(kernels), problem_(problem), segment_(segment), rows_(rows) {}

  ScoreTile<T> tile;
  T* steepness = nullptr;

  // Lays out rows of a block in `memory`; false: they see nothing of it.
  bool lay_out(Span rows, Span block, T* memory, index row) {
    const Span all = rows_.seen_by(rows, block);
    if (all.size() == 0) return false;
    at_ = rows;
    block_ = block;
    tile = {rows.size(), all.first, all.last, row, memory, first_, last_};
    same_ = true;
    for (index r = 0; r < rows.size(); ++r) {
      const Span one = rows_.seen(rows.first + r, block);
      same_ = same_ && one.first == all.first && one.last == all.last;
      // None: an empty range within the tile.
      first_[r] = one.size() > 0 ? one.first : all.first;
      last_[r] = one.size() > 0 ? one.last : all.first;
    }
    return true;
  }
  Span columns() const { return {tile.begin, tile.end}; }
  // The rows that see some of these columns, and those between them.
  Span seeing(Span columns) const {
    if (same_) return {0, tile.rows};
    const auto sees = [&](index r) { return first_[r] < columns.last && last_[r] > columns.first; };
    Span rows{0, tile.rows};
    while (rows.first < rows.last && !sees(rows.first)) ++rows.first;
    while (rows.first < rows.last && !sees(rows.last - 1)) --rows.last;
    return rows;
  }
  // 0 for keys of a block that no row of the tile sees.
  void clear_outside(Span block) const {
    for (index r = 0; r < tile.rows; ++r) {
      std::fill_n(tile.s + r * tile.row, tile.begin, T(0));
      std::fill(tile.s + r * tile.row + tile.end, tile.s + r * tile.row + block.size(), T(0));
    }
  }
  // Whether all rows see the same.
  bool even() const { return same_; }
  // f(rows, columns) for all rows at once if they see the same, else for so many at a time and what these see.
  template <class F>
  void each_slice(index rows, F f) const {
    const auto seen = [&](index begin, index end) {
      return Span{*std::min_element(first_ + begin, first_ + end), *std::max_element(last_ + begin, last_ + end)};
    };
    if (same_) return f(Span{0, tile.rows}, columns());
    const Split split = Split::of(tile.rows, rows);
    for (index i = 0; i < split.count; ++i) {
      const Span slice{split.begin(i), split.begin(i) + split.size(i)}, keys = seen(slice.first, slice.last);
      if (keys.size() > 0) f(slice, keys);
    }
  }
  void alter() {
    if (!problem_.alters()) return;
    AlterArgs<T> args{
        tile,     static_cast<T>(problem_.scale), static_cast<T>(problem_.cap), nullptr, own_, nullptr, problem_.hides,
        steepness};
    if (problem_.slopes != nullptr) args.slope = slope_;
    if (problem_.mask != nullptr) args.mask = mask_;
    const index size = problem_.hides ? 1 : static_cast<index>(sizeof(T));
    for (index r = 0; r < tile.rows; ++r) {
      const Rows::Place at = rows_.place(at_.first + r);
      own_[r] = at.query + problem_.shift(segment_) - block_.first;
      if (problem_.slopes != nullptr) slope_[r] = static_cast<const T*>(problem_.slopes)[at.head];
      if (problem_.mask == nullptr) continue;
      const index row = segment_.batch * problem_.mask_batch + at.head * problem_.mask_head +
                        (segment_.q_first + at.query) * problem_.mask_row + segment_.k_first + block_.first;
      mask_[r] = static_cast<const char*>(problem_.mask) + row * size;
    }
    kernels_.alter(args);
  }

  static constexpr index kRows = 128;

 private:
  const AttentionTypeKernels<T>& kernels_;
  const Problem& problem_;
  const Segment& segment_;
  const Rows& rows_;
  Span at_{}, block_{};
  bool same_ = true;
  index first_[kRows], last_[kRows], own_[kRows];
  T slope_[kRows];
  const void* mask_[kRows];
};

// Which probabilities dropout keeps: each has a word of the stream of its own.
struct Dropping {
  const RandomKernels& kernels;
  const Problem& problem;
  Stream stream;

  template <class T>
  const bool* kept(const Rows& rows, index first, const ScoreTile<T>& tile, index block) const {
    bool* out = scratch<bool>(kSlotKept, tile.rows * tile.row);
    const double last = last_word(1 - problem.dropout);  // of those that keep one
    if (last < 0) std::fill_n(out, tile.rows * tile.row, false);
    if (last < 0) return out;
    for (index r = 0; r < tile.rows; ++r) {
      const index word = rows.number(rows.place(first + r)) * padded(problem.keys) + block;
      kernels.bernoulli(stream, word, tile.end, &last, out + r * tile.row);
    }
    return out;
  }
  static index padded(index keys) { return ceil_div(keys, kAlignedKeys) * kAlignedKeys; }
  static index words(const Problem& problem) {
    return problem.batches * problem.heads * problem.queries * padded(problem.keys);
  }
};

// All tasks of a problem: `count(segment)` of each sequence, one after the other.
class Tasks {
 public:
  template <class Count>
  Tasks(const Problem& problem, Count count) : first_(static_cast<std::size_t>(problem.sequences) + 1) {
    for (index b = 0; b < problem.sequences; ++b)
      first_[static_cast<std::size_t>(b) + 1] = first_[static_cast<std::size_t>(b)] + count(problem.segment(b));
  }
  index count() const { return first_.back(); }
  // The sequence of a task; what is left of its number there.
  index sequence(index& task) const {
    const auto next = std::upper_bound(first_.begin(), first_.end(), task);
    task -= *(next - 1);
    return next - first_.begin() - 1;
  }

 private:
  std::vector<index> first_;
};

}  // namespace mlext::attention_detail
