// A weight as panels: of its own dtype widened to that of the sums, or of bytes.
#pragma once

#include <algorithm>

#include "core/parallel.h"
#include "core/scratch.h"
#include "kernels/gemm/kept.h"
#include "kernels/gemm/panel_product.h"
#include "kernels/gemm/qgemm.h"
#include "kernels/rnn/rnn.h"

namespace mlext::rnn_detail {

using gemm_detail::ceil_div;
using gemm_detail::Split;

// kSlotOrder and kSlotPanels are those of the thread that called.
enum Slot { kSlotOrder, kSlotInput, kSlotPanels, kSlotSecond, kSlotState, kSlotFactors, kSlotSums, kSlotPlaces };

// A weight in memory, of any floating dtype or of bytes, and where packs of it may be kept.
struct Matrix {
  const void* data = nullptr;
  Buffer* home = nullptr;
  DType dtype = DType::float32;
  const float* scale = nullptr;  // what a step of each row of bytes stands for; null for other dtypes
  Device device = Device::cpu;
};

// Rows of so many elements each.
template <class T>
struct Rows {
  T* data;
  index row;
};

// The i-th of so many, every other time from the end on: what was read last is still in a cache, where the first of a weight that
// does not fit has long been replaced.
inline index turned(index i, index count, bool back) { return back ? count - 1 - i : i; }
// Some that lie side by side, of panels or of what else is counted.
struct Range {
  index first, count;
  index at(index i, bool back) const { return first + turned(i, count, back); }
};

// Whether rows are one that several panels may be multiplied with at once, as they must be where bytes are read in place.
template <class T>
bool alone(const RecurrentTypeKernels<T>& kernels, index rows) {
  return rows == 1 && kernels.row[0][0] != nullptr;
}

// Rows of bytes as a panel: k rows of `width`, zeros behind the columns.
inline void arrange_bytes(const std::int8_t* from, index row, index k, index cols, std::int8_t* to, index width) {
  for (index j = 0; j < k; ++j, to += width) {
    for (index i = 0; i < width; ++i) to[i] = i < cols ? from[i * row + j] : std::int8_t{0};
  }
}

// A weight up to this size stays in L2 from step to step.
constexpr index kNearWeight = 1 << 20;
template <class T>
constexpr bool is_far(index elements) {
  return elements * static_cast<index>(sizeof(T)) > kNearWeight;
}

// Steps of a single sequence up to which bytes are not worth widening.
constexpr index kFewSteps = 8;

// A weight for one way: (k, n) in panels, each of one gate. Packed when made.
template <class T>
struct Weight {
  const GemmTypeKernels<T>& kernels;
  index k, n, gates, row, col;  // strides between k and between n; n of each gate
  Split panels = Split::of(ceil_div(n, kernels.lanes), kernels.stream_vectors);
  const T* packed = nullptr;
  const std::int8_t* bytes = nullptr;  // instead, in the same panels: times `scale`, in each product
  const float* scale = nullptr;
  BufferRef kept{};

  index column(index panel) const { return panels.begin(panel) * kernels.lanes; }
  index cols(index panel) const { return std::min(column(panel + 1), n) - column(panel); }
  index width(index panel) const { return panels.size(panel) * kernels.lanes; }
  index offset(index panel, index gate) const { return k * (gates * column(panel) + gate * width(panel)); }

  PackKey key(const Matrix& weight) const {
    const int layout =
        (static_cast<int>(weight.dtype) * 64 + static_cast<int>(kernels.lanes)) * 8 + static_cast<int>(panels.size(0));
    return {PackKind::recurrent, weight.data, k, n * gates, row, col, layout};
  }
  // fill(panel, gate, to) for all of them, or nothing where they are kept.
  template <class To, class Fill>
  const To* pack_with(const Matrix& weight, Buffer* home, int slot, Fill fill) {
    return gemm_detail::kept_or_made<To>(home, key(weight), k * gates * column(panels.count), slot, kept, [&](To* to) {
      for (index panel = 0; panel < panels.count; ++panel) {
        for (index gate = 0; gate < gates; ++gate) fill(panel, gate, to + offset(panel, gate));
      }
    });
  }
  // Bytes are widened in every call: kept, their panels would take four times the memory that they save. For a single row they
  // may be read `in_place` of those, in panels of bytes.
  Weight&& pack(const Matrix& weight, int slot, bool in_place = false) && {
    const auto source = [&](index panel, index gate) { return gate * n + column(panel); };
    if (weight.scale == nullptr) {
      packed = pack_with<T>(weight, weight.home, slot, [&](index panel, index gate, T* to) {
        const void* from = gemm_detail::at(weight.data, weight.dtype, source(panel, gate) * col);
        kernels.pack_b(weight.dtype, from, row, col, k, cols(panel), to, width(panel));
      });
    } else if (in_place) {
      scale = weight.scale;
      bytes = pack_with<std::int8_t>(weight, weight.home, slot, [&](index panel, index gate, std::int8_t* to) {
        arrange_bytes(rows_of(weight, source(panel, gate)), col, k, cols(panel), to, width(panel));
      });
    } else {
      packed = pack_with<T>(weight, nullptr, slot, [&](index panel, index gate, T* to) {
        const index first = source(panel, gate);
        float* wide = scratch<float>(kSlotFactors, cols(panel) * k);
        expand_rows(weight.device, {rows_of(weight, first), col, weight.scale + first, 1}, cols(panel), k, wide);
        kernels.pack_b(DType::float32, wide, 1, k, k, cols(panel), to, width(panel));
      });
    }
    return std::move(*this);
  }
  const std::int8_t* rows_of(const Matrix& weight, index first) const {
    return static_cast<const std::int8_t*>(weight.data) + first * col;
  }

