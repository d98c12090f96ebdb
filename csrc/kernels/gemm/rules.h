// What decides how a product is computed, each rule with the measurement behind it.
#pragma once

#include <algorithm>
#include <limits>
#include <utility>

#include "core/dtype.h"
#include "core/parallel.h"
#include "kernels/gemm/bgemm.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/split.h"

namespace mlext::gemm_detail {

// Products below this many flops run on the calling thread alone: they take about as long as waking a worker.
constexpr double kParallelFlops = 1e6;
// Tasks that a thread claims at once: a quarter of that much work.
inline index parallel_grain(index tasks, double flops) {
  const double work = flops / kParallelFlops;
  return work < 1 ? tasks : static_cast<index>(static_cast<double>(tasks) / (4 * work)) + 1;
}
// Flops that take no longer than reading a byte of B from L2 or L3: what products of few rows wait for.
constexpr double kFlopsPerByte = 2;
// Factors and result that fill no more than three quarters of an L2 cache of 1 MiB make a compact product (compact.h): of
// the peak, 128 cubed reaches 92 per cent that way and 83 with tiles on streamed panels, 256 cubed 94 and 90, but 384 cubed
// 86 and 91.
constexpr index kCompactBytes = 768 << 10;
// Up to this many multiplications, compact whatever the strides of A: copying it costs more than it saves.
constexpr double kSmallProduct = 64 * 64 * 64;
// k in one go, at least: long enough to hide loading and storing C (2 * 9 * 3 vectors against 27 * 512 fmas).
constexpr index kBlockK = 512;
// At most: with half as many blocks C comes from memory half as often (float32, 1024 cubed: 1 per cent). Two packed panels
// of B (1024 * 192 bytes) still fit into L2, and all of them have to stay in L3.
constexpr index kBlockKBytes = 4096;
// The same for dot products, which read long runs of both factors and add in as many chains as a vector has lanes.
constexpr index kDotBlockK = 2048;
// With more rows than this, tiles on panels of B: stream_tile begins there. Against dot products, 8 and 16 rows take 0.75 and
// 0.6 of the time with kept panels (kept.h), 1.45 and 1.0 with panels packed for one use.
constexpr index kDotRows = 6;
// A B that stays in L2, where its rows are read as fast as panels of it: packing pays with more blocks of rows than this
// for each cache line that a tile is wide (512 x 512, in place against packed: AVX-512 32 rows 0.8 of the time, 128 rows
// 0.91, 256 rows 0.98, 2000 rows 1.11; AVX2 32 rows 0.87, 64 rows 0.93, 128 rows 1.22).
constexpr index kNearBytes = 1 << 20, kBlocksNear = 13;
// Of a larger B (32 x 4096 by 4096 x 4096 0.77, 32 x 1024 by 1024 x 3072 1.06, 64 x 1024 by 1024 x 3072 1.29).
constexpr index kBlocksFar = 4;
// Rows of a larger B that are read side by side. 256 KiB and at least 32 rows, with 16 rows of A and B of 2048 x 2048: 0.55
// of the time of one block, of 2560 x 7680 0.33; 1 MiB: 0.84 and 0.34; 20000 x 512: 0.55, 0.95 with 512 KiB.
constexpr index kSideBySideBytes = 256 << 10, kSideBySideRows = 32;
// Of a row of such a B, for one thread at least.
constexpr index kRunBytes = 1024;
// A panel up to this size stays in L1: to ask for it ahead would only take time (40 steps of k: 0.9 of the time without).
constexpr index kNearPanel = 16 << 10;

// With few steps of k, so many rows at a time, so that C is written in few long rows (1024 x 1024 with k = 16: 0.9 of the
// time), as a compact product of their own if they are one: what product.h does besides would take as long as the tiles
// (0.84, with k = 64 0.95).
constexpr index kFewSteps = 64, kFewStepsRows = 72;
// A of one chunk of rows and one block of k, read again for every panel: a quarter of an L2 cache of 1 MiB. B and C pass by,
// and rows of C at a power of two fall into few cache sets, whose A they push out if a chunk has many (2048 cubed: 1 to 3
// per cent between 250 and 400 KiB).
constexpr index kBlockABytes = 250 << 10;
// Packed B of one task: it is read once per chunk of rows, from L3.
constexpr index kPackedBBytes = 6 << 20;
// Columns of a narrow C.
constexpr index kNarrow = 32;
// With as many columns as this, packing rows that are far apart pays.
constexpr index kPackedColumns = 384;
// B no larger than this is read in place: most of it stays in L1 (of the peak, 64 cubed 91.8 per cent and 87.2 packed, 96
// cubed 93.5 and 92.4, 128 cubed 88.8 and 92.2).
constexpr index kInPlaceBytes = 40 << 10;

// What sums are computed in; factors of another dtype are converted as they are packed.
inline DType sum_dtype(DType dtype) {
  if (is_half(dtype)) return DType::float32;
  return dtype == DType::int8 || dtype == DType::uint8 ? DType::int32 : dtype;
}
inline bool is_of_bytes(const GemmArgs& g) { return sum_dtype(g.dtype) == DType::int32; }
inline bool is_converted(DType dtype) { return sum_dtype(dtype) != dtype; }

inline index batch_count(const GemmArgs& g) {
  index count = 1;
  for (int i = 0; i < g.batch_rank; ++i) count *= g.batch[i];
  return count;
}

inline bool prefers_dot(const GemmArgs& g) {
  const bool few = g.m <= kDotRows || (g.n <= 8 && !is_converted(g.dtype));
  return g.a_col == 1 && g.b_row == 1 && !is_of_bytes(g) && few && g.k >= 8;
}

// C^T = B^T A^T.
inline void transpose_roles(GemmArgs& g) {
  std::swap(g.m, g.n);
  std::swap(g.a, g.b);
  std::swap(g.a_row, g.b_col);
  std::swap(g.a_col, g.b_row);
  std::swap(g.c_row, g.c_col);
  std::swap(g.bias_n, g.bias_m);
  g.b_home = nullptr;
  for (int i = 0; i < g.batch_rank; ++i) std::swap(g.a_batch[i], g.b_batch[i]);
}

inline bool prefers_transposed(const GemmArgs& g) {
  if (g.c_col != 1 && g.c_row == 1) return true;
  if (g.a_row != 1 || g.a_col == 1) return false;
  // A narrow C fills few lanes; on its side it is a few long rows. And a transposed A from beyond L2 takes longer to pack than a few
  // columns of B to multiply: as the B of C^T it lies as tiles read it (512 x 12800 by 12800 x 16: 0.18 of the time, 512 x 6400 by
  // 6400 x 32 0.66, 160 x 6400 by 6400 x 32 0.9).
  if (g.n <= 8 && g.m > g.n) return true;
  return g.n <= kNarrow && g.m >= 4 * g.n && g.b_col == 1 && g.k * g.m * item_size(g.dtype) > kNearBytes;
}

// The product that is planned: strides as the rules below expect them, and the better of the two orders.
inline GemmArgs canonical(GemmArgs g) {
  // The stride of an extent of one is never used: make it the contiguous one.
  if (g.k <= 1) g.a_col = g.b_row = 1;
  if (g.n == 1) g.b_col = g.c_col = 1;
  if (g.m == 1) g.a_row = g.k, g.c_row = g.n;
  if (prefers_transposed(g)) transpose_roles(g);
  return g;
}

// k and the strides, which count bytes or halves, as those of groups of them.
inline GemmArgs in_groups(GemmArgs g, int group) {
  g.k = divide(g.k, group);
  g.a_col *= group;
  g.b_row *= group;
  return g;
}

// Rows at such distances fall into one set of the L1 cache.
inline bool at_page_distance(index stride, const GemmArgs& g) { return stride * item_size(g.dtype) % 4096 == 0; }

// A k-strided A costs a cache line per element. Rows that are far apart lie in as many pages, and fall into few cache sets
// if the distance is a round one: of the peak, the stream tiles reach 91 per cent on packed rows, 90 on rows at
// 2 KiB, 87 at nearly 4 KiB, 79 at 4 KiB. A copy pays once enough panels use it: three, or two of a k-strided A (256 x 64 with
// 50,000 steps of k: 0.5 of the time; one panel: 0.9 to 1.4).
inline bool packs_a(const GemmArgs& g, index panels) {
  if (is_converted(g.dtype)) return true;
  if (panels < (g.a_col != 1 ? 2 : 3) || g.k < 64) return false;
  const index size = item_size(g.dtype), distance = g.a_row * size;
  if (g.a_col != 1) return g.m * g.k * size > (16 << 10);
  return g.m >= 16 && (distance % 4096 == 0 || (g.n >= kPackedColumns && distance > 2048));
}

// Whether micro-kernels can write C.
inline bool is_direct(const GemmArgs& g) { return g.c_col == 1 && g.out_dtype == sum_dtype(g.dtype); }

// Whether they can end with the activation too: a relu costs them 2 per cent of k = 64, another pass over C 25.
inline bool ends_in_tile(const GemmArgs& g) {
  const bool limits = g.activation == Activation::relu || g.activation == Activation::relu6;
  return is_direct(g) && limits && g.pre == nullptr && g.bias_m == nullptr;
}
// What their `top` is for that.
template <class T>
Scalar<T> tile_top(const GemmArgs& g) {
  if (!ends_in_tile(g)) return 0;
  return g.activation == Activation::relu6 ? Scalar<T>(6) : std::numeric_limits<Scalar<T>>::infinity();
}

// Whether something is left to do after them.
inline bool has_epilogue(const GemmArgs& g) {
  return !is_direct(g) || g.pre != nullptr || g.bias_m != nullptr ||
         (g.activation != Activation::none && !ends_in_tile(g));
}

inline double multiplications(const GemmArgs& g) {
  return static_cast<double>(g.m) * static_cast<double>(g.n) * static_cast<double>(g.k);
}

// Whether bfloat16 is multiplied by pairs; else it is widened to float32.
inline bool takes_pairs(const BgemmKernels& kernels, const GemmArgs& g) {
  return kernels.lanes != 0 && g.dtype == DType::bfloat16 && g.k % 2 == 0 && g.k != 0 && !prefers_dot(g);
}

// Rows that make a compact product of their own. Each of them would pack a B that is not read in place.
inline index compact_rows(const GemmArgs& g) {
  return g.k <= kFewSteps && g.b_col == 1 ? std::min(g.m, kFewStepsRows) : g.m;
}

inline bool is_compact(const GemmArgs& g, index rows) {
  if (is_converted(g.dtype) || g.k == 0 || g.k > kBlockK || !is_direct(g) || prefers_dot(g)) return false;
  if (multiplications(g) <= kSmallProduct) return true;
  return g.m > kDotRows && g.a_col == 1 && !packs_a(g, 3) &&
         (rows * g.k + g.k * g.n + rows * g.n) * item_size(g.dtype) <= kCompactBytes;
}

// Columns of a compact product in panels. Rows that one tile of the streams covers would take two of the widest.
template <class T>
Split compact_panels(const GemmTypeKernels<T>& kernels, const GemmArgs& g) {
  const bool one_block = g.m <= kernels.max_rows[kernels.stream_vectors - 1];
  return Split::of(ceil_div(g.n, kernels.lanes), one_block ? kernels.stream_vectors : kernels.max_vectors);
}

// Whether B is packed by the first tile of a panel: that many blocks of rows make it pay.
inline bool compact_packs(const GemmArgs& g, index blocks) {
  return blocks > 2 && g.a_col == 1 && g.b_col == 1 && g.k * g.n * item_size(g.dtype) > kInPlaceBytes;
}

// Flops of a product, or as many as its B is worth: 1 x 512 @ 512 x 512 takes 10 us with one thread.
inline double work_of(const GemmArgs& g, index batches) {
  const double bytes = static_cast<double>(g.k) * static_cast<double>(g.n) * static_cast<double>(item_size(g.dtype));
  return static_cast<double>(batches) * std::max(2 * multiplications(g), kFlopsPerByte * bytes);
}

// Compact products of little work are done before a plan is made (0.2 us), without threads and kept panels.
inline bool runs_at_once(const GemmArgs& g) {
  return g.batch_rank == 0 && g.b_col == 1 && is_compact(g, g.m) &&
         (2 * multiplications(g) < kParallelFlops || num_threads() == 1);
}

template <class T>
bool packs_b(const GemmTypeKernels<T>& kernels, const GemmArgs& g) {
  if (is_converted(g.dtype) || g.b_col != 1) return true;
  const index bytes = g.k * g.n * item_size(g.dtype);
  const index lines = kernels.stream_vectors * kernels.lanes * item_size(g.dtype) / 64;  // of a row of a panel
  const index blocks = bytes <= kNearBytes ? kBlocksNear * lines : kBlocksFar;
  return bytes > kInPlaceBytes && g.m > blocks * kernels.max_rows[kernels.stream_vectors - 1];
}

// The widest tiles read most of a row of B at once, if they are tall enough.
template <class T>
int vectors_in_place(const GemmTypeKernels<T>& kernels, const GemmArgs& g) {
  return g.m <= kernels.max_rows[kernels.max_vectors - 1] ? kernels.max_vectors : kernels.stream_vectors;
}

// Steps of k before the next panel, if few rows of A meet rows of B in place. A large B is read as so many rows side by
// side, each from its begin to its end as memory likes it; a panel of all rows would touch a page for each.
inline index block_in_place(const GemmArgs& g) {
  const index row = g.n * item_size(g.dtype);
  if (g.k * row <= kNearBytes) return g.k;
  return Split::of(g.k, std::max(divide(kSideBySideBytes, row), kSideBySideRows)).size(0);
}

// Vectors in a packed panel. A block of rows waits for B from L3, and a second one reads it anew: rows that one block of
// the next narrower and taller tiles covers take those (1024 x 1024 weights, 10 to 14 rows: 0.8 of the time).
template <class T>
int streamed_vectors(const GemmTypeKernels<T>& kernels, const GemmArgs& g) {
  const int vectors = kernels.stream_vectors;
  if (vectors == 1 || g.m <= kernels.max_rows[vectors - 1]) return vectors;
  const index taller = kernels.max_rows[vectors - 2];
  return g.m <= taller && g.m > taller - kTallHeights ? vectors - 1 : vectors;
}

}  // namespace mlext::gemm_detail
