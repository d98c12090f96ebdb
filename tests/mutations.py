"""Faults that the tests must catch: each is put into a copy of the source, and the named tests must then fail.

    python tests/mutations.py                      the faults in Python
    python tests/mutations.py --compiled           those in C++ too; builds the copy first, minutes
    python tests/mutations.py schedule product     those whose file has one of these in its path

Needs mlext and its test extra installed. Run it after changes to a test that guards one of these lines, and add a line
when you fix a fault that no test had caught. The exit status is the number of faults that survived.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mlext import _C

ROOT = Path(__file__).resolve().parents[1]

# (file, the line's text, what becomes of it, tests that must notice)
MUTATIONS = [
    # Every layer with channels first reads channels in the wrong places.
    (
        "python/mlext/functional/_layout.py",
        "return (0, *range(2, rank), 1), (0, rank - 1, *range(1, rank - 1))",
        "return (0, *range(2, rank), 1), (0, *range(2, rank), 1)",
        "test_data_format.py",
    ),
    # A residual with channels first is added as if they were last.
    (
        "python/mlext/functional/_layout.py",
        'options["residual"] = with_channels_last(residual)',
        "pass",
        "test_data_format.py",
    ),
    # The way back copies images with channels first again.
    (
        "python/mlext/functional/_layout.py",
        "out = _C.dense(_C.permute(x, to_last))",
        "out = _C.permute(x, to_last)",
        "test_data_format.py",
    ),
    # A norm over other channels than those of the convolution is folded into it.
    (
        "python/mlext/fusion.py",
        'getattr(layer, "data_format", LAST) != norm.data_format',
        "False",
        "test_data_format.py",
    ),
    # A model of images with channels first returns images with channels last.
    ("python/mlext/models/_formats.py", "if gives_images:", "if False:", "test_data_format.py"),
    # A chain of elementwise ops on a permuted view walks memory across.
    (
        "csrc/kernels/elementwise/order.cpp",
        "if (!turned.is_dense()) return;",
        "return;",
        "test_data_format.py",
    ),
    # The third colour of a pixel is lost on the way to channels last.
    (
        "csrc/kernels/elementwise/transpose.simd.cpp",
        "if (t.columns == 3) return join<U, 3>(t), true;",
        "if (t.columns == 3) return join<U, 2>(t), true;",
        "test_data_format.py",
    ),
    # Two paths from a value to the loss: the second gradient replaces the first.
    (
        "python/mlext/autograd.py",
        "flow if before is None else _C.add(before, flow)",
        "flow",
        "test_tensor.py",
    ),
    # Of the parts of a split only the last one's gradient comes back.
    ("python/mlext/autograd.py", "left.get(i) for i in", "left.get(0) for i in", "test_shape.py"),
    # A saved value that was changed in place is used as if nothing had happened.
    ("python/mlext/autograd.py", " or _C.versions(node.saved) != node.versions", "", "test_tensor.py"),
    # The gradient of a weight forgets the fused activation.
    (
        "python/mlext/functional/linear.py",
        "_C.linear_weight_gradient(inner(g), x)",
        "_C.linear_weight_gradient(g, x)",
        "test_ops.py",
    ),
    # A layer that calibration did not see up to its largest input is quantised for less.
    (
        "python/mlext/quantization.py",
        "ranges[name] = min(low, before[0]), max(high, before[1])",
        "ranges[name] = low, high",
        "test_quantized.py",
    ),
    # The zero of the input stays in the sum.
    (
        "python/mlext/nn/_rounding.py",
        "added - step * x_zero * values",
        "added - 0 * x_zero * values",
        "test_quantized.py",
    ),
    # A group for each channel is quantised too, which takes longer than float32.
    ("python/mlext/quantization.py", "return groups == 1 or", "return groups >= 1 or", "test_quantized_conv.py"),
    # Of four bits, the two halves of a byte change places.
    (
        "python/mlext/nn/_rounding.py",
        "blocks[:, :, 0] | blocks[:, :, 1] << 4",
        "blocks[:, :, 1] | blocks[:, :, 0] << 4",
        "test_quantized.py",
    ),
    # A broadcast operand gets a gradient of the result's shape.
    (
        "python/mlext/functional/_common.py",
        "return g if g.shape == like.shape else _C.sum_to(g, like.shape)",
        "return g",
        "test_ops.py",
    ),
    # The tape borrows the caller's ndarray instead of copying it.
    (
        "python/mlext/nn/_door.py",
        "if _C.grad_enabled() or dtype != x.dtype else",
        "if dtype != x.dtype else",
        "test_nn.py",
    ),
    # A schedule is one step ahead.
    (
        "python/mlext/optim/schedule.py",
        "1.0 - min(self.last_epoch, self.total_iters)",
        "1.0 - min(self.last_epoch + 1, self.total_iters)",
        "test_optim.py",
    ),
    # The moving average moves by what it should keep.
    ("python/mlext/optim/averaging.py", "1.0 - self.decay)", "self.decay)", "test_optim.py"),
    ("python/mlext/metrics/regression.py", "1 - residual / np.where", "residual / np.where", "test_metrics.py"),
    # Precision and recall change places.
    (
        "python/mlext/metrics/classification.py",
        "actual: Any = counts.sum(axis=1)",
        "actual: Any = counts.sum(axis=0)",
        "test_metrics.py",
    ),
    # Tiles lower than the lowest stream_tile go to it.
    (
        "csrc/kernels/gemm/product.h",
        "missing < kTallHeights",
        "missing <= kTallHeights",
        "test_gemm.py",
    ),
    # The next chunk of rows reads packed panels from one slot too early.
    (
        "csrc/kernels/gemm/product.h",
        "task.slots - (panels - 1)",
        "task.slots - panels",
        "test_gemm.py",
    ),
    # A panel that is packed on the way: its last steps of k are not, and it is read with the stride of B.
    (
        "csrc/kernels/gemm/row_tile.h",
        "kPanel == Panel::streamed ? Panel::at_hand : kPanel",
        "Panel::at_hand",
        "test_gemm.py",
    ),
    ("csrc/kernels/gemm/compact.h", "tile.b_row = vectors * kernels.lanes", "tile.b_row = g.b_row", "test_gemm.py"),
    # Behind the last row of B, and behind each one where none follows, is nothing that may be read.
    ("csrc/kernels/gemm/tile.h", "idle && g.k > 0 ? 1 : g.k", "idle && g.k > 0 ? 0 : g.k", "test_gemm.py"),
    ("csrc/kernels/gemm/tile.h", "g.b_row >= idle && g.k > 0 ? 1 : g.k", "1", "test_gemm.py"),
    # The second block of k forgets the first.
    ("csrc/kernels/gemm/product.h", ": 0) : 1;", ": 0) : 0;", "test_gemm.py"),
    # An activation between two blocks of k; rows of a later block of rows get the bias of the first.
    (
        "csrc/kernels/gemm/product.h",
        "plan.finish && step.k0 + step.k == g.k",
        "plan.finish",
        "test_gemm.py",
    ),
    (
        "csrc/kernels/gemm/product.h",
        "finish(tile.out, tile.out_row, rows.begin + blocks.begin(i), tile.rows",
        "finish(tile.out, tile.out_row, rows.begin, tile.rows",
        "test_gemm.py",
    ),
    # Pairs of an odd depth end in a step that is not there; the second step of a pair is the first one again. Both only
    # where the CPU has the instruction.
    ("csrc/kernels/gemm/rules.h", "g.k % 2 == 0 &&", "", "test_gemm.py"),
    ("csrc/kernels/gemm/bgemm.simd.cpp", "(lanes, p.first + p.step)", "(lanes, p.first)", "test_gemm.py"),
    # A residual is added in every block of k; relu comes before the last one; sums that wait add C instead.
    ("csrc/kernels/gemm/product.h", "tile.in = first && plan.direct ?", "tile.in = plan.direct ?", "test_gemm.py"),
    ("csrc/kernels/gemm/product.h", "step.k0 + step.k == g.k ? tile_top<T>(g) : 0", "tile_top<T>(g)", "test_gemm.py"),
    ("csrc/kernels/gemm/epilogue.h", "static_cast<const Out*>(g.in)", "static_cast<const Out*>(g.c)", "test_gemm.py"),
    # Convolution: the image begins a row early; taps of a gradient are not turned around; sums of images in other bands
    # are lost; the next image of a band begins where a row does.
    ("csrc/kernels/conv/band.h", "y - c.rows.before, to", "y - c.rows.before + 1, to", "test_conv.py"),
    ("csrc/kernels/conv/input_gradient.cpp", "-tap_step * forward.w_step", "tap_step * forward.w_step", "test_conv.py"),
    (
        "csrc/kernels/conv/filter_gradient.cpp",
        "band.image == 0 && band.row == 0 ? T(0)",
        "band.row == 0 ? T(0)",
        "test_conv.py",
    ),
    ("csrc/kernels/conv/filter_gradient.cpp", "(i + 1) % band.rows == 0", "false", "test_conv.py"),
    ("csrc/kernels/conv/filter_gradient.cpp", "product.beta = block > 0;", "product.beta = 0;", "test_conv.py"),
    # Depthwise: parts of a row begin where the row does; all parts of a gradient add up in the first one's place; a
    # multiplied channel is the next one.
    ("csrc/kernels/conv/depthwise.cpp", "args.pixels = pixels;", "", "test_conv.py"),
    ("csrc/kernels/conv/depthwise.cpp", "sums[i] += sums[part * size + i];", "sums[i] += sums[i];", "test_conv.py"),
    # Places in padding alone: what is added to them begins where the image does.
    ("csrc/kernels/conv/correlate.cpp", "moved(c.product.residual, to)", "c.product.residual", "test_conv.py"),
    ("csrc/kernels/conv/conv.cpp", "strides.push(0);", "strides.push(1);", "test_conv.py"),
    # Winograd: an edge begins a pixel late; F(2, 3) is not what it was; a tile beyond the edge counts as whole; filters
    # of different taps meet.
    (
        "csrc/kernels/conv/winograd.cpp",
        "place % columns * tile - c.cols",
        "place % columns * tile + 1 - c.cols",
        "test_winograd.py",
    ),
    ("csrc/kernels/conv/winograd.simd.cpp", "(m[1] - m[2]) - m[3];", "(m[1] - m[2]) + m[3];", "test_winograd.py"),
    ("csrc/kernels/conv/winograd.cpp", "std::min(tile, c.cols.out - col)", "tile", "test_winograd.py"),
    ("csrc/kernels/conv/winograd.cpp", "tap % 3 * c.cols.w_step", "tap % 3 * c.channels", "test_winograd.py"),
    ("csrc/kernels/pool/pool.simd.cpp", "select(y > V::zero(), left, V::zero())", "left", "test_pool.py"),
    # Recurrence: backwards begins at the end of the longest; a state is not left where its sequence ends; the gradient
    # by way of z is lost; the shortest sequences come first.
    (
        "csrc/kernels/attention/attention.simd.cpp",
        "if (most > args.largest[r]) grow",
        "if (false) grow",
        "test_attention.py",
    ),
    ("csrc/kernels/attention/attention.simd.cpp", "sum == 0 ? T(0) : 1 / sum", "1 / sum", "test_attention.py"),
    ("csrc/kernels/attention/attention.simd.cpp", "fma(-t, t, one)", "one", "test_attention.py"),
    ("csrc/kernels/attention/weigh.h", "rows.scale[row * rows.scale_row]", "rows.scale[row]", "test_byte_cache.py"),
    ("csrc/kernels/gemm/qgemm.simd.cpp", 'nan ? __builtin_nanf("") : divisor', "divisor", "test_byte_cache.py"),
    ("csrc/kernels/attention/problem.h", "bottom_right ? segment.keys - segment.queries : 0", "0", "test_attention.py"),
    (
        "csrc/kernels/attention/gradient.cpp",
        "part < d_.parts; ++part)\n          kernels_.add",
        "part < 1; ++part)\n          kernels_.add",
        "test_attention.py",
    ),
    (
        "csrc/kernels/attention/gradient.cpp",
        "if (first_block && (adds || !sees)) clear_q",
        "if (false) clear_q",
        "test_attention.py",
    ),
    (
        "csrc/kernels/attention/tile.h",
        "rows.number(rows.place(first + r)) * padded(problem.keys)",
        "r",
        "test_attention.py",
    ),
    ("csrc/kernels/rnn/walk.h", "length - 1 - s", "steps - 1 - s", "test_rnn.py"),
    ("csrc/kernels/rnn/forward.h", "== s + at + 1", "== s + steps", "test_rnn.py"),
    ("csrc/kernels/rnn/forward.h", "chunk.rows * width;", "chunk.active * width;", "test_rnn.py"),
    ("csrc/kernels/rnn/gates.h", "max(V(-87.0f), min(V(87.0f), x))", "x", "test_rnn.py"),
    ("csrc/kernels/rnn/gradient.cpp", "is_gru(layer_.cell),", "false,", "test_rnn.py"),
    ("csrc/kernels/rnn/gradient.cpp", "if (layer_.projects()) {", "if (false) {", "test_rnn.py"),
    ("csrc/kernels/rnn/rnn.simd.cpp", "peep(args, tile, 2);", "peep(args, tile, 1);", "test_rnn.py"),
    ("csrc/kernels/rnn/rows.h", "if (args.adds) sum", "if (false) sum", "test_rnn.py"),
    ("csrc/kernels/rnn/weight.h", "if (panels.size(panel) != vectors) break;", "", "test_rnn.py"),
    # Directions side by side: each has its own memory, and gradients of x are a sum.
    (
        "csrc/kernels/rnn/rnn.bind.cpp",
        "{static_cast<Cell>(i), k == 1, saves}",
        "{static_cast<Cell>(i), false, saves}",
        "test_rnn.py",
    ),
    (
        "python/mlext/functional/_both_directions.py",
        "_C.add(there, back)",
        "there",
        "test_rnn.py",
    ),
    # Layers at once: none before the one below has made what it reads.
    (
        "csrc/kernels/rnn/forward.h",
        "f_.below != nullptr && !f_.below->wait_for(s + steps)",
        "false",
        "test_recurrent_stack.py",
    ),
    ("csrc/kernels/rnn/walk.h", "length[a] > length[b]", "length[a] < length[b]", "test_rnn.py"),
    # Bytes: each row has a scale of its own, the third gate of gru_before too.
    (
        "csrc/kernels/rnn/weight.h",
        "weight.scale + first, 1}",
        "weight.scale, 1}",
        "test_quantized_recurrent.py",
    ),
    ("csrc/kernels/rnn/walk.h", "? weight.scale + 2 * units", "? weight.scale", "test_quantized_recurrent.py"),
    ("csrc/kernels/rnn/weight.h", "? scale + gate * n + column", "? scale + column", "test_quantized_recurrent.py"),
    ("csrc/kernels/rnn/rows.h", "b = b * scales[i / V]", "b = b * scales[0]", "test_quantized_recurrent.py"),
    (
        "python/mlext/nn/quantized_recurrent.py",
        "made._backwards = layer._backwards",
        "pass",
        "test_quantized_recurrent.py",
    ),
    # CTC: what repeats is skipped to without a blank; blocks of frames are not made again; the way back grows until it
    # overflows; a label that occurs twice counts once; the mean forgets how many labels there are.
    ("csrc/kernels/ctc/ctc.simd.cpp", "&& args.classes[u] != args.classes[u - 1]", "", "test_ctc.py"),
    ("csrc/kernels/ctc/ctc.simd.cpp", "walk.again(t + 1 - args.frames_kept);", "{}", "test_ctc.py"),
    ("csrc/kernels/ctc/ctc.simd.cpp", "settle(args.backwards, 4);", "{}", "test_ctc.py"),
    (
        "csrc/kernels/ctc/ctc.simd.cpp",
        "args.sums[args.classes[u]] += args",
        "args.sums[args.classes[u]] = args",
        "test_ctc.py",
    ),
    ("csrc/kernels/ctc/ctc.cpp", "std::max<index>(args.count, 1) * sequences", "sequences", "test_ctc.py"),
    # Pooling: every pixel that has the value gets the gradient; padding counts though it should not.
    ("csrc/kernels/pool/pool.simd.cpp", "left = select(takes, V::zero(), left);", "", "test_pool.py"),
    ("csrc/kernels/pool/pool.simd.cpp", "clear<V>(g, out, r0, r1, col, g.cols.in)", "", "test_pool.py"),
    ("csrc/kernels/pool/pool.cpp", "o.counts_padding && !o.adaptive", "!o.adaptive", "test_pool.py"),
    # Normalisation: squares about 0; blocks of another size count alike; a mean that was given moves the gradient; the
    # last block of rows is as long as the others.
    (
        "csrc/kernels/norm/norm.simd.cpp",
        "const V d = value(r, c, part) - get<V>(about + c, part);",
        "const V d = value(r, c, part);",
        "test_norm.py",
    ),
    ("csrc/kernels/norm/norm.cpp", "total += rows * center;", "total += center;", "test_norm.py"),
    ("csrc/kernels/norm/norm.cpp", "given ? 0 : -scale * ones", "-scale * ones", "test_norm.py"),
    # The gradient of the sum is lost on the way to what was added.
    ("python/mlext/functional/_normalization.py", 'of_sum = left.get("sum")', "of_sum = None", "test_norm.py"),
    ("csrc/kernels/norm/row_bodies.h", "if constexpr (kAdd) v += get<V>(of_sum + i, part);", "", "test_norm.py"),
    ("csrc/kernels/rotary/rotary.simd.cpp", "return args.opposite ? -s : s;", "return s;", "test_rotary.py"),
    ("csrc/kernels/rotary/rotary.cpp", "run.sample_step = x.strides[0];", "run.sample_step = 0;", "test_rotary.py"),
    ("csrc/kernels/softmax/softmax.cpp", "mask + offset, last", "mask, last", "test_softmax.py"),
    ("csrc/kernels/softmax/softmax.simd.cpp", "sum == C(0) ? C(0) : C(1) / sum", "C(1) / sum", "test_softmax.py"),
    ("csrc/kernels/elementwise/gated.cpp", "loop.offset(1, r)", "loop.offset(0, r)", "test_gated.py"),
    ("csrc/kernels/norm/rows.cpp", "partial + b * 2 * n;", "partial;", "test_norm.py"),
    # Kept panels of a compact product all begin where the first one does.
    ("csrc/kernels/gemm/compact.h", "kept_b + g.k * n0", "kept_b", "test_packs.py"),
    # Short rows: lanes behind the last class count as classes; the label's slope comes from another row.
    (
        "csrc/kernels/softmax/rows.h",
        "for (index j = 0; j < n; ++j) top",
        "for (index j = 0; j < n + n % 2; ++j) top",
        "test_softmax.py",
    ),
    ("csrc/kernels/softmax/cross_entropy.simd.cpp", "y, less[r]);", "y, less[0]);", "test_softmax.py"),
    # Sums of one block of rows are taken for those of all.
    ("csrc/kernels/gemm/product.h", "if (plan.sums_wait(g)) sums +=", "if (false) sums +=", "test_gemm.py"),
    # A launch that throws does not count as a write.
    ("csrc/core/launch.h", "if (out != nullptr) out->written();", "", "test_packs.py"),
    # A replay does not count as a write to what it writes.
    (
        "csrc/core/launch.h",
        "buffer->version.fetch_add(1, std::memory",
        "buffer->version.fetch_add(0, std::memory",
        "test_compile.py",
    ),
    # Kept panels of a weight outlive an update inside a replay, and updates through NumPy, past ones and some to come;
    # and are made of memory that replays write.
    (
        "csrc/core/launch.cpp",
        "        const Step::Writes writes{step};\n        step.run();",
        "step.run();",
        "test_packs.py",
    ),
    ("csrc/bind/arrays.cpp", "buffer.past_views.fetch_add(1, std::memory_order_release);", "", "test_packs.py"),
    (
        "csrc/core/packs.cpp",
        "if (buffer.writable_views.load(std::memory_order_acquire) != 0) return {};",
        "",
        "test_packs.py",
    ),
    (
        "csrc/core/packs.cpp",
        "array.buffer->pool == &default_pool()",
        "array.buffer->data != nullptr",
        "test_packs.py",
    ),
    # A part of a weight gets the panels of another part.
    ("csrc/core/packs.cpp", "entry.key == key && entry.stamp == found", "entry.stamp == found", "test_packs.py"),
    ("csrc/kernels/gemm/kept.h", "static_cast<int>(plan.panels.size(0));", "kernels.stream_vectors;", "test_packs.py"),
    # Signed bytes as unsigned ones without what takes the 128 back, and a NaN as a number.
    ("csrc/kernels/gemm/qgemm.cpp", "columns.alpha = -128;", "columns.alpha = 0;", "test_quantized.py"),
    ("csrc/kernels/gemm/qgemm.cpp", "if (nan[i])", "if (false)", "test_quantized.py"),
    # Of bytes, padding is the byte 0 and not that of 0, every panel has the scales of the first, and a NaN is a number.
    ("csrc/kernels/conv/band.h", "= static_cast<T>(c.outside);", "= T{};", "test_quantized_conv.py"),
    ("csrc/kernels/conv/gather.h", "static_cast<int>(c.outside)", "0", "test_quantized_conv.py"),
    ("csrc/kernels/conv/finish.h", "f.scale_n += output,", "f.scale_n += 0,", "test_quantized_conv.py"),
    ("csrc/kernels/conv/quantized.cpp", "if (any_nan) spoil_all", "if (false) spoil_all", "test_quantized_conv.py"),
    # An odd number of groups loses the last one.
    ("csrc/kernels/gemm/qgemm.cpp", "if (more == 0) return x;", "return x;", "test_quantized.py"),
    # The last, shorter part of a parallel loop is left out.
    ("csrc/core/parallel.cpp", "chunks = (n + grain - 1) / grain", "chunks = n / grain", "test_reduce.py"),
    # The last step is the first one that was read backwards.
    (
        "python/mlext/nn/sequence.py",
        "range(len(h) - directions, len(h))",
        "range(directions)",
        "test_sequences.py",
    ),
    # The twin reads as its brother does.
    ("python/mlext/nn/sequence.py", "self.reverse._backwards = True", "pass", "test_sequences.py"),
    # Attention looks behind the end of a sequence.
    (
        "python/mlext/nn/attention.py",
        'scores = F.where(F.expand_dims(known, 1), scores, float("-inf"))',
        "pass",
        "test_sequences.py",
    ),
    # A step with a cache is the first one, of its queries, of its positions and of its ring.
    (
        "python/mlext/nn/multihead.py",
        'need_weights, options | {"align": "bottom_right"}',
        "need_weights, options",
        "test_attention_layers.py",
    ),
    ("python/mlext/nn/multihead.py", "offset = cache.length", "offset = 0", "test_attention_layers.py"),
    ("python/mlext/nn/cache.py", "(self.length + steps - last) % window", "0", "test_attention_layers.py"),
    ("python/mlext/nn/cache.py", "min(self.length, window - 1)", "0", "test_attention_layers.py"),
    # Layers of a stack begin alike.
    (
        "python/mlext/nn/transformer_stack.py",
        "another(name, layer, source)",
        "_another(name, layer, 0)",
        "test_attention_layers.py",
    ),
    # The gate is not one.
    ("python/mlext/nn/gated.py", "self.gate_proj(x) * self", "self.gate_proj(x) + self", "test_attention_layers.py"),
    # A refused step stays in the cache.
    ("python/mlext/nn/multihead.py", "cache.length = offset  # a", "pass  # a", "test_attention_layers.py"),
    # What a query may not see counts in the sum.
    (
        "python/mlext/functional/attention_weights.py",
        "softmax(where(visible, scores, -1e30))",
        "softmax(scores)",
        "test_ops.py",
    ),
    # Characters are not drawn by their probabilities.
    (
        "python/mlext/functional/sampling.py",
        'np.searchsorted(sums, places[i] * sums[-1], side="right")',
        "len(sums) // 2",
        "test_sequence_models.py",
    ),
    # One class too few makes up top_p.
    (
        "python/mlext/functional/sampling.py",
        "int(np.searchsorted(sums, wanted)) + 1",
        "max(int(np.searchsorted(sums, wanted)), 1)",
        "test_sampling.py",
    ),
    (
        "python/mlext/models/_drawing.py",
        '{"temperature": self.temperature, ',
        '{"temperature": 1.0, ',
        "test_sequence_models.py",
    ),
    # A step behind cached ones is taken for the first one.
    (
        "python/mlext/models/gpt.py",
        "x = self.positions(x, before)",
        "x = self.positions(x)",
        "test_transformer_models.py",
    ),
    # A text that has grown beyond the context goes on with keys of steps that were forgotten.
    (
        "python/mlext/models/gpt.py",
        """                for cache in caches or ():
                    cache.reset()
