#include <algorithm>
#include <cstring>

#include "core/isa.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "core/scratch.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/shape/axis.h"
#include "kernels/shape/shape.h"

namespace mlext {

MLEXT_DISPATCH(ShapeKernels, shape_kernels)

namespace {

constexpr int kIndexSlot = 0;

// Indices as a launch sees them: row-major memory of some integer dtype, checked each time because a replay reads new ones.
struct IndexRun {
  const char* op;
  const void* data;
  DType dtype;
  index count, n;
  int axis;
  bool wraps;  // negative indices count from the end

  // All indices as 0 .. n-1, in scratch memory of this thread; IndexError before anything is written. Each is read once:
  // the caller's memory may change while we run, and what was checked must be what is used.
  const std::int64_t* checked() const {
    auto* out = scratch<std::int64_t>(kIndexSlot, std::max<index>(count, 1));
    visit_dtype(dtype, [&]<class T>(Type<T>) {
      if constexpr (std::is_integral_v<T>) {
        const T* from = static_cast<const T*>(data);
        for (index j = 0; j < count; ++j) {
          const index i = static_cast<index>(from[j]), wrapped = i < 0 && wraps ? i + n : i;
          if (wrapped < 0 || wrapped >= n) [[unlikely]]
            refuse_index(i, j);
          out[j] = wrapped;
        }
      }
    });
    return out;
  }

  [[noreturn]] void refuse_index(index got, index position) const {
    const index low = wraps ? -n : 0;
    throw IndexError(text(op, ": argument 'indices': expected ", low, " to ", n - 1, " for axis ", axis, " of size ", n,
                          ", got ", got, " at position ", position));
  }
};

IndexRun index_run(const char* op, const Array& indices, index n, int axis, bool wraps) {
  return {op, indices.data, indices.dtype, indices.size(), n, axis, wraps};
}

void require_indices(const char* op, const Array& indices) {
  if (!is_integer(indices.dtype)) refuse<TypeError>(op, "indices", "an integer dtype", indices.dtype);
}

// `rows` copies of `bytes` bytes, row r from source(r).
template <class Source>
void copy_rows(index rows, index bytes, char* to, Source source) {
  auto run = [&]<class U>(U*) {
    parallel_for(rows, rows_per_chunk(static_cast<index>(sizeof(U))), [&](index begin, index end) {
      for (index r = begin; r < end; ++r) reinterpret_cast<U*>(to)[r] = *reinterpret_cast<const U*>(source(r));
    });
  };
  if (bytes == 1) return run(static_cast<std::uint8_t*>(nullptr));
  if (bytes == 2) return run(static_cast<std::uint16_t*>(nullptr));
  if (bytes == 4) return run(static_cast<std::uint32_t*>(nullptr));
  if (bytes == 8) return run(static_cast<std::uint64_t*>(nullptr));
  parallel_for(rows, rows_per_chunk(bytes), [&](index begin, index end) {
    for (index r = begin; r < end; ++r) std::memcpy(to + r * bytes, source(r), static_cast<std::size_t>(bytes));
  });
}

void require_along(const char* op, const Array& indices, const Dims& shape, int axis) {
  Dims expected = shape;
  if (indices.rank() == shape.rank) expected[axis] = indices.shape[axis];
  require_shape(op, "indices", indices, expected, text(" (that of x, but for axis ", axis, ")"));
}

// Half types add up in float32.
Array in_float(const Array& g) { return is_half(g.dtype) ? cast(g, DType::float32) : dense(g); }

}  // namespace

Array take(const Array& x, const Array& indices, index axis) {
  const int d = check_axis("take", axis, x.rank());
  require_indices("take", indices);
  const AxisSplit split(x.shape, d);
  const Array from = dense(x), at = dense(indices);
  Array out = Array::empty(replace_axis(x.shape, d, indices.shape), x.dtype);
  const index bytes = split.inner * item_size(x.dtype);
  const IndexRun run = index_run("take", at, split.n, d, true);
  const char* source = from.ptr<char>();
  char* to = out.ptr<char>();
  if (at.size() == 0) return out;
  launch("take", Work{0, 2.0 * static_cast<double>(out.nbytes())}, {&from, &at}, {&out}, [=] {
    const std::int64_t* list = run.checked();
    if (split.outer == 1) {
      copy_rows(run.count, bytes, to, [=](index r) { return source + list[r] * bytes; });
    } else {
      copy_rows(split.outer * run.count, bytes, to,
                [=](index r) { return source + (r / run.count * split.n + list[r % run.count]) * bytes; });
    }
  });
  return out;
}

namespace {

// How the scatter is shared: every task owns a part of the output and walks all indices in order, so each sum has one order
// whatever the number of threads. Parts are outer positions, then blocks of the inner axis, then ranges of the indexed one.
struct ScatterTasks {
  index outer, blocks, block, ranges, range;

