// Convolution over arrays: checked, described as correlations, launched.
#include "kernels/conv/conv.h"

#include <algorithm>
#include <utility>

#include "core/array.h"
#include "core/dtype.h"
#include "core/launch.h"
#include "core/packs.h"
#include "kernels/conv/correlate.h"
#include "kernels/conv/explain.h"
#include "kernels/conv/filter_gradient.h"
#include "kernels/conv/input_gradient.h"
#include "kernels/conv/winograd.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/reduce/reduce.h"

namespace mlext {

namespace {

using conv_detail::Correlation;

// Rows or columns of y; at most 0 if the filter is larger than the padded image.
index places(index in, index taps, const ConvAxis& axis) {
  const index room = in + axis.before + axis.after - axis.dilation * (taps - 1) - 1;
  return room < 0 ? 0 : room / axis.stride + 1;
}

constexpr index kLargest = index{1} << 40;  // sizes beyond this are refused before they can overflow

void check_axis(const char* op, const char* what, index in, index taps, const ConvAxis& axis) {
  if (axis.before > kLargest || axis.after > kLargest || axis.dilation > kLargest / std::max<index>(taps, 1))
    refuse(op, axis.dilation > kLargest / std::max<index>(taps, 1) ? "dilation" : "padding",
           "a size that fits into memory", std::max(std::max(axis.before, axis.after), axis.dilation));
  if (taps < 1) refuse(op, "weight", text("at least one ", what, " in a filter"), taps);
  if (places(in, taps, axis) < 1) {
    refuse(op, "weight",
           text("a filter of at most ", in + axis.before + axis.after, " ", what, "s, those of the padded image"),
           axis.dilation * (taps - 1) + 1, axis.dilation > 1 ? " with dilation" : "");
  }
}

void check_geometry(const char* op, const Dims& x, const Dims& weight, const ConvOptions& o) {
  if (o.groups < 1 || x[3] % o.groups != 0)
    refuse(op, "groups", text("a positive number that divides the ", x[3], " channels of x"), o.groups);
  if (weight.rank != 4 || weight[3] != x[3] / o.groups) {
    refuse(op, "weight", text("shape (O, R, S, ", x[3] / o.groups, ") for x of shape ", x, " and groups=", o.groups),
           weight);
  }
  if (weight[0] % o.groups != 0)
    refuse(op, "groups", text("a number that divides the ", weight[0], " outputs of weight"), o.groups);
  check_axis(op, "row", x[1], weight[1], o.rows);
  check_axis(op, "column", x[2], weight[2], o.cols);
}

Dims output_shape(const Dims& x, const Dims& weight, const ConvOptions& o) {
  return {x[0], places(x[1], weight[1], o.rows), places(x[2], weight[2], o.cols), weight[0]};
}

void check_images(const char* op, const char* name, const Array& x) {
  require_floating(op, name, x);
  if (x.rank() != 4) refuse(op, name, "4 dimensions (N, H, W, C)", "shape ", x.shape);
}

// Kernels take any strides but that of channels.
Array with_channels_last(const Array& x) { return x.strides[x.rank() - 1] == 1 || x.size() == 0 ? x : dense(x); }

// Filters of one channel, several for each channel of x: as many as there are outputs, of channels that repeat. (They could
// be groups of several outputs, but those would fill no vector.)
index multiplier(const Dims& weight, const ConvOptions& o) {
  return o.groups > 1 && weight[3] == 1 ? weight[0] / o.groups : 1;
}
Array repeated(const Array& x, index times) {
  Dims shape = x.shape, strides = x.strides;
  shape.push(times);
  strides.push(0);
  const Array made = dense(x.view(shape, strides));
  const Dims joined{x.shape[0], x.shape[1], x.shape[2], x.shape[3] * times};
  return made.view(joined, dense_strides(joined));
}
// Images as describe() wants them.
Array prepared(const Array& x, const Dims& weight, ConvOptions& o) {
  const index times = multiplier(weight, o);
  if (times <= 1 || x.size() == 0) return with_channels_last(x);
  o.groups = weight[0];
  return repeated(x, times);
}

Work work_of(const Dims& y, const Dims& weight, const Array& a, const Array& b, index c_bytes) {
  const double per_pixel = static_cast<double>(weight.count());
  return {2 * static_cast<double>(y[0] * y[1] * y[2]) * per_pixel,
          static_cast<double>(a.nbytes() + b.nbytes() + c_bytes)};
}

// y = correlation of x with the filter, as conv() defines it; the memory of x, weight and y is filled in by the caller.
Correlation describe(const Array& x, const Dims& weight, const Dims& y, const ConvOptions& o) {
  const index k = weight[1] * weight[2] * weight[3], outputs = weight[0] / o.groups;
  Correlation c;
  c.product.device = x.device;
  c.product.dtype = c.product.out_dtype = x.dtype;
  c.product.m = y[0] * y[1] * y[2];
  c.product.n = outputs;
  c.product.k = k;
  c.product.b_row = 1;
  c.product.b_col = k;
  c.product.c_row = y[3];
  c.rows = {x.shape[1],    y[1],         weight[1],   o.rows.stride,        o.rows.dilation,
            o.rows.before, x.strides[1], y[2] * y[3], weight[2] * weight[3]};
  c.cols = {x.shape[2], y[2], weight[2], o.cols.stride, o.cols.dilation, o.cols.before, x.strides[2], y[3], weight[3]};
  c.images = y[0];
  c.channels = weight[3];
  c.groups = o.groups;
  c.x_image = x.strides[0];
  c.y_image = y[1] * y[2] * y[3];
  c.x_group = weight[3];
  c.y_group = outputs;
  c.w_group = outputs * k;
  c.winograd = winograd_allowed();
  return c;
}

}  // namespace

Array conv(const char* op, const Array& x, const Array& weight, const Array* bias, const Array* residual,
           const ConvOptions& options, Activation activation, Array* pre) {
  check_images(op, "x", x);
  require_same_dtype(op, "weight", weight, "x", x);
  check_geometry(op, x.shape, weight.shape, options);
  const Dims shape = output_shape(x.shape, weight.shape, options);
  if (bias != nullptr) {
    require_same_dtype(op, "bias", *bias, "x", x);
    require_shape(op, "bias", *bias, {weight.shape[0]}, " (one per output)");
  }
  if (residual != nullptr) {
    require_same_dtype(op, "residual", *residual, "x", x);
    require_shape(op, "residual", *residual, shape, " (that of the result)");
  }
  Array y = Array::empty(shape, x.dtype, x.device);
  if (pre != nullptr) *pre = Array::empty(shape, x.dtype, x.device);
  if (y.size() == 0) return y;
  ConvOptions used = options;
  const Array images = prepared(x, weight.shape, used), filter = dense(weight);
  const Array vector = bias != nullptr ? dense(*bias) : Array(),
              added = residual != nullptr ? dense(*residual) : Array();
  Correlation c = describe(images, weight.shape, shape, used);
  c.product.a = images.data;
  c.product.b = filter.data;
  c.product.b_home = pack_home(filter);
  c.product.c = y.data;
  c.product.bias_n = vector.data;
  c.product.residual = added.data;
  c.product.beta = residual != nullptr;
  c.product.activation = activation;
  c.product.pre = pre != nullptr ? pre->data : nullptr;
  launch(op, work_of(shape, weight.shape, images, filter, y.nbytes()),
         {&images, &filter, bias != nullptr ? &vector : nullptr, residual != nullptr ? &added : nullptr}, {&y, pre},
         [c] { conv_detail::correlate(c); });
  return y;
}

ConvExplanation explain_conv(const Dims& x_shape, const Dims& weight, DType dtype, const ConvOptions& options) {
  constexpr const char* kOp = "explain_conv";
  Array x;
  x.shape = x_shape;
  x.dtype = dtype;
  check_images(kOp, "x_shape", x);
  check_geometry(kOp, x_shape, weight, options);
  ConvExplanation e;
  e.result = output_shape(x_shape, weight, options);
  ConvOptions used = options;
  if (multiplier(weight, options) > 1) used.groups = x.shape[3] = weight[0];  // as prepared() does
  x.strides = dense_strides(x.shape);
  conv_detail::explain(describe(x, weight, e.result, used), e);
  return e;
}

Array conv_input_gradient(const char* op, const Array& g, const Array& weight, const Dims& x_shape, const Array* bias,
                          const ConvOptions& options, Activation activation, Array* pre) {
  check_images(op, "g", g);
  require_same_dtype(op, "weight", weight, "g", g);
  if (x_shape.rank != 4) refuse(op, "x_shape", "4 sizes (N, H, W, C)", x_shape);
  check_geometry(op, x_shape, weight.shape, options);
  const Dims shape = output_shape(x_shape, weight.shape, options);
  require_shape(op, "g", g, shape, text(" for x of shape ", x_shape));
  if (bias != nullptr) {
    require_same_dtype(op, "bias", *bias, "g", g);
    require_shape(op, "bias", *bias, {x_shape[3]}, " (one per output)");
  }
  const index times = multiplier(weight.shape, options);
  if (times > 1 && bias == nullptr && activation == Activation::none) {
    const ConvOptions each{options.rows, options.cols, weight.shape[0]};
    const Dims repeats{x_shape[0], x_shape[1], x_shape[2], x_shape[3] * times}, last{4};
    const Array all = conv_input_gradient(op, g, weight, repeats, nullptr, each, activation, nullptr);
    const Dims parts{x_shape[0], x_shape[1], x_shape[2], x_shape[3], times};
    return sum(all.view(parts, dense_strides(parts)), &last, false);
  }
  Array x = Array::empty(x_shape, g.dtype, g.device);
  if (pre != nullptr) *pre = Array::empty(x_shape, g.dtype, g.device);
  if (x.size() == 0) return x;
  const Array slopes = dense(g), filter = dense(weight), vector = bias != nullptr ? dense(*bias) : Array();
  Correlation c = describe(x, weight.shape, shape, options);
  c.product.a = x.data;
  c.product.b = filter.data;
  c.product.b_home = pack_home(filter);
  c.product.c = slopes.data;
  c.product.bias_n = vector.data;
  c.product.activation = activation;
  c.product.pre = pre != nullptr ? pre->data : nullptr;
  launch(op, work_of(shape, weight.shape, slopes, filter, x.nbytes()),
         {&slopes, &filter, bias != nullptr ? &vector : nullptr}, {&x, pre}, [c] { conv_detail::input_gradient(c); });
  return x;
}

Array conv_weight_gradient(const char* op, const Array& g, const Array& x, const Dims& weight_shape,
                           const ConvOptions& options) {
  check_images(op, "x", x);
  require_same_dtype(op, "g", g, "x", x);
  check_geometry(op, x.shape, weight_shape, options);
  const Dims shape = output_shape(x.shape, weight_shape, options);
  require_shape(op, "g", g, shape, text(" for x of shape ", x.shape));
  Array out = Array::empty(weight_shape, x.dtype, x.device);
  if (out.size() == 0) return out;
  ConvOptions used = options;
  const Array images = prepared(x, weight_shape, used), slopes = dense(g);
  Correlation c = describe(images, weight_shape, shape, used);
  c.product.a = images.data;
  c.product.c = slopes.data;
  launch(op, work_of(shape, weight_shape, images, slopes, out.nbytes()), {&images, &slopes}, {&out},
         [c, to = out.data] { conv_detail::filter_gradient(c, to); });
  return out;
}

}  // namespace mlext