""",
        "",
        "test_transformer_models.py",
    ),
    # The weights of dense layers are taken as they are in files of GPT-2.
    (
        "python/mlext/models/_published.py",
        "return F.permute(whole, (1, 0)) if turned and whole.ndim == 2 else whole",
        "return F.reshape(whole, whole.shape[::-1]) if turned else whole",
        "test_pretrained.py",
    ),
    # Each piece of a text is scored without what came before it.
    (
        "python/mlext/models/text.py",
        "total += _nats(row[at : at + len(right)].astype(np.float64), right)",
        "total += _nats(row[: len(right)].astype(np.float64), right)",
        "test_sequence_models.py",
    ),
    # The decoder sees what it should write.
    (
        "python/mlext/models/translation.py",
        "known = F.concat([begin, target[:, :-1]], 1)",
        "known = target",
        "test_sequence_models.py",
    ),
    # The scales of a series are those of its future too.
    (
        "python/mlext/cli/series.py",
        "offset, scale = moments(values[:cut], 0)",
        "offset, scale = moments(values, 0)",
        "test_cli_sequences.py",
    ),
    # Training that was stopped by the clock does not go on.
    (
        "python/mlext/training/callbacks.py",
        """        if state["reached"]:
            self.trainer.stop_training = False
""",
        "",
        "test_sequence_models.py",
    ),
    # The clock is only looked at between epochs.
    (
        "python/mlext/training/loop.py",
        """                if self.stop_training:
                    break
