#include "kernels/elementwise/transpose.h"

#include <algorithm>

#include "core/isa.h"
#include "core/launch.h"
#include "core/loop.h"
#include "core/parallel.h"

namespace mlext {

MLEXT_DISPATCH(TransposeKernels, transpose_kernels)

namespace {

// Elements along each side of the square a task copies: both sides of it (2 x 64 KiB of float32) fit L2, and the 128
// pages an input walk touches fit the second-level TLB.
constexpr index kSquare = 128;

// The operands of a copy: axis `across` is contiguous in the input, the last one in the output.
struct TransposedCopy {
  Loop loop;
  int across;
  void (*kernel)(const TransposeArgs&);
  const char* in;
  char* out;

  void operator()() const;
};

void TransposedCopy::operator()() const {
  const int last = loop.rank - 1;
  const index rows = loop.shape[across], columns = loop.shape[last], size = loop.itemsize[0];
  const index row_squares = (rows + kSquare - 1) / kSquare, column_squares = (columns + kSquare - 1) / kSquare;
  index outer = 1;
  for (int i = 0; i < last; ++i) outer *= i == across ? 1 : loop.shape[i];
  const index grain =
      std::max<index>(1, kSquare * kSquare / std::max<index>(1, std::min(rows, kSquare) * std::min(columns, kSquare)));
  parallel_for(outer * row_squares * column_squares, grain, [&](index begin, index end) {
    for (index task = begin; task < end; ++task) {
      const index c = task % column_squares * kSquare, r = task / column_squares % row_squares * kSquare;
      index in_at = r + c * loop.step[0][last], out_at = r * loop.step[1][across] + c;
      for (index rest = task / column_squares / row_squares, i = last - 1; i >= 0; --i) {
        if (i == across) continue;
        in_at += rest % loop.shape[i] * loop.step[0][i];
        out_at += rest % loop.shape[i] * loop.step[1][i];
        rest /= loop.shape[i];
      }
      kernel({in + in_at * size, out + out_at * size, loop.step[0][last], loop.step[1][across],
              std::min(kSquare, rows - r), std::min(kSquare, columns - c)});
    }
  });
}

}  // namespace

bool copy_transposed(const Array& in, const Array& out) {
  constexpr index kSmallest = 2;
  if (in.size() < 64 || in.dtype != out.dtype || !(in.shape == out.shape)) return false;
  TransposedCopy copy;
  copy.loop.add(in, out.shape);
  copy.loop.add(out, out.shape);
  copy.loop.collapse();
  const Loop& loop = copy.loop;
  const int last = loop.rank - 1;
  if (loop.step[1][last] != 1 || loop.step[0][last] <= 1 || loop.shape[last] < kSmallest) return false;
  copy.across = -1;
  for (int i = 0; i < last; ++i) {
    if (loop.step[0][i] == 1 && loop.step[1][i] != 0 && loop.shape[i] >= kSmallest) copy.across = i;
  }
  if (copy.across < 0) return false;
  const index size = loop.itemsize[0];
  copy.kernel = transpose_kernels(out.device).transpose[size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3];
  copy.in = in.ptr<char>();
  copy.out = out.ptr<char>();
  launch("transpose", Work{0, 2.0 * static_cast<double>(out.nbytes())}, {&in}, {&out}, copy);
  out.written();
  return true;
}

}  // namespace mlext
