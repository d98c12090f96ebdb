#include "kernels/elementwise/elementwise.h"

#include <cmath>

#include "bind/door.h"
#include "bind/families.h"
#include "kernels/elementwise/gated.h"

namespace mlext {
namespace {

// The door of a floating op refuses integers; the others are refused where no kernel exists.
#define MLEXT_ENTRY(name, ...) MapOp::name,
constexpr MapOp kAnyDType[] = {MLEXT_INTEGER_MAPS(MLEXT_ENTRY) MLEXT_COMPARES(MLEXT_ENTRY) MLEXT_LOGICALS(MLEXT_ENTRY)};
#undef MLEXT_ENTRY

constexpr bool needs_floating(MapOp op) {
  for (const MapOp any : kAnyDType) {
    if (any == op) return false;
  }
  return true;
}

// A fraction has no value in an integer array: NumPy would promote, we ask.
MapOperand operand_of(const char* op, const char* name, const Operand& operand, const Array* other) {
  if (operand.array == nullptr && other != nullptr && !is_floating(other->dtype) &&
      operand.value != std::floor(operand.value)) {
    refuse<TypeError>(op, name, text("an integer, because the other argument is ", other->dtype), operand.value);
  }
  return {operand.array, operand.value};
}

constexpr const char* kNames[] = {
#define MLEXT_NAME(name, ...) #name,
    MLEXT_FLOAT_MAPS(MLEXT_NAME) MLEXT_COMPARES(MLEXT_NAME) MLEXT_LOGICALS(MLEXT_NAME)
#undef MLEXT_NAME
};
constexpr const char* name_of(MapOp op) { return kNames[static_cast<int>(op)]; }

template <MapOp op>
Array map1(const Array& x) {
  if (needs_floating(op)) require_floating(name_of(op), "x", x);
  const MapOperand operand{&x, 0};
  return elementwise(op, &operand, 1);
}
template <MapOp op>
Array map1_p1(const Array& x, double p) {
  require_floating(name_of(op), "x", x);
  const MapOperand operand{&x, 0};
  return elementwise(op, &operand, 1, p);
}
template <MapOp op>
Array map1_p2(const Array& x, double low, double high) {
  require_floating(name_of(op), "x", x);
  const MapOperand operand{&x, 0};
  return elementwise(op, &operand, 1, low, high);
}
template <MapOp op>
Array map2(Operand a, Operand b) {
  const MapOperand operands[2] = {operand_of(name_of(op), "a", a, b.array), operand_of(name_of(op), "b", b, a.array)};
  return elementwise(op, operands, 2);
}
template <MapOp op>
Array map2_p1(const Array& v, const Array& g, double p) {
  const MapOperand operands[2] = {{&v, 0}, {&g, 0}};
  return elementwise(op, operands, 2, p);
}
template <MapOp op>
Array map2_p2(const Array& v, const Array& g, double low, double high) {
  const MapOperand operands[2] = {{&v, 0}, {&g, 0}};
  return elementwise(op, operands, 2, low, high);
}

template <MapOp op, int inputs, int parameters>
void map_door(py::module_& m, const char* name) {
  constexpr const char* doc = "Elementwise; csrc/kernels/elementwise/ops.h has the formula.";
  if constexpr (inputs == 1 && parameters == 0) door<&map1<op>>(m, name, {"x"}, doc);
  if constexpr (inputs == 1 && parameters == 1) door<&map1_p1<op>>(m, name, {"x", "p"}, doc);
  if constexpr (inputs == 1 && parameters == 2) door<&map1_p2<op>>(m, name, {"x", "low", "high"}, doc);
  if constexpr (inputs == 2 && parameters == 0) door<&map2<op>>(m, name, {"a", "b"}, doc);
  if constexpr (inputs == 2 && parameters == 1) door<&map2_p1<op>>(m, name, {"v", "g", "p"}, doc);
  if constexpr (inputs == 2 && parameters == 2) door<&map2_p2<op>>(m, name, {"v", "g", "low", "high"}, doc);
}

template <GatedOp op>
Array gated_door(const Array& gate, const Array& up) {
  return gated(op, gate, up);
}
template <GatedOp op>
std::tuple<Array, Array> gated_gradient_door(const Array& gate, const Array& up, const Array& g) {
  std::tuple<Array, Array> out;
  gated_gradient(op, gate, up, g, std::get<0>(out), std::get<1>(out));
  return out;
}

// In place: out = op(out, b). The target must be a Tensor, or an ndarray that can be written.
template <MapOp op>
void map2_in_place(const Array& out, Operand b) {
  const MapOperand operands[2] = {{&out, 0}, operand_of(name_of(op), "b", b, &out)};
  if (b.array != nullptr && !(broadcast_shapes(name_of(op), out.shape, b.array->shape) == out.shape)) {
    refuse(name_of(op), "b", text("a shape that broadcasts to ", out.shape), b.array->shape);
  }
  elementwise_into(op, operands, 2, out);
}

void copy_in_place(const Array& out, Operand source) {
  if (source.array != nullptr) return cast_into(*source.array, out);
  fill_into(source.value, out);
}

Array cast_door(const Array& x, DType dtype) { return cast(x, dtype); }
Array dense_door(Kept x) { return dense(x.array); }
Array where_door(const Array& condition, Operand a, Operand b) {
  return where(condition, operand_of("where", "a", a, b.array), operand_of("where", "b", b, a.array));
}
Array full(const Dims& shape, double value, DType dtype) {
  Array out = Array::empty(shape, dtype);
  fill_into(value, out);
  return out;
}
Array full_door(Dims shape, double value, DType dtype) { return full(shape, value, dtype); }
Array full_like(const Array& x, double value) { return full(x.shape, value, x.dtype); }
Array empty_door(Dims shape, DType dtype) { return Array::empty(shape, dtype); }

}  // namespace

void bind_elementwise(py::module_& m) {
#define MLEXT_DOOR(name, inputs, parameters) map_door<MapOp::name, inputs, parameters>(m, #name);
  MLEXT_FLOAT_MAPS(MLEXT_DOOR)
#undef MLEXT_DOOR
#define MLEXT_DOOR(name, inputs) map_door<MapOp::name, inputs, 0>(m, #name);
  MLEXT_COMPARES(MLEXT_DOOR)
  MLEXT_LOGICALS(MLEXT_DOOR)
#undef MLEXT_DOOR
#define MLEXT_DOOR(name)                                                                                         \
  door<&gated_door<GatedOp::name>>(m, #name, {"gate", "up"}, "act(gate) up; csrc/kernels/elementwise/gated.h."); \
  door<&gated_gradient_door<GatedOp::name>>(m, #name "_backward", {"gate", "up", "g"}, "Gradients of gate and up.");
  MLEXT_GATED(MLEXT_DOOR)
#undef MLEXT_DOOR
  door<&map2_in_place<MapOp::add>>(m, "add_", {"out", "b"}, "out += b.");
  door<&map2_in_place<MapOp::sub>>(m, "sub_", {"out", "b"}, "out -= b.");
  door<&map2_in_place<MapOp::mul>>(m, "mul_", {"out", "b"}, "out *= b.");
  door<&map2_in_place<MapOp::div>>(m, "div_", {"out", "b"}, "out /= b.");
  door<&copy_in_place>(m, "copy_", {"out", "source"}, "out[...] = source, broadcast and converted.");
  door<&cast_door>(m, "cast", {"x", "dtype"}, "A row-major copy of x with another dtype.");
  door<&dense_door>(m, "dense", {"x"}, "x itself if row-major, else a row-major copy.");
  door<&where_door>(m, "where", {"condition", "a", "b"}, "a where condition, else b.");
  door<&full_door>(m, "full", {"shape", "value", "dtype"}, "A new array filled with value.", true);
  door<&full_like>(m, "full_like", {"x", "value"}, "A new array of x's shape and dtype filled with value.");
  door<&empty_door>(m, "empty", {"shape", "dtype"}, "A new array, not initialised.", true);
}

}  // namespace mlext
