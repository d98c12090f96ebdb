// What the quantised layers share (qgemm.h): checks of what turns sums into results, steps that are read when the layer runs,
// and values that become bytes.
#pragma once

#include "core/array.h"
#include "kernels/gemm/qgemm.h"

namespace mlext {

// Raises unless x is float32 or uint8, scale and offset are float32 (outputs,), and the scales and zeros are one element each;
// those of the result may both be absent.
void check_byte_layer(const char* op, const Array& x, index outputs, const Array& scale, const Array& offset,
                      const ByteScale& x_bytes, const ByteScale& out_bytes);

// A scale and a zero where they will be at the launch, when their values are read.
struct StepAt {
  const char* op;
  const char* name;
  const float* scale = nullptr;
  const std::uint8_t* zero = nullptr;

  StepAt(const char* in, const char* of, const ByteScale& bytes) : op(in), name(of) {
    if (bytes.scale != nullptr) scale = bytes.scale->ptr<float>(), zero = bytes.zero->ptr<std::uint8_t>();
  }
  // With the reciprocal, which kernels multiply by.
  ByteStep read() const;
};

// Rows of `parts` times n values, as bytes: each part is then `width` long and ends in zeros.
struct ByteRows {
  index rows, parts, n, width;

  index size() const { return rows * parts * width; }
};
// nan[i] is set where row i has a NaN; whether any has.
bool quantize_all(Device device, const float* x, const ByteRows& shape, ByteStep step, std::uint8_t* to, bool* nan);
// The same of what is bytes already.
void spread_rows(const std::uint8_t* x, const ByteRows& shape, std::uint8_t* to);

}  // namespace mlext
