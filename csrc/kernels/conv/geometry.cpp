#include "kernels/conv/geometry.h"

#include <algorithm>

#include "kernels/conv/winograd.h"

namespace mlext::conv_detail {

namespace {

// Rows or columns of y; at most 0 if the filter is larger than the padded image.
index places(index in, index taps, const ConvAxis& axis) {
  const index room = in + axis.before + axis.after - axis.dilation * (taps - 1) - 1;
  return room < 0 ? 0 : room / axis.stride + 1;
}

constexpr index kLargest = index{1} << 40;  // sizes beyond this are refused before they can overflow

void check_axis(const char* op, const char* filter, const char* what, index in, index taps, const ConvAxis& axis) {
  if (axis.before > kLargest || axis.after > kLargest || axis.dilation > kLargest / std::max<index>(taps, 1))
    refuse(op, axis.dilation > kLargest / std::max<index>(taps, 1) ? "dilation" : "padding",
           "a size that fits into memory", std::max(std::max(axis.before, axis.after), axis.dilation));
  if (taps < 1) refuse(op, filter, text("at least one ", what, " in a filter"), taps);
  if (places(in, taps, axis) < 1) {
    refuse(op, filter,
           text("a filter of at most ", in + axis.before + axis.after, " ", what, "s, those of the padded image"),
           axis.dilation * (taps - 1) + 1, axis.dilation > 1 ? " with dilation" : "");
  }
}

}  // namespace

void check_geometry(const char* op, const char* filter, const Dims& x, const Dims& weight, const ConvOptions& o) {
  if (o.groups < 1 || x[3] % o.groups != 0)
    refuse(op, "groups", text("a positive number that divides the ", x[3], " channels of x"), o.groups);
  if (weight.rank != 4 || weight[3] != x[3] / o.groups) {
    refuse(op, filter, text("shape (O, R, S, ", x[3] / o.groups, ") for x of shape ", x, " and groups=", o.groups),
           weight);
  }
  if (weight[0] % o.groups != 0)
    refuse(op, "groups", text("a number that divides the ", weight[0], " outputs of ", filter), o.groups);
  check_axis(op, filter, "row", x[1], weight[1], o.rows);
  check_axis(op, filter, "column", x[2], weight[2], o.cols);
}

Dims output_shape(const Dims& x, const Dims& weight, const ConvOptions& o) {
  return {x[0], places(x[1], weight[1], o.rows), places(x[2], weight[2], o.cols), weight[0]};
}

Work work_of(const Dims& y, const Dims& weight, const Array& a, const Array& b, index c_bytes) {
  const double per_pixel = static_cast<double>(weight.count());
  return {2 * static_cast<double>(y[0] * y[1] * y[2]) * per_pixel,
          static_cast<double>(a.nbytes() + b.nbytes() + c_bytes)};
}

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

}  // namespace mlext::conv_detail
