#include "kernels/elementwise/elementwise.h"

#include <algorithm>
#include <cstring>

#include "core/element.h"
#include "core/isa.h"
#include "core/launch.h"
#include "core/loop.h"
#include "core/parallel.h"
#include "kernels/elementwise/order.h"
#include "kernels/elementwise/transpose.h"

namespace mlext {

MLEXT_DISPATCH(ElementwiseKernels, elementwise_kernels)

namespace {

// One chunk of a parallel loop: small enough to spread 64 K elements over threads, large enough to hide a claim (50 ns).
constexpr index kChunk = 16384;
// Strided and half operands pass through blocks of this many elements on the stack, 2 KiB each.
constexpr index kBlock = 256;

struct OpInfo {
  const char* name;
  bool is_test;  // bool output
};
constexpr OpInfo kOps[kMapOps] = {
#define MLEXT_MAP(name, ...) {#name, false},
#define MLEXT_TEST(name, ...) {#name, true},
    MLEXT_FLOAT_MAPS(MLEXT_MAP) MLEXT_COMPARES(MLEXT_TEST) MLEXT_LOGICALS(MLEXT_TEST)
#undef MLEXT_MAP
#undef MLEXT_TEST
};
const char* op_name(MapOp op) { return kOps[static_cast<int>(op)].name; }

union Constant {
  double f64;
  float f32;
  std::int64_t i64;
  unsigned char bytes[8];
};

Constant constant_of(double value, DType dtype) {
  Constant c{};
  Element(value, dtype).put(c.bytes);
  return c;
}

// Everything a launch needs, by value. Inputs are operands 0 .. inputs-1 of the loop, the output is the last.
struct Run {
  Loop loop;
  MapFn fn = nullptr;
  int inputs = 0;
  const void* in[kMapInputs] = {};  // null: a constant
  Constant constant[kMapInputs] = {};
  void* out = nullptr;
  double p[2] = {};
  // Half types compute in float32: converted on the way in and out.
  MapFn widen[kMapInputs] = {};
  MapFn narrow = nullptr;

