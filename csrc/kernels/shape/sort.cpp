#include <algorithm>
#include <bit>

#include "core/launch.h"
#include "core/parallel.h"
#include "core/scratch.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/shape/axis.h"
#include "kernels/shape/shape.h"

namespace mlext {
namespace {

constexpr int kSortSlot = 1;

// Keys: unsigned integers in the order of the elements. All NaNs are the largest, -0 equals 0. With the position below the
// key no two items are equal, so any sort is stable.
std::uint32_t key_of(float x) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  if (x != x) return ~0u;
  if (x == 0) return 0x80000000u;
  return u & 0x80000000u ? ~u : u | 0x80000000u;
}
std::uint64_t key_of(double x) {
  const auto u = std::bit_cast<std::uint64_t>(x);
  constexpr std::uint64_t kSign = 1ull << 63;
  if (x != x) return ~0ull;
  if (x == 0) return kSign;
  return u & kSign ? ~u : u | kSign;
}
std::uint32_t half_key(std::uint16_t u, std::uint16_t infinity) {
  if ((u & 0x7fff) > infinity) return 0xffff;
  if ((u & 0x7fff) == 0) return 0x8000;
  return static_cast<std::uint16_t>(u & 0x8000 ? ~u : u | 0x8000);
}
std::uint32_t key_of(bf16 x) { return half_key(x.bits, 0x7f80); }
std::uint32_t key_of(f16 x) { return half_key(x.bits, 0x7c00); }
template <class T>
  requires std::is_integral_v<T>
auto key_of(T x) {
  if constexpr (sizeof(T) == 8) {
    return static_cast<std::uint64_t>(x) ^ 1ull << 63;
  } else {
    return static_cast<std::uint32_t>(static_cast<std::int32_t>(x)) ^ 0x80000000u;
  }
}

// Narrow keys share a word with the position: half the memory, and one comparison.
struct NarrowItem {
  std::uint64_t word;
  NarrowItem() = default;
  NarrowItem(std::uint32_t key, index at)
      : word(static_cast<std::uint64_t>(key) << 32 | static_cast<std::uint64_t>(at)) {}
  index at() const { return static_cast<index>(word & 0xffffffffu); }
  bool operator<(const NarrowItem& other) const { return word < other.word; }
};
struct WideItem {
  std::uint64_t key;
  index position;
  WideItem() = default;
  WideItem(std::uint64_t k, index at) : key(k), position(at) {}
  index at() const { return position; }
  bool operator<(const WideItem& other) const { return key != other.key ? key < other.key : position < other.position; }
};

// The first `k` of the order of one line.
template <class Item, class T>
void order_line(const T* x, index n, index k, bool descending, T* values, std::int64_t* indices) {
  Item* items = scratch<Item>(kSortSlot, n);
  for (index i = 0; i < n; ++i) {
    const auto key = key_of(x[i]);
    items[i] = Item(descending ? ~key : key, i);
  }
  if (k < n) std::nth_element(items, items + k, items + n);
  std::sort(items, items + k);
  for (index i = 0; i < k; ++i) {
    indices[i] = items[i].at();
    values[i] = x[items[i].at()];
  }
}

// Along the last axis of a row-major array.
Array order(const char* op, const Array& x, index k, bool descending, Array& indices) {
  const index n = x.shape[x.rank() - 1], lines = n == 0 ? 0 : x.size() / n;
  const Dims shape = replace_axis(x.shape, x.rank() - 1, {k});
  Array values = Array::empty(shape, x.dtype);
  indices = Array::empty(shape, DType::int64);
  if (values.size() == 0) return values;
  const void* from = x.data;
  void* to = values.data;
  auto* at = indices.ptr<std::int64_t>();
  const DType dtype = x.dtype;
  const Work work{static_cast<double>(x.size()) * std::bit_width(static_cast<std::uint64_t>(n)),
                  static_cast<double>(x.nbytes() + values.nbytes() + indices.nbytes())};
  launch(op, work, {&x}, {&values, &indices}, [=] {
    visit_dtype(dtype, [&]<class T>(Type<T>) {
      // A line of 2^32 elements or more has positions of more than 32 bits.
      using Item = std::conditional_t<sizeof(T) == 8, WideItem, NarrowItem>;
      parallel_for(lines, std::max<index>(1, 2048 / n), [&](index begin, index end) {
        for (index l = begin; l < end; ++l) {
          const T* line = static_cast<const T*>(from) + l * n;
          T* sorted = static_cast<T*>(to) + l * k;
          if (n <= 0xffffffff) {
            order_line<Item>(line, n, k, descending, sorted, at + l * k);
          } else {
            order_line<WideItem>(line, n, k, descending, sorted, at + l * k);
          }
        }
      });
    });
  });
  return values;
}

Array order_along(const char* op, const Array& x, int axis, index k, bool descending, Array& indices) {
  const int last = x.rank() - 1;
  const Array lines = dense(move_axis(x, axis, last));
  const Array values = order(op, lines, k, descending, indices);
  indices = move_axis(indices, last, axis);
  return move_axis(values, last, axis);
}

}  // namespace

Array sort(const Array& x, index axis, bool descending, Array& indices) {
  const int d = check_axis("sort", axis, x.rank());
  return order_along("sort", x, d, x.shape[d], descending, indices);
}

Array topk(const Array& x, index k, index axis, Array& indices) {
  const int d = check_axis("topk", axis, x.rank());
  if (k < 0 || k > x.shape[d]) refuse("topk", "k", text("0 to the size ", x.shape[d], " of axis ", d), k);
  return order_along("topk", x, d, k, true, indices);
}

}  // namespace mlext
