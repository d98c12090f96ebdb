#include "kernels/softmax/softmax.h"

#include <algorithm>

#include "core/isa.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "core/scratch.h"
#include "kernels/elementwise/elementwise.h"

namespace mlext {

MLEXT_DISPATCH(SoftmaxKernels, softmax_kernels)

namespace {

// Elements per chunk of a parallel loop: an exponential costs about 0.3 ns, so a chunk is about 2 us.
constexpr index kChunk = 8192;
constexpr int kWork = 1;

// A dense array seen as (outer, n, inner) around one axis.
struct Slices {
  index outer = 1, n = 1, inner = 1;
};
Slices slices_of(const Dims& shape, int axis) {
  Slices s;
  for (int i = 0; i < shape.rank; ++i) (i < axis ? s.outer : i == axis ? s.n : s.inner) *= shape[i];
  return s;
}

struct Run {
  SoftmaxFn fn;
  Slices slices;
  const char* x;
  const char* g;
  char* out;
  index size, out_size, work_size;
  bool reduces;  // one result per slice instead of n
  const bool* mask;
  Dims mask_shape, mask_steps;  // of the axes before that of the slices

  void operator()() const {
    const index outer = slices.outer, n = slices.n, inner = slices.inner;
    const bool columns = inner > 1;
    // Rows: one task is one row. Columns: one task is a group of adjacent slices.
    const index tiles = columns ? (inner + kSoftmaxColumns - 1) / kSoftmaxColumns : 1;
    const index per_task = std::max<index>(1, n * (columns ? std::min(inner, kSoftmaxColumns) : 1));
    parallel_for(outer * tiles, std::max<index>(1, kChunk / per_task), [&](index begin, index end) {
      void* work = work_size == 0 ? nullptr : scratch(kWork, static_cast<std::size_t>(n * work_size));
      if (!columns && mask != nullptr) return masked_rows(begin, end, work);
      if (!columns) return call(begin, end - begin, 0, work);
      for (index task = begin; task < end; ++task) {
        const index c = task % tiles * kSoftmaxColumns;
        call(task / tiles, std::min(kSoftmaxColumns, inner - c), c, work);
      }
    });
  }

  void call(index first, index count, index c, void* work) const {
    const index from = first * slices.n * slices.inner + c;
    call(first, count, c, work, mask == nullptr ? nullptr : mask + from, 0);
  }
  void call(index first, index count, index c, void* work, const bool* mask_at, index mask_step) const {
    const index from = first * slices.n * slices.inner + c;
    const index to = reduces ? first * slices.inner + c : from;
    fn({x + from * size, g == nullptr ? nullptr : g + from * size, out + to * out_size, work, count, slices.n,
        slices.inner, mask_at, mask_step});
  }