  void operator()() const;
  bool in_place(int operand, bool converts) const {
    const index step = loop.step[operand][loop.rank - 1];
    return !converts && (step == 0 || step == 1);
  }
  void row(const char* const* at, char* to, index n) const;
  void staged(const char* const* at, char* to, index n) const;
};

void gather(const char* from, index step, index size, index n, char* to) {
  auto copy = [&]<class U>(U*) {
    for (index i = 0; i < n; ++i) reinterpret_cast<U*>(to)[i] = reinterpret_cast<const U*>(from)[i * step];
  };
  if (size == 1) return copy(static_cast<std::uint8_t*>(nullptr));
  if (size == 2) return copy(static_cast<std::uint16_t*>(nullptr));
  if (size == 4) return copy(static_cast<std::uint32_t*>(nullptr));
  copy(static_cast<std::uint64_t*>(nullptr));
}

void scatter(const char* from, index step, index size, index n, char* to) {
  auto copy = [&]<class U>(U*) {
    for (index i = 0; i < n; ++i) reinterpret_cast<U*>(to)[i * step] = reinterpret_cast<const U*>(from)[i];
  };
  if (size == 1) return copy(static_cast<std::uint8_t*>(nullptr));
  if (size == 2) return copy(static_cast<std::uint16_t*>(nullptr));
  if (size == 4) return copy(static_cast<std::uint32_t*>(nullptr));
  copy(static_cast<std::uint64_t*>(nullptr));
}

void call(MapFn fn, const void* from, index step, void* to, index n) {
  MapArgs args{};
  args.in[0] = from;
  args.step[0] = step;
  args.out = to;
  args.n = n;
  fn(args);
}

// n elements of the innermost axis from the given addresses.
void Run::row(const char* const* at, char* to, index n) const {
  bool direct = narrow == nullptr && loop.step[inputs][loop.rank - 1] == 1;
  for (int i = 0; i < inputs; ++i) direct = direct && (in[i] == nullptr || in_place(i, widen[i] != nullptr));
  if (!direct) return staged(at, to, n);
  MapArgs args{};
  for (int i = 0; i < inputs; ++i) {
    args.in[i] = in[i] == nullptr ? static_cast<const void*>(constant[i].bytes) : at[i];
    args.step[i] = in[i] == nullptr ? 0 : loop.step[i][loop.rank - 1];
  }
  args.out = to;
  args.n = n;
  args.p[0] = p[0];
  args.p[1] = p[1];
  fn(args);
}

// The same through blocks of contiguous memory in the compute type.
void Run::staged(const char* const* at, char* to, index n) const {
  alignas(64) char block[kMapInputs + 1][kBlock * 8];
  alignas(64) char raw[kBlock * 8];
  const int axis = loop.rank - 1;
  for (index begin = 0; begin < n; begin += kBlock) {
    const index count = std::min(kBlock, n - begin);
    MapArgs args{};
    for (int i = 0; i < inputs; ++i) {
      if (in[i] == nullptr) {
        args.in[i] = constant[i].bytes;
        continue;
      }
      const index step = loop.step[i][axis], size = loop.itemsize[i];
      const char* from = at[i] + begin * step * size;
      args.step[i] = step == 0 ? 0 : 1;
      const index needed = step == 0 ? 1 : count;
      if (step > 1 || step < 0) {
        char* gathered = widen[i] == nullptr ? block[i] : raw;
        gather(from, step, size, count, gathered);
        from = gathered;
      }
      if (widen[i] != nullptr) {
        call(widen[i], from, 1, block[i], needed);
        from = block[i];
      }
      args.in[i] = from;
    }
    const index step = loop.step[inputs][axis], size = loop.itemsize[inputs];
    char* target = to + begin * step * size;
    const bool strided = step != 1;
    args.out = strided || narrow != nullptr ? block[kMapInputs] : target;
    args.n = count;
    args.p[0] = p[0];
    args.p[1] = p[1];
    fn(args);
    if (narrow != nullptr) call(narrow, block[kMapInputs], 1, strided ? raw : target, count);
    if (strided) scatter(narrow != nullptr ? raw : block[kMapInputs], step, size, count, target);
  }
}

void Run::operator()() const {
  const index inner = loop.inner(), axis = loop.rank - 1;
  if (loop.rank == 1) {
    parallel_for(inner, kChunk, [&](index begin, index end) {
      const char* at[kMapInputs];
      for (int i = 0; i < inputs; ++i) {
        at[i] = static_cast<const char*>(in[i]) + begin * loop.step[i][axis] * loop.itemsize[i];
      }
      row(at, static_cast<char*>(out) + begin * loop.step[inputs][axis] * loop.itemsize[inputs], end - begin);
    });
    return;
  }
  parallel_for(loop.outer(), std::max<index>(1, kChunk / inner), [&](index begin, index end) {
    for (index o = begin; o < end; ++o) {
      const char* at[kMapInputs];
      for (int i = 0; i < inputs; ++i) at[i] = static_cast<const char*>(in[i]) + loop.offset(i, o);
      row(at, static_cast<char*>(out) + loop.offset(inputs, o), inner);
    }
  });
}

MapFn cast_fn(const ElementwiseKernels& kernels, DType from, DType to) {
  return kernels.cast[static_cast<int>(from)][static_cast<int>(to)];
}

// The memory range an array can touch, for overlap checks.
bool overlaps_partly(const Array& a, const Array& out) {
  if (a.data == out.data && a.shape == out.shape && a.strides == out.strides) return false;
  auto range = [](const Array& x, const char*& low, const char*& high) {
    low = high = static_cast<const char*>(x.data);
    for (int i = 0; i < x.rank(); ++i) {
      const index reach = (x.shape[i] - 1) * x.strides[i] * item_size(x.dtype);
      (reach < 0 ? low : high) += reach;
    }
    high += item_size(x.dtype);
  };
  if (a.size() == 0 || out.size() == 0) return false;
  const char *a_low, *a_high, *o_low, *o_high;
  range(a, a_low, a_high);
  range(out, o_low, o_high);
  return a_low < o_high && o_low < a_high;
}

// Fills in loop, pointers and constants; arrays that overlap the output in another place are copied first.
void bind_operands(Run& run, const MapOperand* operands, int count, const Array& out, DType constant_dtype,
                   std::vector<Array>& kept, std::vector<const Array*>& touched) {
  run.inputs = count;
  kept.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    if (operands[i].array == nullptr) {
      run.constant[i] = constant_of(operands[i].value, constant_dtype);
      Array one;
      one.dtype = constant_dtype;
      run.loop.add(one, out.shape);
      continue;
    }
    const Array* array = operands[i].array;
    if (overlaps_partly(*array, out)) {
      kept.push_back(cast(*array, array->dtype));
      array = &kept.back();
    }
    run.in[i] = array->data;
    run.loop.add(*array, out.shape);
    touched.push_back(array);
  }
  run.out = out.data;
  run.loop.add(out, out.shape);
  run.loop.collapse();
}

void require_unique_elements(const char* op, const Array& out) {
  for (int i = 0; i < out.rank(); ++i) {
    if (out.shape[i] > 1 && out.strides[i] == 0) {
      throw ValueError(
          text(op, ": argument 'out': expected memory of its own for every element, got a broadcast view"));
    }
  }
}

void start(const char* name, Run&& run, const std::vector<const Array*>& touched, const Array& out) {
  const index n = out.size();
  if (n > 0) {
    Work work{static_cast<double>(n), static_cast<double>(out.nbytes())};
    for (const Array* array : touched) work.bytes += static_cast<double>(array->nbytes());
    launch(name, work, touched, {&out}, std::move(run));
  }
  out.written();
}

// The same for the usual case: every operand dense and of the output's shape, or a number. Small enough that a call on a
// handful of elements costs little more than its kernel.
struct FlatRun {
  MapFn fn;
  MapArgs args;
  Constant constant[kMapInputs];
  bool is_constant[kMapInputs];
  index size;  // bytes per input element
  index out_size;

