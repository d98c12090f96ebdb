// The range of elements that one launch over lists of arrays works on.
#pragma once

#include <algorithm>
#include <vector>

#include "core/array.h"
#include "core/parallel.h"
#include "kernels/update/update.h"

namespace mlext {

// One tensor of every list, at its place in the range of all elements.
struct Segment {
  void* at[kUpdateArrays];
  index begin;
};

// Plain data: what a closure keeps.
struct UpdatePlan {
  std::vector<Segment> segments;
  index total = 0;
  DType dtype = DType::float32;

  int row() const { return dtype == DType::float64; }
  index chunks() const { return (total + kUpdateChunk - 1) / kUpdateChunk; }

  // f(arrays, n) for every piece of a segment in chunk `c`, in order.
  template <class F>
  void pieces(index c, int arrays, F&& f) const {
    const index begin = c * kUpdateChunk, end = std::min(total, begin + kUpdateChunk);
    auto segment = std::upper_bound(segments.begin(), segments.end(), begin,
                                    [](index at, const Segment& s) { return at < s.begin; });
    --segment;
    for (index at = begin; at < end; ++segment) {
      const index stop = segment + 1 == segments.end() ? total : (segment + 1)->begin;
      const index n = std::min(stop, end) - at;
      void* from[kUpdateArrays];
      for (int k = 0; k < arrays; ++k) {
        from[k] = static_cast<char*>(segment->at[k]) + (at - segment->begin) * (dtype == DType::float64 ? 8 : 4);
      }
      f(from, n);
      at += n;
    }
  }

  // f(c) for every chunk, in parallel.
  template <class F>
  void each_chunk(F&& f) const {
    parallel_for(chunks(), 1, [&](index begin, index end) {
      for (index c = begin; c < end; ++c) f(c);
    });
  }
};

// A checked set of lists: the plan, and what a launch has to know beside it.
struct PlannedLists {
  UpdatePlan plan;
  std::vector<const Array*> inputs, outputs;
  std::vector<Array> kept;                                   // row-major copies
  std::vector<std::pair<const Array*, const Array*>> backs;  // strided target, the copy that is updated instead

  // Bumps versions and copies strided targets back: after the launch.
  void finish() const;
};

enum class Access {
  read,           // nothing is written
  update,         // lists[0] and those from 2 on are written; Tensors, row-major
  update_strided  // the same in any layout, and entries without a target are skipped
};

// lists[1] is always read only, and where it is null the entry does not take part.
PlannedLists plan_lists(const char* op, const UpdateList* lists, int count, Access access);

}  // namespace mlext
