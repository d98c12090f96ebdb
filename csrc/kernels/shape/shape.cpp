#include "kernels/shape/shape.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/element.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/shape/axis.h"

namespace mlext {
namespace {

Work copy_work(const Array& out) { return {0, 2.0 * static_cast<double>(out.nbytes())}; }

}  // namespace

// ---- concat -----------------------------------------------------------------------------------------------------------

namespace {

// The output is one row of all pieces, `outer` times. Any range of its bytes can be copied on its own.
struct Concat {
  struct Piece {
    const char* data;
    index begin, bytes;  // place in a row
  };
  std::vector<Piece> pieces;
  index row = 0;  // bytes
  char* out = nullptr;

  void copy(index begin, index end) const {
    index row_start = begin / row * row;
    auto piece = std::upper_bound(pieces.begin(), pieces.end(), begin - row_start,
                                  [](index at, const Piece& p) { return at < p.begin; }) -
                 1;
    for (index at = begin; at < end;) {
      const index skip = at - row_start - piece->begin;
      const index n = std::min(piece->bytes - skip, end - at);
      std::memcpy(out + at, piece->data + row_start / row * piece->bytes + skip, static_cast<std::size_t>(n));
      at += n;
      if (++piece == pieces.end()) {
        piece = pieces.begin();
        row_start += row;
      }
    }
  }
};

Dims concat_shape(const Array* const* arrays, index count, int axis) {
  const Array& first = *arrays[0];
  Dims shape = first.shape;
  for (index i = 1; i < count; ++i) {
    const Array& a = *arrays[i];
    const std::string name = text("arrays[", i, "]");
    require_same_dtype("concat", name.c_str(), a, "arrays[0]", first);
    Dims expected = first.shape;
    if (a.rank() == first.rank()) expected[axis] = a.shape[axis];
    require_shape("concat", name.c_str(), a, expected, text(" (as arrays[0], but for axis ", axis, ")"));
    shape[axis] += a.shape[axis];
  }
  return shape;
}

}  // namespace

Array concat(const Array* const* arrays, index count, index axis) {
  if (count == 0) refuse("concat", "arrays", "at least one array", "none");
  for (index i = 0; i < count; ++i) {
    if (arrays[i] == nullptr) refuse<TypeError>("concat", "arrays", "Tensors or ndarrays", "None");
  }
  const int d = check_axis("concat", axis, arrays[0]->rank());
  Array out = Array::empty(concat_shape(arrays, count, d), arrays[0]->dtype);
  if (out.size() == 0) return out;
  Concat run;
  std::vector<Array> kept;
  std::vector<const Array*> touched;
  kept.reserve(static_cast<std::size_t>(count));
  for (index i = 0; i < count; ++i) {
    const AxisSplit split(arrays[i]->shape, d);
    const index bytes = split.n * split.inner * item_size(out.dtype);
    if (bytes == 0) continue;
    kept.push_back(dense(*arrays[i]));
    run.pieces.push_back({kept.back().ptr<char>(), run.row, bytes});
    run.row += bytes;
  }
  for (const Array& a : kept) touched.push_back(&a);
  run.out = out.ptr<char>();
  const index total = out.nbytes();
  const Work work = copy_work(out);
  launch("concat", work, touched, {&out}, [run = std::move(run), total] {
    parallel_for(total, kCopyChunk, [&](index begin, index end) { run.copy(begin, end); });
  });
  return out;
}

// ---- repeat and tile: broadcasts along an axis of their own -----------------------------------------------------------

Array repeat(const Array& x, index repeats, index axis) {
  const int d = check_axis("repeat", axis, x.rank());
  if (repeats < 0) refuse("repeat", "repeats", "0 or more", repeats);
  const AxisSplit split(x.shape, d);
  Array out = Array::empty(replace_axis(x.shape, d, {split.n * repeats}), x.dtype);
  const Array from = reshape(x, {split.outer * split.n, 1, split.inner});
  const Dims grouped = {split.outer * split.n, repeats, split.inner};
  cast_into(from, out.view(grouped, dense_strides(grouped)));
  return out;
}

Array tile(const Array& x, const Dims& repeats) {
  for (index r : repeats) {
    if (r < 0) refuse("tile", "repeats", "0 or more", repeats);
  }
  // Axes are added in front to have one number per axis, as NumPy does.
  Dims reps, shape;
  for (int i = repeats.rank; i < x.rank(); ++i) reps.push(1);
  for (index r : repeats) reps.push(r);
  for (int i = x.rank(); i < repeats.rank; ++i) shape.push(1);
  for (index n : x.shape) shape.push(n);
  Array out = reshape(x, shape);
  bool copied = false;
  // From the last axis on, so that the larger copies move longer runs.
  for (int d = reps.rank - 1; d >= 0; --d) {
    if (reps[d] == 1) continue;
    const AxisSplit split(out.shape, d);
    const Array from = reshape(out, {split.outer, 1, split.n * split.inner});
    out = Array::empty(replace_axis(out.shape, d, {split.n * reps[d]}), x.dtype);
    const Dims grouped = {split.outer, reps[d], split.n * split.inner};
    cast_into(from, out.view(grouped, dense_strides(grouped)));
    copied = true;
  }
  return copied ? out : cast(out, out.dtype);
}

// ---- triangles and ranges ---------------------------------------------------------------------------------------------

Array triangle(const Array& x, index k, bool upper) {
  require_min_rank(upper ? "triu" : "tril", "x", x, 2);
  const Array from = dense(x);
  Array out = Array::empty(x.shape, x.dtype);
  if (out.size() == 0) return out;
  const index rows = x.shape[x.rank() - 2], columns = x.shape[x.rank() - 1], size = item_size(x.dtype);
  const index lines = out.size() / columns;
  k = std::clamp(k, -rows, columns);
  const char* source = from.ptr<char>();
  char* to = out.ptr<char>();
  launch(upper ? "triu" : "tril", copy_work(out), {&from}, {&out}, [=] {
    parallel_for(lines, rows_per_chunk(columns * size), [&](index begin, index end) {
      for (index r = begin; r < end; ++r) {
        // The row keeps [low, high).
        const index edge = std::clamp<index>(r % rows + k + !upper, 0, columns);
        const index low = upper ? edge : 0, high = upper ? columns : edge;
        char* line = to + r * columns * size;
        std::memset(line, 0, static_cast<std::size_t>(columns * size));
        std::memcpy(line + low * size, source + (r * columns + low) * size,
                    static_cast<std::size_t>((high - low) * size));
      }
    });
  });
  return out;
}

Array arange(double start, double stop, double step, DType dtype) {
  if (step == 0 || !std::isfinite(step)) refuse("arange", "step", "a finite number other than 0", step);
  if (!std::isfinite(start)) refuse("arange", "start", "a finite number", start);
  if (dtype == DType::bool_) refuse<TypeError>("arange", "dtype", "a numeric dtype", dtype);
  const double count = std::ceil((stop - start) / step);
  if (!(count < 0x1p62)) refuse("arange", "stop", "a number that ends the range", stop);
  Array out = Array::empty({std::max<index>(0, static_cast<index>(std::max(count, 0.0)))}, dtype);
  const index n = out.size();
  if (n == 0) return out;
  require_representable("arange", "start", start, dtype);
  require_representable("arange", "step", dtype == DType::uint8 ? std::abs(step) : step, dtype);
  require_representable("arange", "stop", start + static_cast<double>(n - 1) * step, dtype);
  char* to = out.ptr<char>();
  launch("arange", copy_work(out), {}, {&out}, [=] {
    const index size = item_size(dtype);
    parallel_for(n, kCopyChunk / 8, [&](index begin, index end) {
      for (index i = begin; i < end; ++i) Element(start + static_cast<double>(i) * step, dtype).put(to + i * size);
    });
  });
  return out;
}

Array eye(index rows, index columns, index k, DType dtype) {
  Array out = Array::empty({rows, columns}, dtype);
  if (out.size() == 0) return out;
  k = std::clamp(k, -rows, columns);
  char* to = out.ptr<char>();
  const Element one(1, dtype);
  launch("eye", copy_work(out), {}, {&out}, [=] {
    parallel_for(rows, rows_per_chunk(columns * one.size), [&](index begin, index end) {
      std::memset(to + begin * columns * one.size, 0, static_cast<std::size_t>((end - begin) * columns * one.size));
      for (index r = std::max(begin, -k); r < std::min(end, columns - k); ++r)
        one.put(to + (r * columns + r + k) * one.size);
    });
  });
  return out;
}

}  // namespace mlext