  void operator()() const {
    parallel_for(args.n, kChunk, [&](index begin, index end) {
      MapArgs part = args;
      for (int i = 0; i < kMapInputs; ++i) {
        part.in[i] = is_constant[i]          ? static_cast<const void*>(constant[i].bytes)
                     : args.in[i] == nullptr ? nullptr
                                             : static_cast<const char*>(args.in[i]) + begin * size;
      }
      part.out = static_cast<char*>(args.out) + begin * out_size;
      part.n = end - begin;
      fn(part);
    });
  }
};

bool is_flat(const MapOperand* operands, int count, const Array& out) {
  if (!out.is_dense()) return false;
  for (int i = 0; i < count; ++i) {
    const Array* a = operands[i].array;
    if (a != nullptr && !(a->shape == out.shape && a->is_dense())) return false;
    // Partial overlap is for the general path to sort out.
    if (a != nullptr && a->data != out.data && a->buffer.get() == out.buffer.get()) return false;
  }
  return true;
}

void run_flat(MapOp op, MapFn fn, const MapOperand* operands, int count, DType dtype, const Array& out, double p0,
              double p1) {
  FlatRun run{fn, {}, {}, {}, item_size(dtype), item_size(out.dtype)};
  run.args.out = out.data;
  run.args.n = out.size();
  run.args.p[0] = p0;
  run.args.p[1] = p1;
  const double n = static_cast<double>(run.args.n);
  for (int i = 0; i < count; ++i) {
    run.is_constant[i] = operands[i].array == nullptr;
    run.args.step[i] = run.is_constant[i] ? 0 : 1;
    if (run.is_constant[i]) {
      run.constant[i] = constant_of(operands[i].value, dtype);
    } else {
      run.args.in[i] = operands[i].array->data;
    }
  }
  if (run.args.n > 0) {
    const Array* second = count > 1 ? operands[1].array : nullptr;
    launch(op_name(op), {n, n * static_cast<double>(run.size * count + run.out_size)}, {operands[0].array, second},
           {&out}, run);
  }
  out.written();
}

DType common_dtype(MapOp op, const MapOperand* operands, int count) {
  const Array* first = nullptr;
  for (int i = 0; i < count; ++i) {
    if (operands[i].array == nullptr) continue;
    if (first == nullptr) {
      first = operands[i].array;
    } else if (operands[i].array->dtype != first->dtype) {
      throw TypeError(text(op_name(op), ": expected one dtype for all arguments, got ", first->dtype, " and ",
                           operands[i].array->dtype, "; convert one with .astype()"));
    }
  }
  if (first == nullptr) throw TypeError(text(op_name(op), ": expected at least one Tensor or ndarray, got numbers"));
  return first->dtype;
}

MapFn map_fn(MapOp op, DType compute, DType dtype) {
  const MapFn fn = elementwise_kernels(Device::cpu).map[static_cast<int>(op)][static_cast<int>(compute)];
  if (fn == nullptr) throw TypeError(text(op_name(op), ": not defined for dtype ", dtype));
  return fn;
}

}  // namespace

void elementwise_into(MapOp op, const MapOperand* operands, int count, const Array& out, double p0, double p1) {
  const DType dtype = common_dtype(op, operands, count);
  const DType compute = is_half(dtype) ? DType::float32 : dtype;
  const auto& kernels = elementwise_kernels(out.device);
  const MapFn fn = map_fn(op, compute, dtype);
  require_writable(op_name(op), "out", out);
  if (dtype == compute && is_flat(operands, count, out)) return run_flat(op, fn, operands, count, dtype, out, p0, p1);
  require_unique_elements(op_name(op), out);
  Run run;
  run.fn = fn;
  run.p[0] = p0;
  run.p[1] = p1;
  std::vector<Array> kept;
  std::vector<const Array*> touched;
  bind_operands(run, operands, count, out, compute, kept, touched);
  if (is_half(dtype)) {
    for (int i = 0; i < count; ++i) {
      if (run.in[i] != nullptr) run.widen[i] = cast_fn(kernels, dtype, compute);
    }
    if (out.dtype == dtype) run.narrow = cast_fn(kernels, compute, dtype);
  }
  start(op_name(op), std::move(run), touched, out);
}