""",
        "",
        "test_sequence_models.py test_cli_sequences.py",
    ),
]


def run(command: list[object], **options: object) -> int:
    """The exit status of a command that keeps its output for itself."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    return int(done.returncode)


def build(copy: Path) -> None:
    """Compile the copy's extension into its package; only what changed, after the first time."""
    folder = copy / "build"
    cmakedir = subprocess.run(
        [sys.executable, "-m", "pybind11", "--cmakedir"], capture_output=True, text=True, check=True
    )
    options = [f"-Dpybind11_DIR={cmakedir.stdout.strip()}", f"-DPython_EXECUTABLE={sys.executable}"]
    configure = ["cmake", "-S", copy, "-B", folder, "-G", "Ninja", "-DSKBUILD_PROJECT_VERSION=0", *options]
    if run(configure) or run(["cmake", "--build", folder, "--target", "_C"]):
        raise SystemExit("the copy does not compile")
    for made in folder.glob("_C.*.so"):
        shutil.copy(made, copy / "python" / "mlext")


def survives(copy: Path, path: str, text: str, fault: str, tests: str) -> bool:
    """Whether the tests pass with the fault in the copy, which is whole again afterwards."""
    file = copy / path
    before = file.read_text()
    if before.count(text) != 1:
        raise SystemExit(f"{path}: expected {text!r} once, found it {before.count(text)} times")
    file.write_text(before.replace(text, fault))
    try:
        if path.startswith("csrc"):
            build(copy)
        names = [copy / "tests" / name for name in tests.split()]
        environment = {**os.environ, "PYTHONPATH": str(copy / "python"), "PYTHONDONTWRITEBYTECODE": "1"}
        return run([sys.executable, "-m", "pytest", "-x", "-q", *names], cwd=copy, env=environment) == 0
    finally:
        file.write_text(before)


def main() -> int:
    """Put in one fault after the other; the number of survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", help="parts of the paths of files")
    parser.add_argument("--compiled", action="store_true", help="the faults in C++ too")
    options = parser.parse_args()
    chosen = [m for m in MUTATIONS if options.compiled or not m[0].startswith("csrc")]
    chosen = [m for m in chosen if not options.only or any(part in m[0] for part in options.only)]
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "mlext"
        ignored = shutil.ignore_patterns("build", "__pycache__", ".git")
        shutil.copytree(ROOT, copy, ignore=ignored)
        shutil.copy(str(_C.__file__), copy / "python" / "mlext")
        if any(m[0].startswith("csrc") for m in chosen):
            build(copy)
        for path, text, fault, tests in chosen:
            alive = survives(copy, path, text, fault, tests)
            survivors += alive
            print("SURVIVED" if alive else "caught  ", path, "|", fault or f"without {text!r}", flush=True)
    return survivors


if __name__ == "__main__":
    sys.exit(main())
