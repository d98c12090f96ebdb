// Images become bytes in whole groups, once and as a whole; then they are correlated like others (correlate.h).
#include "kernels/conv/quantized.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/array.h"
#include "core/dtype.h"
#include "core/launch.h"
#include "core/packs.h"
#include "core/scratch.h"
#include "kernels/conv/band.h"
#include "kernels/conv/geometry.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gemm/byte_layer.h"

namespace mlext {

namespace {

using conv_detail::Axis;
using conv_detail::Correlation;

// That of the filters without the zeros behind their channels.
Dims filter_shape(const Array& values, const Dims& x, index groups) {
  Dims shape = values.shape;
  if (shape.rank != 4 || groups < 1) return shape;  // refused later
  if (shape[3] == whole_groups(x[3] / groups)) shape[3] = x[3] / groups;
  return shape;
}

// The images as the correlation reads them, in whole groups: shape and strides, but not the memory.
Array in_whole_groups(const Array& x, index groups) {
  Array images = x;
  images.dtype = DType::uint8;
  images.shape[3] = groups * whole_groups(x.shape[3] / groups);
  images.strides = dense_strides(images.shape);
  return images;
}

// NaN at the places of y whose filter covers pixel (row, col) of an image.
void spoil(const Correlation& c, index row, index col, float* y) {
  const auto place = [](const Axis& a, index pixel, index tap) {
    const index from = pixel + a.before - tap * a.dilation, at = from / a.stride;
    return from < 0 || from % a.stride != 0 || at >= a.out ? -1 : at;
  };
  for (index r = 0; r < c.rows.taps; ++r) {
    const index p = place(c.rows, row, r);
    for (index s = 0; p >= 0 && s < c.cols.taps; ++s) {
      const index q = place(c.cols, col, s);
      if (q < 0) continue;
      float* pixel = y + p * c.rows.y_step + q * c.cols.y_step;
      std::fill(pixel, pixel + c.product.c_row, std::numeric_limits<float>::quiet_NaN());
    }
  }
}

// nan[i] tells which rows of the images have one.
void spoil_all(const Correlation& c, const float* x, index channels, const bool* nan) {
  for (index i = 0; i < c.images * c.rows.in; ++i) {
    if (!nan[i]) continue;
    float* y = static_cast<float*>(c.product.c) + i / c.rows.in * c.y_image;
    for (index col = 0; col < c.cols.in; ++col) {
      const float* pixel = x + (i * c.cols.in + col) * channels;
      if (std::any_of(pixel, pixel + channels, [](float v) { return std::isnan(v); })) spoil(c, i % c.rows.in, col, y);
    }
  }
}

struct Images {
  const void* data;
  bool are_bytes;
  index channels;
};

// Bytes that lie in whole groups are correlated where they are, others are brought there before.
void run(const char* op, Correlation c, const Images& x, const StepAt& x_at) {
  const index rows = c.images * c.rows.in, n = x.channels / c.groups;
  const ByteRows shape{rows, c.cols.in * c.groups, n, whole_groups(n)};
  c.product.a = x.data;
  if (x.are_bytes && n == shape.width) return correlate(c);
  auto* bytes = scratch<std::uint8_t>(conv_detail::kSlotImages, shape.size() + rows);
  c.product.a = bytes;
  if (x.are_bytes) {
    spread_rows(static_cast<const std::uint8_t*>(x.data), shape, bytes);
    return correlate(c);
  }
  const auto* numbers = static_cast<const float*>(x.data);
  bool* nan = reinterpret_cast<bool*>(bytes + shape.size());
  const bool any_nan = quantize_all(c.product.device, numbers, shape, x_at.read(), bytes, nan);
  if (any_nan && c.product.out_dtype == DType::uint8)
    refuse(op, "x", "no NaN where the result is bytes, which have none", "NaN");
  correlate(c);
  if (any_nan) spoil_all(c, numbers, x.channels, nan);
}

}  // namespace

Array quantized_conv(const char* op, const Array& x, const Array& values, const Array& scale, const Array& offset,
                     ByteScale x_bytes, const ConvOptions& options, Activation activation, ByteScale out_bytes) {
  const bool writes_bytes = out_bytes.scale != nullptr;
  if (x.rank() != 4) refuse(op, "x", "4 dimensions (N, H, W, C)", "shape ", x.shape);
  require_dtype(op, "values", values, DType::int8, "");
  const Dims filter = filter_shape(values, x.shape, options.groups);
  conv_detail::check_geometry(op, "values", x.shape, filter, options);
  check_byte_layer(op, x, filter[0], scale, offset, x_bytes, out_bytes);
  const Dims shape = conv_detail::output_shape(x.shape, filter, options);
  Array y = Array::empty(shape, writes_bytes ? DType::uint8 : DType::float32, x.device);
  if (y.size() == 0) return y;
  const Array weight = dense(with_whole_groups(values, 3)), scales = dense(scale), offsets = dense(offset);
  const Array images = dense(x);
  Correlation c = conv_detail::describe(in_whole_groups(images, options.groups), weight.shape, shape, options);
  c.product.b = weight.data;
  c.product.b_home = pack_home(weight);
  c.product.c = y.data;
  c.product.out_dtype = y.dtype;
  c.product.scale_n = scales.ptr<float>();
  c.product.offset_n = offsets.ptr<float>();
  c.product.activation = activation;
  launch(op, conv_detail::work_of(shape, filter, images, weight, y.nbytes()),
         {&images, &weight, &scales, &offsets, x_bytes.scale, x_bytes.zero, out_bytes.scale, out_bytes.zero}, {&y},
         [c, op, from = Images{images.data, x.dtype == DType::uint8, x.shape[3]}, x_at = StepAt(op, "x_scale", x_bytes),
          out_at = StepAt(op, "out_scale", out_bytes)] {
           Correlation now = c;
           now.outside = *x_at.zero;
           if (out_at.scale != nullptr) now.product.out_step = out_at.read();
           run(op, now, from, x_at);
         });
  return y;
}

}  // namespace mlext