  const T* bias_of(const void* bias, index panel, index gate) const {
    return bias != nullptr ? static_cast<const T*>(bias) + gate * n + column(panel) : nullptr;
  }

  // out = a B + bias, or out + a B, for one gate of a panel and rows that lie so far apart. The bias has all gates and columns.
  // `back`: the panels are gone through from the last one on.
  void multiply(index panel, index gate, const void* bias, bool adds, Rows<const T> a, Rows<T> out, index rows,
                bool back) const {
    gemm_detail::PanelProduct<T> p{{}, rows, panels.size(panel)};
    p.tile.k = k;
    p.tile.cols = cols(panel);
    p.tile.a = a.data;
    p.tile.a_row = a.row;
    p.tile.b = packed + offset(panel, gate);
    p.tile.in = p.tile.out = out.data;
    p.tile.in_row = p.tile.out_row = out.row;
    p.tile.beta = adds;
    p.far = is_far<T>(k * gates * n);
    p.tile.bias = bias_of(bias, panel, gate);
    const index next = panel * gates + gate + (back ? -1 : 1);
    if (next >= 0 && next < panels.count * gates) p.next = packed + offset(next / gates, next % gates);
    gemm_detail::multiply_panel(kernels, p);
  }

  // The same for one row and all gates of some panels; out(panel, gate) is where the sums go.
  template <class Out>
  void multiply_row(const RecurrentTypeKernels<T>& recurrent, Range some, const void* bias, bool adds, const T* a,
                    Out out, bool back) const {
    bytes != nullptr ? multiply_row_with(recurrent.byte_row, bytes, some, bias, adds, a, out, back)
                     : multiply_row_with(recurrent.row, packed, some, bias, adds, a, out, back);
  }
  template <class B, class Out>
  void multiply_row_with(const RowTable<T, B>& table, const B* b, Range range, const void* bias, bool adds, const T* a,
                         Out out, bool back) const {
    const Range tiles{range.first * gates, range.count * gates};
    RowArgs<T, B> args{};
    args.k = k;
    args.adds = adds;
    args.a = a;
    for (index i = 0, some = 0; i < tiles.count; i += some) {
      const index vectors = panels.size(tiles.at(i, back) / gates);
      for (some = 0; some < kRowTiles && i + some < tiles.count; ++some) {
        const index tile = tiles.at(i + some, back), panel = tile / gates, gate = tile % gates;
        if (panels.size(panel) != vectors) break;
        const float* steps = scale != nullptr ? scale + gate * n + column(panel) : nullptr;
        args.tile[some] = {cols(panel), b + offset(panel, gate), steps, bias_of(bias, panel, gate), out(panel, gate)};
      }
      table[some - 1][vectors - 1](args);
    }
  }

  // All panels in so many parts, each the work of one thread: f(panels, part).
  template <class F>
  void divide(index parts, F f) const {
    const Split of_panels = Split::of(panels.count, ceil_div(panels.count, parts));
    parallel_for(of_panels.count, 1, [&](index begin, index end) {
      for (index part = begin; part < end; ++part) f(Range{of_panels.begin(part), of_panels.size(part)}, part);
    });
  }

  // out = a B or out + a B, all panels side by side, of one gate.
  void multiply_all(const RecurrentTypeKernels<T>& recurrent, index parts, bool adds, Rows<const T> a, Rows<T> out,
                    index rows, bool back) const {
    divide(parts, [&](Range some, index) {
      if (alone(recurrent, rows)) {
        const auto to = [&](index panel, index) { return out.data + column(panel); };
        return multiply_row(recurrent, some, nullptr, adds, a.data, to, back);
      }
      for (index i = 0; i < some.count; ++i) {
        const index panel = some.at(i, back);
        multiply(panel, 0, nullptr, adds, a, {out.data + column(panel), out.row}, rows, back);
      }
    });
  }
};

}  // namespace mlext::rnn_detail
