// Rows as bytes, each with a scale of its own.
#include <algorithm>

#include "core/array.h"
#include "core/dtype.h"
#include "core/isa.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gemm/qgemm.h"

namespace mlext {

MLEXT_DISPATCH_OF(qgemm, QgemmKernels, qgemm_kernels)

void quantize_rows(const Array& x, Array& values, Array& scale) {
  constexpr const char* op = "quantize_rows";
  constexpr index kGrain = 1 << 16;  // elements for which a thread pays
  require_floating(op, "x", x);
  require_min_rank(op, "x", x, 1);
  const int last = x.rank() - 1;
  Dims rows = x.shape;
  rows.rank = last;
  values = Array::empty(x.shape, DType::int8, x.device);
  scale = Array::empty(rows, DType::float32, x.device);
  const Array from = dense(x, DType::float32);
  const index count = scale.size(), n = x.shape[last];
  launch(op, {2.0 * static_cast<double>(x.size()), static_cast<double>(from.nbytes() + values.nbytes())}, {&from},
         {&values, &scale},
         [count, n, device = x.device, in = from.ptr<float>(), bytes = values.ptr<std::int8_t>(),
          steps = scale.ptr<float>()] {
           const QgemmKernels& kernels = qgemm_kernels(device);
           parallel_for(count, kGrain / std::max<index>(n, 1) + 1, [&](index begin, index end) {
             for (index i = begin; i < end; ++i) steps[i] = kernels.quantize_row(in + i * n, n, bytes + i * n);
           });
         });
}

void expand_rows(Device device, const ScaledBytes& from, index rows, index cols, float* to) {
  const QgemmKernels& kernels = qgemm_kernels(device);
  for (index i = 0; i < rows; ++i)
    kernels.expand8(from.values + i * from.row, cols, cols, from.scale + i * from.scale_row, to + i * cols);
}

}  // namespace mlext
