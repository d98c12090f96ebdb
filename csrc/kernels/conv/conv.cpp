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
#include "kernels/conv/geometry.h"
#include "kernels/conv/input_gradient.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/reduce/reduce.h"

namespace mlext {

namespace {

using conv_detail::check_geometry;
using conv_detail::Correlation;
using conv_detail::describe;
using conv_detail::output_shape;
using conv_detail::work_of;

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

}  // namespace

Array conv(const char* op, const Array& x, const Array& weight, const Array* bias, const Array* residual,
           const ConvOptions& options, Activation activation, Array* pre) {
  check_images(op, "x", x);
  require_same_dtype(op, "weight", weight, "x", x);
  check_geometry(op, "weight", x.shape, weight.shape, options);
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
  check_geometry(kOp, "weight", x_shape, weight, options);
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
  check_geometry(op, "weight", x_shape, weight.shape, options);
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
  check_geometry(op, "weight", x.shape, weight_shape, options);
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
