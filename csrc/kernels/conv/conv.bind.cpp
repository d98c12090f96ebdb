#include <pybind11/stl.h>

#include <optional>
#include <string_view>

#include "bind/activated.h"
#include "bind/door.h"
#include "bind/families.h"
#include "kernels/conv/conv.h"
#include "kernels/conv/explain.h"
#include "kernels/conv/quantized.h"
#include "kernels/conv/winograd.h"

namespace mlext {
namespace {

// What errors and profiles call it.
enum ConvDoor { kConv1d, kConv2d, kInputGradient, kTransposed, kQuantized1d, kQuantized2d };
constexpr const char* kConvNames[] = {"conv1d",           "conv2d",           "conv2d_input_gradient",
                                      "conv_transpose2d", "quantized_conv1d", "quantized_conv2d"};

// `geometry`: strides, padding before, padding after and dilations, of rows and of columns each. What is wrong with them is
// named by the operation.
ConvOptions options_of(const char* op, const Dims& geometry, index groups) {
  if (geometry.rank != 8) refuse(op, "geometry", "8 sizes", geometry);
  const auto& v = geometry.v;
  constexpr const char* kSizes[] = {"stride", "padding", "padding", "dilation"};
  for (int i = 0; i < 8; ++i) {
    const bool is_padding = i / 2 == 1 || i / 2 == 2;
    if (v[i] < (is_padding ? 0 : 1)) {
      refuse(op, kSizes[i / 2], is_padding ? "sizes that are not negative" : "positive sizes", v[i]);
    }
  }
  return {{v[0], v[2], v[4], v[6]}, {v[1], v[3], v[5], v[7]}, groups};
}

template <ConvDoor kOperation>
Activated conv_door(const Array& x, const Array& weight, const Array* bias, Dims geometry, index groups,
                    std::optional<std::string_view> activation, std::optional<bool> want_pre, const Array* residual) {
  constexpr const char* op = kConvNames[kOperation];
  Activated result(want_pre);
  result.y = conv(op, x, weight, bias, residual, options_of(op, geometry, groups), parse_activation(op, activation),
                  result.before());
  return result;
}

template <ConvDoor kOperation>
Activated conv_input_gradient_door(const Array& g, const Array& weight, Dims x_shape, Dims geometry, index groups,
                                   const Array* bias, std::optional<std::string_view> activation,
                                   std::optional<bool> want_pre) {
  constexpr const char* op = kConvNames[kOperation];
  Activated result(want_pre);
  result.y = conv_input_gradient(op, g, weight, x_shape, bias, options_of(op, geometry, groups),
                                 parse_activation(op, activation), result.before());
  return result;
}

template <ConvDoor kOperation>
Array quantized_conv_door(const Array& x, const Array& values, const Array& scale, const Array& offset,
                          const Array& x_scale, const Array& x_zero, Dims geometry, index groups,
                          std::optional<std::string_view> activation, const Array* out_scale, const Array* out_zero) {
  constexpr const char* op = kConvNames[kOperation];
  return quantized_conv(op, x, values, scale, offset, {&x_scale, &x_zero}, options_of(op, geometry, groups),
                        parse_activation(op, activation), {out_scale, out_zero});
}

Array conv_weight_gradient_door(const Array& g, const Array& x, Dims weight_shape, Dims geometry, index groups) {
  constexpr const char* kOp = "conv2d_weight_gradient";
  return conv_weight_gradient(kOp, g, x, weight_shape, options_of(kOp, geometry, groups));
}

py::dict explain_conv_door(const std::vector<index>& x, const std::vector<index>& weight, const py::object& dtype,
                           const std::vector<index>& geometry, index groups) {
  constexpr const char* kOp = "explain_conv";
  const auto dims = [](const std::vector<index>& sizes) {
    Dims out;
    for (const index size : sizes) out.push(size);
    return out;
  };
  const DType type = parse_dtype(dtype.ptr(), kOp, "dtype");
  if (!is_floating(type)) refuse<TypeError>(kOp, "dtype", "a floating dtype", dtype_name(type));
  for (const index size : x) {
    if (size < 1) refuse(kOp, "x_shape", "positive sizes", dims(x));
  }
  const ConvExplanation e = explain_conv(dims(x), dims(weight), type, options_of(kOp, dims(geometry), groups));
  const Dims& y = e.result;
  return py::dict(py::arg("kernel") = e.kernel, py::arg("result") = py::make_tuple(y[0], y[1], y[2], y[3]),
                  py::arg("tile") = py::make_tuple(e.tile_rows, e.tile_cols),
                  py::arg("band") = py::make_tuple(e.images, e.rows), py::arg("copies") = e.copies,
                  py::arg("runs") = py::make_tuple(e.runs, e.run), py::arg("block") = e.block,
                  py::arg("tasks") = e.tasks, py::arg("threads") = e.threads, py::arg("waste") = e.waste,
                  py::arg("reasons") = e.reasons, py::arg("dtype") = py::handle(dtype_object(type)));
}

}  // namespace

void bind_conv(py::module_& m) {
  const auto forward = {"x", "weight", "bias", "geometry", "groups", "activation", "want_pre", "residual"};
  const auto backward = {"g", "weight", "x_shape", "geometry", "groups", "bias", "activation", "want_pre"};
  door<&conv_door<kConv1d>>(m, kConvNames[kConv1d], forward, "conv2d of images of one row.");
  door<&conv_door<kConv2d>>(m, kConvNames[kConv2d], forward,
                            "Cross-correlation of images, channels last; with want_pre also the value before act.");
  door<&conv_input_gradient_door<kInputGradient>>(m, kConvNames[kInputGradient], backward,
                                                  "The gradient of conv2d for x.");
  door<&conv_input_gradient_door<kTransposed>>(m, kConvNames[kTransposed], backward, "The same as a layer.");
  const auto of_bytes = {"x",        "values", "scale",      "offset",    "x_scale", "x_zero",
                         "geometry", "groups", "activation", "out_scale", "out_zero"};
  door<&quantized_conv_door<kQuantized1d>>(m, kConvNames[kQuantized1d], of_bytes,
                                           "quantized_conv2d of images of one row.");
  door<&quantized_conv_door<kQuantized2d>>(m, kConvNames[kQuantized2d], of_bytes, "conv2d of bytes.");
  m.def("explain_conv", &explain_conv_door, py::arg("x_shape"), py::arg("weight_shape"), py::arg("dtype"),
        py::arg("geometry"), py::arg("groups"), "How a convolution of these shapes would be computed, and why.");
  m.def("allow_winograd", &allow_winograd, py::arg("allowed"));
  m.def("winograd_allowed", &winograd_allowed);
  door<&conv_weight_gradient_door>(m, "conv2d_weight_gradient", {"g", "x", "weight_shape", "geometry", "groups"},
                                   "The gradient of conv2d for the weight.");
}

}  // namespace mlext
