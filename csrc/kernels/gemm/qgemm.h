// Products of bytes: C = A B with A unsigned or signed, B signed, and int32 sums that are exact up to 2^31 and wrap there;
// and the quantised linear layer on top of them.
//
// They are products like others (gemm.h) whose compute type is int32 and whose element is a group: as many steps of k
// as one lane of a level's dot-product instruction adds at once. Both factors are brought into groups as they are packed.
//
// Source of the scheme: B. Jacob and others, "Quantization and Training of Neural Networks for Efficient
// Integer-Arithmetic-Only Inference" (2018), section 2: a real value is scale * (byte - zero), and the zero of x leaves the
// sum as -zero * sum_c weight[o, c].
#pragma once

#include "core/types.h"
#include "kernels/gemm/gemm.h"

namespace mlext {

// a (M, K) uint8 or int8, b (K, N) int8, result (M, N) int32. K = 0 gives zeros.
Array byte_matmul(const Array& a, const Array& b);

// act(scale[o] * sum_c q(x[.., c]) * values[o, c] + offset[o]) with q(x) = clamp(round(x / x_scale) + x_zero, 0, 255), ties
// to even: x (..., C) and result (..., O) float32, values (O, C) int8, which may end in up to 3 columns of zeros more, scale
// and offset (O,) float32, x_scale float32 and x_zero uint8 of one element. A row of x with a NaN gives a row of NaN;
// infinities are the ends of the range. An x of uint8 is taken for q(x). With out_scale and out_zero, like those of x, the
// result becomes bytes too, and a NaN in x is an error.
struct ByteScale {
  const Array *scale, *zero;
};
Array quantized_linear(const Array& x, const Array& values, const Array& scale, const Array& offset, ByteScale x_bytes,
                       Activation activation, ByteScale out_bytes);

// act(sum_c x[.., c] * scale[o, c / group] * weight[o, c] + bias[o]), summed in float32: x (..., C) and result (..., O)
// float32, scale (O, C / group rounded up) float32, group a multiple of kBlock or at least C, bias (O,) float32 or null.
// Weights of 8 bits: values (O, C) int8. Of 4 bits: values uint8 (O, C / kBlock rounded up * kBlock / 2); of every kBlock
// weights the first half are the low and the second half the high bits, each 8 more than the weight.
Array weight_only_linear(const Array& x, const Array& values, const Array& scale, const Array* bias, index group,
                         Activation activation);

// Rows of x (.., C), of any floating dtype, as values (.., C) int8 and scale (..) float32: x is scale times values, to half a
// scale, which is the largest size in the row / 127. A row of zeros has scale 1; of one with a NaN or an infinity scale says so.
void quantize_rows(const Array& x, Array& values, Array& scale);
// The way back, for `rows` of them that lie `row` apart, and their scales `scale_row`: to (rows, cols), one behind the other.
struct ScaledBytes {
  const std::int8_t* values;
  index row;
  const float* scale;
  index scale_row;
};
void expand_rows(Device device, const ScaledBytes& from, index rows, index cols, float* to);

// How products of bytes are run: k is filled up to a multiple of every level's group.
index whole_groups(index k);
// The array, or a copy with zeros behind the end of an axis that is no whole number of groups.
Array with_whole_groups(const Array& x, int axis);
// Runs now, like gemm(): uint8 times int8, of whole groups, for drivers inside a launch.
void byte_gemm(const GemmArgs& g);

// ---- what a level provides ------------------------------------------------------------------------------------------

inline constexpr index kBlock = 32;

struct QgemmKernels {
  GemmTypeKernels<std::int32_t> tiles;
  // to[i] = clamp(round(from[i] * inverse) + zero, 0, 255); whether a NaN was among them, whose byte is any.
  bool (*quantize)(const float* from, index n, ByteStep step, std::uint8_t* to);
  // to[i] = round(from[i] / scale), for the scale of a row, which is returned.
  float (*quantize_row)(const float* from, index n, std::int8_t* to);
  // to[c] = scale[c / group] * weight c, for n of them; 4 bits: to the end of a block.
  using Expand = void(const void* values, index n, index group, const float* scale, float* to);
  Expand* expand8;
  Expand* expand4;
};

}  // namespace mlext
