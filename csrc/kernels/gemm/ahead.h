// What is brought near while a micro-kernel computes, so that the arithmetic units do not wait for L3 or memory.
#pragma once

#include <algorithm>
#include <limits>

#include "core/dtype.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/plan.h"

namespace mlext::gemm_detail {

inline const void* at(const void* base, DType dtype, index elements) {
  return static_cast<const char*>(base) + elements * item_size(dtype);
}
inline void* at(void* base, DType dtype, index elements) {
  return static_cast<char*>(base) + elements * item_size(dtype);
}

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
  Ahead items_[6];
  int size_ = 0;
};

// The next panel of B, packed in slices between the micro-kernel calls of the panel before: while one call computes, the
// memory of the next slice is on its way. Otherwise the arithmetic units would wait for L3 or memory.
template <class T>
struct NextPanel {
  const GemmTypeKernels<T>* kernels;
  const GemmArgs* args;
  const void* from;
  T* to;
  index width, k, cols, slice;
  bool packed;  // by an earlier chunk of rows: only bring it near
  index done = 0;

  const void* source() const { return at(from, args->dtype, done * args->b_row); }
  index next() const { return std::min(slice, k - done); }
  void announce(AheadList& list) const {
    const index size = item_size(args->dtype);
    list.add(to + done * width, width * static_cast<index>(sizeof(T)), next());
    if (packed) return;
    if (args->b_col == 1) list.add(source(), args->b_row * size, next());
    if (args->b_row == 1) list.add(source(), args->b_col * size, cols);
  }
  void pack() {
    if (done == k) return;
    if (!packed) kernels->pack(args->dtype, source(), args->b_row, args->b_col, next(), cols, to + done * width, width);
    done += next();
  }
};

// The rows of A of the next chunk, asked for during the last micro-kernel calls of this one: a row or two a call, as pieces
// of `line` bytes.
struct NextRows {
  const char* from = nullptr;
  index step = 0, bytes = 0, rows = 0;
  index calls = 0;  // micro-kernel calls that are left

  void announce(AheadList& list, index line) {
    for (index each = rows > calls ? 2 : 1; each > 0 && rows > 0 && calls <= rows; --each, --rows, from += step) {
      list.add(from, line, ceil_div(bytes, line));
    }
    --calls;
  }
};

}  // namespace mlext::gemm_detail
