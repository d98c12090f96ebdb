// Columns: moments of blocks of rows, merged into those of groups, then one pass that applies them.
#include "kernels/norm/norm.h"

#include <algorithm>
#include <cmath>

#include "core/isa.h"
#include "core/launch.h"
#include "core/scratch.h"
#include "kernels/norm/columns.h"
#include "kernels/norm/vectors.h"

namespace mlext {

MLEXT_DISPATCH(NormKernels, norm_kernels)

namespace {

enum Slot { kSlotSums, kSlotVectors, kSlotWork };

// Everything one launch needs, by value.
struct Run {
  const NormKernels* kernels;
  NormColumns shape;
  DType dtype;
  NormArgs args;
  const void *weight, *bias;
  void* mean;
  double* var;
  double eps;
  bool relu, given;  // given: mean and var are read

  template <class C>
  double factor(const void* vector, index c, double otherwise) const {
    return vector == nullptr ? otherwise : static_cast<double>(static_cast<const C*>(vector)[c]);
  }
  double rstd(index at) const { return 1 / std::sqrt(var[at] + eps); }

  template <class C>
  NormArgs with_vectors(int count) const {
    const index n = shape.samples * shape.columns;
    C* memory = scratch<C>(kSlotVectors, count * n);
    NormArgs all = args;
    all.mean = memory;
    all.scale = memory + n;
    all.shift = memory + 2 * n;
    if (count > 3) {
      all.by_x = memory + 3 * n;
      all.by_one = memory + 4 * n;
    }
    parallel_for(shape.groups, shape.group_grain(), [&](index begin, index end) {
      for (index s = 0; s < shape.samples; ++s) {
        for (index group = begin; group < end; ++group) {
          const index at = s * shape.groups + group;
          const double scale = rstd(at);
          shape.each_column(group, [&](index c, index column) {
            C* to = memory + s * shape.columns + column;
            to[0] = static_cast<C*>(mean)[at];
            to[n] = static_cast<C>(scale * factor<C>(weight, c, 1));
            to[2 * n] = static_cast<C>(factor<C>(bias, c, 0));
          });
        }
      }
    });
    return all;
  }

  template <class C>
  void sum(NormFn fn, NormArgs all) const {
    shape.each_block<C>(all, item_size(dtype), false, [&](NormArgs& part) {
      part.work = scratch<C>(kSlotWork, 4 * shape.columns);
      fn(part);
    });
  }

  // The moments of a group from those of its columns in all blocks (Chan et al. 1983, equation 1.5, for many at once).
  template <class C>
  void merge(const double* sums) const {
    const index n = shape.columns, step = 2 * n;
    const double members = static_cast<double>(shape.members());
    parallel_for(shape.samples * shape.groups, shape.group_grain(), [&](index begin, index end) {
      for (index at = begin; at < end; ++at) {
        const double* of_sample = sums + at / shape.groups * shape.blocks * step;
        double total = 0, squares = 0;
        const auto each = [&](auto f) {
          shape.each_column(at % shape.groups, [&](index, index column) {
            for (index b = 0; b < shape.blocks; ++b) {
              const double* m = of_sample + b * step + column;
              f(static_cast<double>(shape.rows_of(b)), m[0], m[n]);
            }
          });
        };
        each([&](double rows, double center, double) { total += rows * center; });
        const double center = total / members;
        each([&](double rows, double c, double m) { squares += m + rows * (c - center) * (c - center); });
        static_cast<C*>(mean)[at] = static_cast<C>(center);
        var[at] = squares / members;
      }
    });
  }

  template <class C>
  void forward() const {
    const int type = static_cast<int>(dtype);
    if (!given) {
      NormArgs all = args;
      all.sums = scratch<double>(kSlotSums, shape.samples * shape.blocks * 2 * shape.columns);
      sum<C>(kernels->moments[type], all);
      merge<C>(all.sums);
    }
    shape.each_block<C>(with_vectors<C>(3), item_size(dtype), true,
                        [&](const NormArgs& part) { kernels->apply[relu][type](part); });
  }

  // With M members of a group: dx = rstd (g w - mean(g w) - h mean(g w h)), h = (x - mean) rstd.
  template <class C>
  void backward(C* of_weight, C* of_bias) const {
    const int type = static_cast<int>(dtype);
    const index n = shape.columns;
    NormArgs all = with_vectors<C>(5);
    all.sums = scratch<double>(kSlotSums, shape.samples * shape.blocks * 2 * n);
    sum<C>(kernels->gradient_sums[relu][type], all);
    const double members = static_cast<double>(shape.members());
    C* about = const_cast<C*>(static_cast<const C*>(all.by_x));
    const index one = shape.samples * n;  // from by_x to by_one
    parallel_for(shape.groups, shape.group_grain(), [&](index begin, index end) {
      const index width = shape.channels / shape.groups;
      double* totals = scratch<double>(kSlotWork, 2 * width);  // of the weight, of the bias
      for (index group = begin; group < end; ++group) {
        std::fill_n(totals, 2 * width, 0.0);
        for (index s = 0; s < shape.samples; ++s) {
          const double scale = rstd(s * shape.groups + group);
          double ones = 0, xs = 0;
          shape.each_column(group, [&](index c, index column) {
            double g = 0, gx = 0;
            for (index b = 0; b < shape.blocks; ++b) {
              const double* m = all.sums + (s * shape.blocks + b) * 2 * n + column;
              g += m[0];
              gx += m[n];
            }
            totals[c - group * width] += gx * scale;
            totals[c - group * width + width] += g;
            ones += g * factor<C>(weight, c, 1);
            xs += gx * factor<C>(weight, c, 1);
          });
          const double by_x = given ? 0 : -scale * scale * scale * xs / members;
          const double by_one = given ? 0 : -scale * ones / members;
          shape.each_column(group, [&](index, index column) {
            about[s * n + column] = static_cast<C>(by_x);
            about[s * n + column + one] = static_cast<C>(by_one);
          });
        }
        for (index c = 0; c < width; ++c) {
          of_weight[group * width + c] = static_cast<C>(totals[c]);
          of_bias[group * width + c] = static_cast<C>(totals[c + width]);
        }
      }
    });
    shape.each_block<C>(all, item_size(dtype), true,
                        [&](const NormArgs& part) { kernels->gradient[relu][type](part); });
  }
};

Dims statistics_shape(const char* op, const Array& x, const NormOptions& options) {
  require_floating(op, "x", x);
  require_min_rank(op, "x", x, 2);
  const index channels = x.shape[x.rank() - 1];
  if (options.groups < 1 || channels % options.groups != 0)
    refuse(op, "num_groups", text("a positive divisor of ", channels, " channels"), options.groups);
  return {options.per_sample ? x.shape[0] : 1, options.groups};
}

struct Inputs {
  Array x;
  ChannelVector weight, bias;
  Inputs(const char* op, const Array& a, const Array* w, const Array* b)
      : x(dense(a)),
        weight(op, "weight", w, a, {a.shape[a.rank() - 1]}, "channels"),
        bias(op, "bias", b, a, {a.shape[a.rank() - 1]}, "channels") {}