  ScatterTasks(const AxisSplit& split, index count) : outer(split.outer) {
    constexpr index kTasks = 16, kLine = 16;  // a block is whole cache lines of float32
    const index wanted = std::max<index>(1, kTasks / std::max<index>(outer, 1));
    block = std::max<index>(4 * kLine, (split.inner / wanted + kLine) / kLine * kLine);
    block = std::min(block, std::max<index>(split.inner, 1));
    blocks = (split.inner + block - 1) / block;
    // Walking all indices again for every range pays when there are many.
    const bool few = outer * blocks < 8 && count * split.inner >= 65536;
    ranges = few ? std::min<index>(split.n, 8 / std::max<index>(outer * blocks, 1)) : 1;
    range = (split.n + ranges - 1) / std::max<index>(ranges, 1);
  }
  index count() const { return outer * blocks * ranges; }
};

}  // namespace

Array take_backward(const Dims& shape, const Array& indices, const Array& g, index axis) {
  constexpr const char* op = "take_backward";
  const int d = check_axis(op, axis, shape.rank);
  require_indices(op, indices);
  require_floating(op, "g", g);
  require_shape(op, "g", g, replace_axis(shape, d, indices.shape), "");
  const AxisSplit split(shape, d);
  const Array from = in_float(g), at = dense(indices);
  Array out = Array::empty(shape, from.dtype);
  if (out.size() == 0 && at.size() == 0) return dense(out, g.dtype);
  const IndexRun run = index_run(op, at, split.n, d, true);
  const auto fn = shape_kernels(g.device).scatter_add[from.dtype == DType::float64];
  const index size = item_size(from.dtype);
  const char* source = from.ptr<char>();
  char* to = out.ptr<char>();
  const ScatterTasks tasks(split, run.count);
  const index bytes = out.nbytes();
  const Work work{static_cast<double>(from.size()), static_cast<double>(from.nbytes() + 2 * out.nbytes())};
  launch(op, work, {&from, &at}, {&out}, [=] {
    const std::int64_t* list = run.checked();
    parallel_for(bytes, kCopyChunk,
                 [&](index begin, index end) { std::memset(to + begin, 0, static_cast<std::size_t>(end - begin)); });
    parallel_for(tasks.count(), 1, [&](index begin, index end) {
      for (index task = begin; task < end; ++task) {
        const index low = task % tasks.ranges * tasks.range, high = std::min(split.n, low + tasks.range);
        const index column = task / tasks.ranges % tasks.blocks * tasks.block, o = task / tasks.ranges / tasks.blocks;
        const index n = std::min(tasks.block, split.inner - column);
        char* part = to + (o * split.n * split.inner + column) * size;
        fn({list, run.count, source + (o * run.count * split.inner + column) * size, split.inner, part, split.inner,
            low, high, n});
      }
    });
  });
  return dense(out, g.dtype);
}

// ---- one index per element --------------------------------------------------------------------------------------------

Array take_along(const Array& x, const Array& indices, index axis) {
  constexpr const char* op = "take_along";
  const int d = check_axis(op, axis, x.rank());
  require_indices(op, indices);
  require_along(op, indices, x.shape, d);
  const AxisSplit split(x.shape, d);
  const index picks = indices.shape[d];
  const Array from = dense(x), at = dense(indices);
  Array out = Array::empty(indices.shape, x.dtype);
  if (out.size() == 0) return out;
  const IndexRun run = index_run(op, at, split.n, d, true);
  const index size = item_size(x.dtype);
  const char* source = from.ptr<char>();
  char* to = out.ptr<char>();
  launch(op, Work{0, 2.0 * static_cast<double>(out.nbytes())}, {&from, &at}, {&out}, [=] {
    const std::int64_t* list = run.checked();
    copy_rows(run.count, size, to, [=](index r) {
      const index inner = r % split.inner, outer = r / split.inner / picks;
      return source + ((outer * split.n + list[r]) * split.inner + inner) * size;
    });
  });
  return out;
}

Array take_along_backward(const Dims& shape, const Array& indices, const Array& g, index axis) {
  constexpr const char* op = "take_along_backward";
  const int d = check_axis(op, axis, shape.rank);
  require_indices(op, indices);
  require_along(op, indices, shape, d);
  require_floating(op, "g", g);
  require_shape(op, "g", g, indices.shape, " (that of 'indices')");
  const AxisSplit split(shape, d);
  const index picks = indices.shape[d];
  const Array from = in_float(g), at = dense(indices);
  Array out = Array::empty(shape, from.dtype);
  if (out.size() == 0 && at.size() == 0) return dense(out, g.dtype);
  const IndexRun run = index_run(op, at, split.n, d, true);
  const Work work{static_cast<double>(from.size()), static_cast<double>(from.nbytes() + 2 * out.nbytes())};
  const void* source = from.data;
  void* to = out.data;
  const bool wide = from.dtype == DType::float64;
  launch(op, work, {&from, &at}, {&out}, [=] {
    const std::int64_t* list = run.checked();
    auto scatter = [&]<class T>(T* sums, const T* values) {
      // An outer position belongs to one chunk.
      parallel_for(split.outer, rows_per_chunk(split.n * split.inner * static_cast<index>(sizeof(T))),
                   [&](index begin, index end) {
                     for (index o = begin; o < end; ++o) {
                       T* part = sums + o * split.n * split.inner;
                       std::fill(part, part + split.n * split.inner, T(0));
                       for (index r = o * picks * split.inner; r < (o + 1) * picks * split.inner; ++r) {
                         part[list[r] * split.inner + r % split.inner] += values[r];
                       }
                     }
                   });
    };
    if (wide) {
      scatter(static_cast<double*>(to), static_cast<const double*>(source));
    } else {
      scatter(static_cast<float*>(to), static_cast<const float*>(source));
    }
  });
  return dense(out, g.dtype);
}

Array one_hot(const Array& indices, index classes, DType dtype) {
  require_indices("one_hot", indices);
  if (classes < 1) refuse("one_hot", "classes", "1 or more", classes);
  Dims shape = indices.shape;
  shape.push(classes);
  const Array at = dense(indices);
  Array out = Array::empty(shape, dtype);
  if (out.size() == 0) return out;
  // Labels do not count from the end: a negative one is a mistake.
  const IndexRun run = index_run("one_hot", at, classes, shape.rank - 1, false);
  Array one = Array::empty({1}, dtype);
  fill_into(1, one);
  const index size = item_size(dtype);
  const char* value = one.ptr<char>();
  char* to = out.ptr<char>();
  launch("one_hot", Work{0, static_cast<double>(out.nbytes())}, {&at, &one}, {&out}, [=] {
    const std::int64_t* list = run.checked();
    parallel_for(run.count, rows_per_chunk(classes * size), [&](index begin, index end) {
      std::memset(to + begin * classes * size, 0, static_cast<std::size_t>((end - begin) * classes * size));
      for (index r = begin; r < end; ++r) {
        std::memcpy(to + (r * classes + list[r]) * size, value, static_cast<std::size_t>(size));
      }
    });
  });
  return out;
}

}  // namespace mlext