Array elementwise(MapOp op, const MapOperand* operands, int count, double p0, double p1) {
  const DType dtype = common_dtype(op, operands, count);
  Dims shape;
  for (int i = 0; i < count; ++i) {
    if (operands[i].array == nullptr) continue;
    shape = i == 0 ? operands[i].array->shape : broadcast_shapes(op_name(op), shape, operands[i].array->shape);
  }
  const DType out_dtype = kOps[static_cast<int>(op)].is_test ? DType::bool_ : dtype;
  const MemoryOrder order(operands, count, shape);
  if (order.row_major()) {
    Array out = Array::empty(shape, out_dtype);
    elementwise_into(op, operands, count, out, p0, p1);
    return out;
  }
  // With the axes of all as they lie in memory it is the same work, in one run; the result is a view of that.
  Array views[kMapInputs];
  MapOperand turned[kMapInputs];
  for (int i = 0; i < count; ++i) {
    turned[i] = operands[i];
    if (operands[i].array == nullptr) continue;
    views[i] = operands[i].array->broadcast_to(shape).permuted(order.axes);
    turned[i].array = &views[i];
  }
  const Array out = Array::empty(order.sizes, out_dtype);
  elementwise_into(op, turned, count, out, p0, p1);
  return out.permuted(order.back);
}

void cast_into(const Array& a, const Array& out) {
  const auto& kernels = elementwise_kernels(out.device);
  require_writable("copy", "out", out);
  require_unique_elements("copy", out);
  if (!(broadcast_shapes("copy", a.shape, out.shape) == out.shape)) {
    refuse("copy", "source", text("a shape that broadcasts to ", out.shape), a.shape);
  }
  Run run;
  run.fn = cast_fn(kernels, a.dtype, out.dtype);
  if (run.fn == nullptr) {
    // A half type on one side: by way of float32, one block at a time.
    if (is_half(a.dtype)) run.widen[0] = cast_fn(kernels, a.dtype, DType::float32);
    if (is_half(out.dtype)) run.narrow = cast_fn(kernels, DType::float32, out.dtype);
    run.fn =
        cast_fn(kernels, is_half(a.dtype) ? DType::float32 : a.dtype, is_half(out.dtype) ? DType::float32 : out.dtype);
  }
  std::vector<Array> kept;
  std::vector<const Array*> touched;
  const MapOperand operand{&a, 0};
  bind_operands(run, &operand, 1, out, a.dtype, kept, touched);
  start(a.dtype == out.dtype ? "copy" : "cast", std::move(run), touched, out);
}

Array cast(const Array& a, DType dtype) {
  Array out = Array::empty(a.shape, dtype);
  if (!copy_transposed(a, out)) cast_into(a, out);
  return out;
}

Array dense(const Array& a) { return dense(a, a.dtype); }
Array dense(const Array& a, DType dtype) { return a.is_dense() && a.dtype == dtype ? a : cast(a, dtype); }

void fill_into(double value, const Array& out) {
  const auto& kernels = elementwise_kernels(out.device);
  require_writable("fill", "out", out);
  const DType compute = is_half(out.dtype) ? DType::float32 : out.dtype;
  Run run;
  run.fn = cast_fn(kernels, compute, out.dtype);
  std::vector<Array> kept;
  std::vector<const Array*> touched;
  const MapOperand operand{nullptr, value};
  bind_operands(run, &operand, 1, out, compute, kept, touched);
  start("fill", std::move(run), touched, out);
}

Array where(const Array& condition, const MapOperand& a, const MapOperand& b) {
  require_dtype("where", "condition", condition, DType::bool_, "");
  const MapOperand branches[2] = {a, b};
  const Array* typed = a.array != nullptr ? a.array : b.array;
  if (typed == nullptr) throw TypeError("where: expected a Tensor or ndarray for 'a' or 'b', got two numbers");
  if (a.array != nullptr && b.array != nullptr) require_same_dtype("where", "b", *b.array, "a", *a.array);
  Dims shape = condition.shape;
  for (const MapOperand& branch : branches) {
    if (branch.array != nullptr) shape = broadcast_shapes("where", shape, branch.array->shape);
  }
  Array out = Array::empty(shape, typed->dtype);
  Run run;
  const index size = item_size(typed->dtype);
  run.fn = elementwise_kernels(out.device).where[size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3];
  const MapOperand operands[3] = {{&condition, 0}, a, b};
  std::vector<Array> kept;
  std::vector<const Array*> touched;
  bind_operands(run, operands, 3, out, typed->dtype, kept, touched);
  start("where", std::move(run), touched, out);
  return out;
}

}  // namespace mlext