  Run run(const NormOptions& options, const Array& mean, const Array& var, bool given) const {
    Run run{&norm_kernels(x.device),
            NormColumns(x.shape, options),
            x.dtype,
            {},
            weight.data(),
            bias.data(),
            mean.data,
            var.ptr<double>(),
            options.eps,
            options.relu,
            given};
    run.args.x = x.data;
    return run;
  }
  Work work(double passes) const {
    return {8 * static_cast<double>(x.size()), passes * static_cast<double>(x.nbytes())};
  }
};

Array apply(const char* op, const Inputs& in, const NormOptions& options, const Array& mean, const Array& var,
            bool given) {
  Array y = Array::empty(in.x.shape, in.x.dtype, in.x.device);
  if (y.size() == 0) return y;
  Run run = in.run(options, mean, var, given);
  run.args.out = y.data;
  const auto body = [run] { run.dtype == DType::float64 ? run.forward<double>() : run.forward<float>(); };
  if (given) {
    launch(op, in.work(2), {&in.x, in.weight.used(), in.bias.used(), &mean, &var}, {&y}, body);
  } else {
    launch(op, in.work(3), {&in.x, in.weight.used(), in.bias.used()}, {&y, &mean, &var}, body);
  }
  return y;
}

// mean or var in the dtype that is computed with, one value per group.
Array statistic(const char* op, const char* name, const Array& a, const Array& x, const Dims& expected,
                DType computed) {
  require_floating(op, name, a);
  if (a.size() != expected.count() || a.rank() > 2)
    refuse(op, name, text(expected.count(), " values for x of shape ", x.shape), "shape ", a.shape);
  return dense(is_half(a.dtype) ? cast(a, DType::float32) : a, computed);
}

}  // namespace

Array normalize(const char* op, const Array& x, const Array* weight, const Array* bias, const NormOptions& options,
                Array& mean, Array& var) {
  const Dims shape = statistics_shape(op, x, options);
  const Inputs in(op, x, weight, bias);
  mean = Array::empty(shape, accumulate_dtype(x.dtype));
  var = Array::empty(shape, DType::float64);
  if (x.size() == 0 && shape.count() > 0) refuse(op, "x", "at least one value to take a mean of", "shape ", x.shape);
  return apply(op, in, options, mean, var, false);
}

Array normalize_with(const char* op, const Array& x, const Array& mean, const Array& var, const Array* weight,
                     const Array* bias, const NormOptions& options) {
  const Dims shape = statistics_shape(op, x, options);
  const Inputs in(op, x, weight, bias);
  const Array m = statistic(op, "running_mean", mean, x, shape, accumulate_dtype(x.dtype));
  const Array v = statistic(op, "running_var", var, x, shape, DType::float64);
  return apply(op, in, options, m, v, true);
}

NormGradients normalize_gradient(const char* op, const Array& g, const Array& x, const Array& mean, const Array& var,
                                 const Array* weight, const Array* bias, const NormOptions& options, bool constant) {
  const Dims shape = statistics_shape(op, x, options);
  require_same_dtype(op, "g", g, "x", x);
  require_shape(op, "g", g, x.shape, ", that of x");
  const Inputs in(op, x, weight, bias);
  const Array slopes = dense(g);
  const Array m = statistic(op, "mean", mean, x, shape, accumulate_dtype(x.dtype));
  const Array v = statistic(op, "var", var, x, shape, DType::float64);
  const Dims channels{x.shape[x.rank() - 1]};
  NormGradients out{Array::empty(x.shape, x.dtype), Array::empty(channels, m.dtype), Array::empty(channels, m.dtype)};
  Run run = in.run(options, m, v, constant);
  run.args.g = slopes.data;
  run.args.out = out.x.data;
  launch(op, in.work(5), {&in.x, &slopes, in.weight.used(), in.bias.used(), &m, &v}, {&out.x, &out.weight, &out.bias},
         [run, w = out.weight.data, b = out.bias.data] {
           run.dtype == DType::float64 ? run.backward(static_cast<double*>(w), static_cast<double*>(b))
                                       : run.backward(static_cast<float*>(w), static_cast<float*>(b));
         });
  out.weight = dense(out.weight, x.dtype);
  out.bias = dense(out.bias, x.dtype);
  return out;
}

}  // namespace mlext
