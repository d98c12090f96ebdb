#include "kernels/elementwise/gated.h"

#include <algorithm>

#include "core/isa.h"
#include "core/launch.h"
#include "core/loop.h"
#include "core/parallel.h"
#include "kernels/elementwise/elementwise.h"

namespace mlext {

MLEXT_DISPATCH(GatedKernels, gated_kernels)

namespace {

// Elements of one chunk of a parallel loop.
constexpr index kChunk = 1 << 13;

constexpr const char* kNames[kGatedOps] = {
#define MLEXT_NAME(name) #name,
    MLEXT_GATED(MLEXT_NAME)
#undef MLEXT_NAME
};
const char* name_of(GatedOp op) { return kNames[static_cast<int>(op)]; }

// Operands of the loop: gate, up, results (which are dense), g.
struct Run {
  GatedFn fn;
  GatedArgs args;
  Loop loop;

  void operator()() const {
    const index inner = loop.inner(), rows = loop.outer(), size = loop.itemsize[0];
    if (rows == 1) {
      parallel_for(inner, kChunk, [&](index begin, index end) { part(begin * size, 0, end - begin); });
      return;
    }
    parallel_for(rows, std::max<index>(1, kChunk / inner), [&](index begin, index end) {
      for (index r = begin; r < end; ++r) part(0, r, inner);
    });
  }

  // n elements of row r, so many bytes from its beginning on.
  void part(index bytes, index r, index n) const {
    GatedArgs at = args;
    at.n = n;
    at.gate = moved(args.gate, bytes + loop.offset(0, r));
    at.up = moved(args.up, bytes + loop.offset(1, r));
    at.out = moved(args.out, bytes + loop.offset(2, r));
    at.out_up = moved(args.out_up, bytes + loop.offset(2, r));
    if (args.g != nullptr) at.g = moved(args.g, bytes + loop.offset(3, r));
    fn(at);
  }
};

// Itself, if its last axis of more than one element is one run of memory.
Array with_runs(const Array& a) {
  int last = a.rank() - 1;
  while (last >= 0 && a.shape[last] == 1) --last;
  return last < 0 || a.strides[last] == 1 ? a : dense(a);
}

void start(const char* op, GatedFn fn, const Array& gate, const Array& up, const Array* g, const Array& out,
           const Array* out_up) {
  if (out.size() == 0) return;
  Run run{
      fn,
      {gate.data, up.data, g == nullptr ? nullptr : g->data, out.data, out_up == nullptr ? nullptr : out_up->data, 0},
      {}};
  for (const Array* a : {&gate, &up, &out, g}) {
    if (a != nullptr) run.loop.add(*a, out.shape);
  }
  run.loop.collapse();
  const int arrays = g == nullptr ? 3 : 5;
  const double n = static_cast<double>(out.size());
  launch(op, {20 * n, arrays * static_cast<double>(out.nbytes())}, {&gate, &up, g}, {&out, out_up}, run);
}

void check(const char* op, const Array& gate, const Array& up) {
  require_floating(op, "gate", gate);
  require_same_dtype(op, "up", up, "gate", gate);
  require_shape(op, "up", up, gate.shape, ", that of 'gate'");
}

}  // namespace

Array gated(GatedOp op, const Array& gate, const Array& up) {
  check(name_of(op), gate, up);
  const auto& kernels = gated_kernels(gate.device);
  const Array from = with_runs(gate), factor = with_runs(up);
  Array out = Array::empty(gate.shape, gate.dtype, gate.device);
  start(name_of(op), kernels.forward[static_cast<int>(op)][static_cast<int>(gate.dtype)], from, factor, nullptr, out,
        nullptr);
  return out;
}

void gated_gradient(GatedOp op, const Array& gate, const Array& up, const Array& g, Array& of_gate, Array& of_up) {
  check(name_of(op), gate, up);
  require_same_dtype(name_of(op), "g", g, "gate", gate);
  require_shape(name_of(op), "g", g, gate.shape, ", that of 'gate'");
  const auto& kernels = gated_kernels(gate.device);
  const Array from = with_runs(gate), factor = with_runs(up), slopes = with_runs(g);
  of_gate = Array::empty(gate.shape, gate.dtype, gate.device);
  of_up = Array::empty(gate.shape, gate.dtype, gate.device);
  start(name_of(op), kernels.gradient[static_cast<int>(op)][static_cast<int>(gate.dtype)], from, factor, &slopes,
        of_gate, &of_up);
}

}  // namespace mlext
