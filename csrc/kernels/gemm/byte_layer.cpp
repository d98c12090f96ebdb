#include "kernels/gemm/byte_layer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "core/isa.h"
#include "core/parallel.h"
#include "core/scratch.h"

namespace mlext {

MLEXT_DISPATCH_OF(qgemm, QgemmKernels, qgemm_kernels)

namespace {

enum Slot { kSlotRow };

// Values to quantise below which the calling thread is done before others wake up.
constexpr index kQuantizeGrain = 1 << 15;

void check_scale(const char* op, const ByteScale& bytes, const char* scale, const char* zero) {
  require_dtype(op, scale, *bytes.scale, DType::float32, "");
  require_dtype(op, zero, *bytes.zero, DType::uint8, "");
  for (const auto& [name, one] : {std::pair{scale, bytes.scale}, std::pair{zero, bytes.zero}})
    if (one->size() != 1) refuse(op, name, "one element", "shape ", one->shape);
}

// One row. A count that is known becomes two instructions: images of 3 channels have parts of 3.
template <index kBytes>
void spread_parts(const std::uint8_t* from, const ByteRows& shape, std::uint8_t* to) {
  const index bytes = kBytes != 0 ? kBytes : shape.n;
  for (index i = 0; i < shape.parts; ++i, from += bytes, to += shape.width) {
    std::memcpy(to, from, static_cast<std::size_t>(bytes));
    for (index j = bytes; j < shape.width; ++j) to[j] = 0;
  }
}
void spread_row(const std::uint8_t* from, const ByteRows& shape, std::uint8_t* to) {
  (shape.n == 1 ? spread_parts<1> : shape.n == 3 ? spread_parts<3> : spread_parts<0>)(from, shape, to);
}

index grain(const ByteRows& shape) { return kQuantizeGrain / std::max<index>(shape.parts * shape.n, 1) + 1; }

}  // namespace

void check_byte_layer(const char* op, const Array& x, index outputs, const Array& scale, const Array& offset,
                      const ByteScale& x_bytes, const ByteScale& out_bytes) {
  if (x.dtype != DType::uint8) require_dtype(op, "x", x, DType::float32, " or uint8");
  for (const auto& [name, vector] : {std::pair{"scale", &scale}, std::pair{"offset", &offset}}) {
    require_dtype(op, name, *vector, DType::float32, "");
    require_shape(op, name, *vector, {outputs}, "");
  }
  check_scale(op, x_bytes, "x_scale", "x_zero");
  if ((out_bytes.scale == nullptr) != (out_bytes.zero == nullptr))
    refuse(op, "out_scale", "out_scale and out_zero, or neither", "one of them");
  if (out_bytes.scale != nullptr) check_scale(op, out_bytes, "out_scale", "out_zero");
}

ByteStep StepAt::read() const {
  if (!(*scale > 0) || !std::isfinite(*scale) || !std::isfinite(1 / *scale))
    refuse(op, name, "a positive number with a finite reciprocal", *scale);
  return {1 / *scale, static_cast<float>(*zero)};
}

bool quantize_all(Device device, const float* x, const ByteRows& shape, ByteStep step, std::uint8_t* to, bool* nan) {
  const QgemmKernels& kernels = qgemm_kernels(device);
  const index n = shape.parts * shape.n, width = shape.parts * shape.width;
  const bool spreads = shape.parts > 1 && n != width;
  parallel_for(shape.rows, grain(shape), [&](index begin, index end) {
    std::uint8_t* row = spreads ? scratch<std::uint8_t>(kSlotRow, n) : nullptr;
    for (index i = begin; i < end; ++i) {
      std::uint8_t* bytes = to + i * width;
      nan[i] = kernels.quantize(x + i * n, n, step, spreads ? row : bytes);
      if (spreads) spread_row(row, shape, bytes);
      if (!spreads) std::fill(bytes + n, bytes + width, std::uint8_t{0});
    }
  });
  return std::find(nan, nan + shape.rows, true) != nan + shape.rows;
}

void spread_rows(const std::uint8_t* x, const ByteRows& shape, std::uint8_t* to) {
  const index n = shape.parts * shape.n, width = shape.parts * shape.width;
  parallel_for(shape.rows, grain(shape), [&](index begin, index end) {
    for (index i = begin; i < end; ++i) spread_row(x + i * n, shape, to + i * width);
  });
}

}  // namespace mlext
