// What is brought near while a micro-kernel computes, so that the arithmetic units do not wait for L3 or memory.
#pragma once

#include <algorithm>
#include <limits>

#include "core/dtype.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/plan.h"
#include "kernels/gemm/walk.h"

namespace mlext::gemm_detail {

// What to bring near during one micro-kernel call (Ahead), as a list that a stream_tile runs down.
class AheadList {
 public:
  void add(const void* begin, index step, index count) {
    if (count > 0) items_[size_++] = {begin, step, count};
  }
  // Kernels ask for something until the end of k; `near` is in use anyway.
  const Ahead* end(const void* near) {
    items_[size_] = {near, 0, std::numeric_limits<index>::max()};
    return items_;
  }

 private:
  Ahead items_[6];  // C, a slice of packed B, its source, two rows of A, the end
  int size_ = 0;
};

// The next panel of B, packed in slices between the micro-kernel calls of the panel before: while one call computes, the
// memory of the next slice is on its way. Otherwise the arithmetic units would wait for L3 or memory.
template <class T>
struct NextPanel {
  const GemmTypeKernels<T>* kernels;
  const GemmArgs* args;
  const void* from;
  const T* b;  // where it is when packed
  T* to;       // the same, or null if an earlier chunk of rows or call packed it: only bring it near
  index width, k, cols, slice;
  index done = 0;

  const void* source() const { return at(from, args->dtype, done * args->b_row); }
  index next() const { return std::min(slice, k - done); }
  void announce(AheadList& list) const {
    const index size = item_size(args->dtype);
    // The source first: a call of few steps comes to an end before its list does, and the destination is seldom far away.
    if (to != nullptr && args->b_col == 1) {
      list.add(source(), args->b_row * size, next());
    } else if (to != nullptr && args->b_row == kernels->group) {
      list.add(source(), args->b_col * size, cols);
    }
    list.add(b + done * width, width * static_cast<index>(sizeof(T)), next());
  }
  void pack() {
    if (done == k) return;
    if (to != nullptr) {
      kernels->pack_b(args->dtype, source(), args->b_row, args->b_col, next(), cols, to + done * width, width);
    }
    done += next();
  }
};

// The rows of A of one chunk and one block of k, in place or copied. Both begin in the last micro-kernel calls of the chunk
// before: what a call asks for, a row or two, is copied after it.
template <class T>
struct ChunkRows {
  const GemmTypeKernels<T>* kernels = nullptr;
  const GemmArgs* args = nullptr;
  const void* from = nullptr;
  T* to = nullptr;  // null: in place
  index to_row = 0;
  index begin = 0, count = 0, k = 0;
  index calls = 0;  // micro-kernel calls until they are used
  index asked = 0, done = 0;

  const T* a() const { return to != nullptr ? to : static_cast<const T*>(from); }
  index a_row() const { return to != nullptr ? to_row : args->a_row; }
  index a_col() const { return to != nullptr ? 1 : args->a_col; }

  void announce(AheadList& list, index line) {
    const index left = count - asked, each = left < calls ? 0 : left == calls ? 1 : 2;
    --calls;
    if (left == 0 || args->a_col != kernels->group) return;
    for (index i = 0; i < std::min(each, left); ++i, ++asked) {
      list.add(at(from, args->dtype, asked * args->a_row), line,
               ceil_div(k * args->a_col * item_size(args->dtype), line));
    }
  }
  void pack() { pack_until(asked); }
  void finish() { pack_until(count); }

 private:
  void pack_until(index end) {
    if (to != nullptr && done < end) {
      const void* source = at(from, args->dtype, done * args->a_row);
      kernels->pack_a(args->dtype, source, args->a_row, args->a_col, end - done, k, to + done * to_row, to_row);
    }
    done = end;
  }
};

}  // namespace mlext::gemm_detail