  // Along the last axis before that of the slices the rows of the mask are one step apart.
  void masked_rows(index begin, index end, void* work) const {
    const int last = mask_shape.rank - 1;
    while (begin < end) {
      const index run = last < 0 ? 1 : mask_shape[last], at = begin % run, count = std::min(end - begin, run - at);
      index offset = 0;
      for (index rest = begin, i = last; i >= 0; rest /= mask_shape[static_cast<int>(i)], --i) {
        offset += rest % mask_shape[static_cast<int>(i)] * mask_steps[static_cast<int>(i)];
      }
      call(begin, count, 0, work, mask + offset, last < 0 ? 0 : mask_steps[last]);
      begin += count;
    }
  }
};

// mask: null, or in the shape of x.
void start(const char* name, SoftmaxOp op, const Array& x, const Array* g, int axis, const Array& out,
           const Array* mask = nullptr) {
  if (out.size() == 0) return;
  const auto& kernels = softmax_kernels(x.device);
  Run run{};
  run.slices = slices_of(x.shape, axis);
  const int row = static_cast<int>(op), type = static_cast<int>(x.dtype);
  const bool columns = run.slices.inner > 1;
  run.fn = columns ? kernels.columns[row][type] : kernels.rows[row][type];
  run.x = x.ptr<char>();
  run.g = g == nullptr ? nullptr : g->ptr<char>();
  run.out = out.ptr<char>();
  run.size = item_size(x.dtype);
  run.out_size = item_size(out.dtype);
  run.reduces = op == SoftmaxOp::logsumexp;
  // Exponentials of one row, or of one vector (at most 64 bytes) of columns.
  const bool keeps = op == SoftmaxOp::softmax || op == SoftmaxOp::masked_softmax;
  if (keeps && columns) run.work_size = 64;
  if (keeps && !columns && is_half(x.dtype)) run.work_size = 4;
  if (mask != nullptr) {
    run.mask = mask->ptr<bool>();
    for (int i = 0; i < axis; ++i) {
      run.mask_shape.push(mask->shape[i]);
      run.mask_steps.push(mask->strides[i]);
    }
  }
  const double elements = static_cast<double>(x.size());
  const double bytes = static_cast<double>(x.nbytes() + out.nbytes() + (g == nullptr ? 0 : g->nbytes()));
  launch(name, Work{elements * 12, bytes}, {&x, g, mask}, {&out}, run);
}

Array forward(const char* name, SoftmaxOp op, const Array& input, index axis_argument) {
  require_floating(name, "x", input);
  require_min_rank(name, "x", input, 1);
  const int axis = check_axis(name, axis_argument, input.rank());
  const Array x = dense(input);
  Array out = Array::empty(x.shape, x.dtype);
  start(name, op, x, nullptr, axis, out);
  return out;
}

Array backward(const char* name, SoftmaxOp op, const Array& output, const Array& gradient, index axis_argument) {
  require_floating(name, "y", output);
  require_min_rank(name, "y", output, 1);
  require_same_dtype(name, "g", gradient, "y", output);
  require_shape(name, "g", gradient, output.shape, " (shape of 'y')");
  const int axis = check_axis(name, axis_argument, output.rank());
  const Array y = dense(output), g = dense(gradient);
  Array out = Array::empty(y.shape, y.dtype);
  start(name, op, y, &g, axis, out);
  return out;
}

}  // namespace

Array softmax(const Array& x, index axis) { return forward("softmax", SoftmaxOp::softmax, x, axis); }
Array masked_softmax(const Array& input, const Array& mask, index axis_argument) {
  constexpr const char* kName = "softmax";
  require_floating(kName, "x", input);
  require_min_rank(kName, "x", input, 1);
  require_dtype(kName, "mask", mask, DType::bool_, "true for what takes part");
  const int axis = check_axis(kName, axis_argument, input.rank());
  if (!(broadcast_shapes(kName, input.shape, mask.shape) == input.shape)) {
    refuse(kName, "mask", text("a shape that broadcasts to that of x ", input.shape), "shape ", mask.shape);
  }
  const Array x = dense(input), spread = mask.broadcast_to(x.shape);
  const bool rows = slices_of(x.shape, axis).inner == 1 && (x.shape[axis] == 1 || spread.strides[axis] == 1);
  const Array taken = rows ? spread : dense(spread);
  Array out = Array::empty(x.shape, x.dtype);
  start(kName, SoftmaxOp::masked_softmax, x, nullptr, axis, out, &taken);
  return out;
}
Array log_softmax(const Array& x, index axis) { return forward("log_softmax", SoftmaxOp::log_softmax, x, axis); }
Array softmax_backward(const Array& y, const Array& g, index axis) {
  return backward("softmax_backward", SoftmaxOp::softmax_backward, y, g, axis);
}
Array log_softmax_backward(const Array& y, const Array& g, index axis) {
  return backward("log_softmax_backward", SoftmaxOp::log_softmax_backward, y, g, axis);
}

Array logsumexp(const Array& input, index axis_argument, bool keepdims) {
  require_floating("logsumexp", "x", input);
  require_min_rank("logsumexp", "x", input, 1);
  const int axis = check_axis("logsumexp", axis_argument, input.rank());
  const Array x = dense(input);
  Dims shape;
  for (int i = 0; i < x.rank(); ++i) {
    if (i != axis) shape.push(x.shape[i]);
    if (i == axis && keepdims) shape.push(1);
  }
  const Array out = Array::empty(shape, accumulate_dtype(x.dtype));
  start("logsumexp", SoftmaxOp::logsumexp, x, nullptr, axis, out);
  return dense(out, x.dtype);
}

}  // namespace mlext
