// Images seen as columns: how channels, groups and rows lie in memory, and the blocks of rows that tasks take.
#pragma once

#include <algorithm>

#include "core/array.h"
#include "core/parallel.h"
#include "kernels/norm/norm.h"

namespace mlext {

// Elements of one chunk of a parallel loop.
inline constexpr index kChunk = 1 << 15;
// Rows of a block: enough for 16 blocks to share, within bounds. The upper one bounds what kNear of the kernels does to
// the accuracy.
inline constexpr index kLeastRows = 64, kMostRows = 1024;
// Columns of a strip that are worth a loop of their own; where there are fewer, rows are joined.
inline constexpr index kWide = 64;

// x as (samples, rows, columns), where a row of few channels is `fold` rows of x.
struct NormColumns {
  index samples, rows, columns, fold, channels, groups;
  index block, blocks;  // rows, and how many of a sample

  NormColumns(const Dims& x, const NormOptions& options) {
    channels = x[x.rank - 1];
    groups = options.groups;
    samples = options.per_sample ? x[0] : 1;
    rows = 1;
    for (int i = options.per_sample ? 1 : 0; i < x.rank - 1; ++i) rows *= x[i];
    for (fold = 1; channels * fold < kWide && rows % 2 == 0; fold *= 2) rows /= 2;
    columns = channels * fold;
    block = std::clamp((rows / 16 + kLeastRows - 1) / kLeastRows * kLeastRows, kLeastRows, kMostRows);
    blocks = (rows + block - 1) / block;
  }
  index rows_of(index b) const { return std::min(block, rows - b * block); }
  index members() const { return rows * fold * (channels / groups); }

  // f(args) for every block of rows; backwards in the pass that ends an op, because what the pass before it read last is
  // still near.
  template <class C, class F>
  void each_block(const NormArgs& all, index size, bool backwards, F f) const {
    const index count = samples * blocks;
    parallel_for(count, kChunk / std::max<index>(std::min(block, rows) * columns, 1) + 1, [&](index begin, index end) {
      for (; begin < end; ++begin) {
        const index i = backwards ? count - 1 - begin : begin;
        const index n = i / blocks, b = i % blocks;
        const index at = (n * rows + b * block) * columns * size;
        const index vector = n * columns * static_cast<index>(sizeof(C));
        NormArgs args = all;
        args.x = moved(all.x, at);
        args.g = moved(all.g, at);
        args.out = moved(all.out, at);
        args.rows = rows_of(b);
        args.columns = columns;
        for (auto* p : {&args.mean, &args.scale, &args.shift, &args.by_x, &args.by_one}) {
          *p = moved(*p, vector);
        }
        if (all.sums != nullptr) args.sums = all.sums + i * 2 * columns;
        f(args);
      }
    });
  }

  // f(group, channel, column) for the columns of a group, channel by channel.
  template <class F>
  void each_column(index group, F f) const {
    const index width = channels / groups;
    for (index c = group * width; c < (group + 1) * width; ++c) {
      for (index k = 0; k < fold; ++k) f(c, k * channels + c);
    }
  }
  index group_grain() const { return kChunk / 8 / std::max<index>(samples * blocks * columns / groups, 1) + 1; }
};

}  // namespace mlext
