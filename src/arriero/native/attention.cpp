// Attention of training, forward and backward: whole rows of tokens, causal, inside documents.
//
// A query sees the keys from the beginning of its document to itself, but for those it skips: the
// first of two answers, where it belongs to the second. Blocks of queries go through
// the keys that any of them sees and through no others, so that a row of short documents costs
// little. Queries and keys are turned by their angles here, which saves a pass over both. Keys and
// values of a head are laid out once for all its queries: `turned` [T, D] and, for products along
// D, the same on their side, a panel of tokens after another, [T / PANEL, D, PANEL]. Widths are
// filled up with zeros to whole panels.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "panels.h"

extern "C" {

struct Sizes {
  int64_t rows, length, num_heads, num_kv_heads, head_dim;
};

}  // extern "C"

namespace {

constexpr int64_t QUERIES = 24;  // a block of them; a multiple of BLOCK_ROWS on any machine

// Rows of `d` numbers that will be read soon. A head's rows lie far apart, where no processor looks
// ahead by itself: waiting for them took a tenth of the time.
inline void fetch(const float* from, int64_t count, int64_t apart, int64_t d) {
  for (int64_t r = 0; r < count; r++) {
    for (int64_t j = 0; j < d; j += 16) __builtin_prefetch(from + r * apart + j);
  }
}

inline float dot(const float* x, const float* y, int64_t d) {
  Vector sums{};
  int64_t j = 0;
  for (; j + LANES <= d; j += LANES) sums += load(x + j) * load(y + j);
  float sum = total(sums);
  for (; j < d; j++) sum += x[j] * y[j];
  return sum;
}

// to[d] = head[d] turned by the angles; `way` is 1, or -1 to turn it back.
inline void turn(const float* head, const float* cosine, const float* sine, int64_t half, float way,
                 float* __restrict to) {
  for (int64_t j = 0; j < half; j++) {
    const float first = head[j], second = head[j + half], s = way * sine[j];
    to[j] = first * cosine[j] - second * s;
    to[j + half] = second * cosine[j] + first * s;
  }
}

inline void lay_on_side(const float* from, int64_t count, int64_t d, int64_t width, float* to) {
  for (int64_t t = 0; t < count; t++) {
    float* at = to + t / PANEL * d * PANEL + t % PANEL;
    for (int64_t j = 0; j < d; j++) at[j * PANEL] = from[t * width + j];
  }
}

// R columns of `x` (step k of column r at x[k * stride + r]) times one panel.
template <int R, class Finish>
inline void columns(int count, const float* x, int64_t stride, const float* panel, int64_t step,
                    int64_t depth, Finish finish) {
  if constexpr (R > 1) {
    if (count < R) return columns<R - 1>(count, x, stride, panel, step, depth, finish);
  }
  Vector left[R], right[R];
  for (int r = 0; r < R; r++) left[r] = right[r] = Vector{};
  for (int64_t k = 0; k < depth; k++) {
    const Vector w0 = load(panel + k * step), w1 = load(panel + k * step + LANES);
    for (int r = 0; r < R; r++) {
      left[r] += x[k * stride + r] * w0;
      right[r] += x[k * stride + r] * w1;
    }
  }
  for (int r = 0; r < R; r++) finish(r, left[r], right[r]);
}

// to[rows, width] = x[rows, depth] times the matrix [depth, width] of so many panels.
void multiply(int64_t rows, const float* x, int64_t stride, Panels<float> matrix, int64_t depth,
              int64_t width, float* to, int64_t to_stride) {
  for (int64_t first = 0; first < rows; first += BLOCK_ROWS) {
    const int count = static_cast<int>(std::min<int64_t>(BLOCK_ROWS, rows - first));
    some_panels<BLOCK_ROWS>(count, width / PANEL, x + first * stride, stride, matrix, depth,
                            [&](int r, int64_t panel, Vector left, Vector right) {
                              float* at = to + (first + r) * to_stride + panel * PANEL;
                              store(at, left);
                              store(at + LANES, right);
                            });
  }
}

// to[count, width] += the transpose of x[depth, count] times matrix[depth, width].
void add_crossed(int64_t count, const float* x, int64_t stride, const float* matrix, int64_t step,
                 int64_t depth, int64_t width, float* to) {
  for (int64_t first = 0; first < count; first += BLOCK_ROWS) {
    const int some = static_cast<int>(std::min<int64_t>(BLOCK_ROWS, count - first));
    for (int64_t column = 0; column < width; column += PANEL) {
      columns<BLOCK_ROWS>(some, x + first, stride, matrix + column, step, depth,
                          [&](int r, Vector left, Vector right) {
                            float* at = to + (first + r) * width + column;
                            store(at, load(at) + left);
                            store(at + LANES, load(at + LANES) + right);
                          });
    }
  }
}

// A block of queries and the keys that any of them sees, from `from` to `to`, in whole panels.
struct Block {
  int64_t first, count, from, to;
};

Block block_at(int64_t first, int64_t length, const int64_t* starts) {
  const int64_t count = std::min(QUERIES, length - first);
  const int64_t from = *std::min_element(starts + first, starts + first + count);
  return {first, count, from / PANEL * PANEL, padded(first + count)};
}

// Tokens from `from` on, as panels along D and as panels along the tokens.
Panels<float> on_their_side(const float* on_side, int64_t from, int64_t d) {
  return {on_side + from * d, d * PANEL, PANEL};
}
Panels<float> upright(const float* matrix, int64_t from, int64_t width) {
  return {matrix + from * width, PANEL, width};
}

// What a query does not see of the keys of a block: what is before its document, what it skips, what
// comes later.
inline void hide(float* seen, float with, int64_t t, const Block& b, int64_t start,
                 const int64_t* skip) {
  std::fill(seen, seen + (start - b.from), with);
  if (skip && skip[0] < skip[1]) {
    std::fill(seen + (skip[0] - b.from), seen + (skip[1] - b.from), with);
  }
  std::fill(seen + (t + 1 - b.from), seen + (b.to - b.from), with);
}

struct Room {
  std::vector<float> floats;
  size_t used = 0;
  explicit Room(int64_t count) : floats(count) {}
  float* take(int64_t count) {
    float* at = floats.data() + used;
    used += count;
    return at;
  }
};

void lay_out_keys(const Sizes& s, const float* keys, const float* cosine, const float* sine,
                  float* turned) {
  const int64_t d = s.head_dim, width = padded(d);
  for (int64_t t = 0; t < s.length; t++) {
    fetch(keys + std::min(t + 8, s.length - 1) * s.num_kv_heads * d, 1, 0, d);
    turn(keys + t * s.num_kv_heads * d, cosine + t * d / 2, sine + t * d / 2, d / 2, 1.0f,
         turned + t * width);
  }
}

}  // namespace

extern "C" {

// query, out [B, T, H, D]; key, value [B, T, G, D]; cosine, sine [B, T, D / 2]; starts [B, T], the
// first position that each query sees; skips [B, T, 2], from where to where it does not, or null;
// logs [B, H, T], the logarithms of the softmax's sums.
void arriero_attention(const Sizes* sizes, const float* query, const float* key, const float* value,
                       const float* cosine, const float* sine, const int64_t* starts,
                       const int64_t* skips, float* out, float* logs) {
  const Sizes s = *sizes;
  const int64_t d = s.head_dim, width = padded(d), length = s.length, long_width = padded(length);
  const int64_t stride = long_width + LANES;  // powers of two would fall onto the same cache lines
  const int64_t group = s.num_heads / s.num_kv_heads;
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
#pragma omp parallel
  {
    Room room(2 * long_width * width + d * long_width + QUERIES * (2 * width + stride));
    float* turned = room.take(long_width * width);
    float* values = room.take(long_width * width);
    float* on_side = room.take(d * long_width);
    float* queries = room.take(QUERIES * width);
    float* answers = room.take(QUERIES * width);
    float* scores = room.take(QUERIES * stride);
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < s.rows * s.num_kv_heads; task++) {
      const int64_t row = task / s.num_kv_heads, kv_head = task % s.num_kv_heads;
      const float* turn_cosine = cosine + row * length * d / 2;
      const float* turn_sine = sine + row * length * d / 2;
      const float* first_key = key + (row * length * s.num_kv_heads + kv_head) * d;
      const float* first_value = value + (row * length * s.num_kv_heads + kv_head) * d;
      lay_out_keys(s, first_key, turn_cosine, turn_sine, turned);
      lay_on_side(turned, length, d, width, on_side);
      for (int64_t t = 0; t < length; t++) {
        std::copy_n(first_value + t * s.num_kv_heads * d, d, values + t * width);
      }
      for (int64_t h = kv_head * group; h < (kv_head + 1) * group; h++) {
        for (int64_t at = 0; at < length; at += QUERIES) {
          const Block b = block_at(at, length, starts + row * length);
          const int64_t next = ((row * length + at + b.count) * s.num_heads + h) * d;
          fetch(query + next, std::min(QUERIES, length - at - b.count), s.num_heads * d, d);
          for (int64_t r = 0; r < b.count; r++) {
            const int64_t t = at + r;
            turn(query + ((row * length + t) * s.num_heads + h) * d, turn_cosine + t * d / 2,
                 turn_sine + t * d / 2, d / 2, 1.0f, queries + r * width);
          }
          multiply(b.count, queries, width, on_their_side(on_side, b.from, d), d, b.to - b.from,
                   scores, stride);
          float inverse[QUERIES];
          for (int64_t r = 0; r < b.count; r++) {
            const int64_t t = at + r, token = row * length + t;
            float* seen = scores + r * stride;
            hide(seen, -INFINITY, t, b, starts[token], skips ? skips + 2 * token : nullptr);
            Vector tops = load(seen);
            for (int64_t j = LANES; j < b.to - b.from; j += LANES) {
              tops = load(seen + j) > tops ? load(seen + j) : tops;
            }
            float top = tops[0];
            for (int lane = 1; lane < LANES; lane++) top = std::max(top, tops[lane]);
            Vector sums{};
            for (int64_t j = 0; j < b.to - b.from; j += LANES) {
              const Vector mass = exponential((load(seen + j) - top) * scale);
              store(seen + j, mass);
              sums += mass;
            }
            const float sum = total(sums);
            inverse[r] = 1.0f / sum;
            logs[(row * s.num_heads + h) * length + t] = std::log(sum) + top * scale;
          }
          multiply(b.count, scores, stride, upright(values, b.from, width), at + b.count - b.from,
                   width, answers, width);
          for (int64_t r = 0; r < b.count; r++) {
            float* to = out + ((row * length + at + r) * s.num_heads + h) * d;
            for (int64_t j = 0; j < d; j++) to[j] = answers[r * width + j] * inverse[r];
          }
        }
      }
    }
  }
}

// The slopes of query, key and value, given that of `out`; everything as in arriero_attention.
void arriero_attention_slopes(const Sizes* sizes, const float* query, const float* key,
                              const float* value, const float* cosine, const float* sine,
                              const int64_t* starts, const int64_t* skips, const float* out,
                              const float* logs, const float* slope, float* of_query,
                              float* of_key, float* of_value) {
  const Sizes s = *sizes;
  const int64_t d = s.head_dim, width = padded(d), length = s.length, long_width = padded(length);
  const int64_t stride = long_width + LANES;  // powers of two would fall onto the same cache lines
  const int64_t group = s.num_heads / s.num_kv_heads;
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
#pragma omp parallel
  {
    Room room(3 * long_width * width + 2 * d * long_width + QUERIES * (3 * width + 2 * stride) +
              d);
    float* turned = room.take(long_width * width);
    float* key_sums = room.take(long_width * width);
    float* value_sums = room.take(long_width * width);
    float* on_side = room.take(d * long_width);
    float* values_on_side = room.take(d * long_width);
    float* queries = room.take(QUERIES * width);
    float* slopes = room.take(QUERIES * width);
    float* query_slopes = room.take(QUERIES * width);
    float* shares = room.take(QUERIES * stride);
    float* share_slopes = room.take(QUERIES * stride);
    float* back = room.take(d);
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < s.rows * s.num_kv_heads; task++) {
      const int64_t row = task / s.num_kv_heads, kv_head = task % s.num_kv_heads;
      const float* turn_cosine = cosine + row * length * d / 2;
      const float* turn_sine = sine + row * length * d / 2;
      const int64_t first_key = (row * length * s.num_kv_heads + kv_head) * d;
      lay_out_keys(s, key + first_key, turn_cosine, turn_sine, turned);
      lay_on_side(turned, length, d, width, on_side);
      lay_on_side(value + first_key, length, d, s.num_kv_heads * d, values_on_side);
      std::fill_n(key_sums, long_width * width, 0.0f);
      std::fill_n(value_sums, long_width * width, 0.0f);
      for (int64_t h = kv_head * group; h < (kv_head + 1) * group; h++) {
        for (int64_t at = 0; at < length; at += QUERIES) {
          const Block b = block_at(at, length, starts + row * length);
          const int64_t seen = b.to - b.from, real = at + b.count - b.from;
          const int64_t next = ((row * length + at + b.count) * s.num_heads + h) * d;
          for (const float* from : {query, slope, out}) {
            fetch(from + next, std::min(QUERIES, length - at - b.count), s.num_heads * d, d);
          }
          float along[QUERIES];
          for (int64_t r = 0; r < b.count; r++) {
            const int64_t t = at + r, place = ((row * length + t) * s.num_heads + h) * d;
            turn(query + place, turn_cosine + t * d / 2, turn_sine + t * d / 2, d / 2, 1.0f,
                 queries + r * width);
            std::copy_n(slope + place, d, slopes + r * width);
            along[r] = dot(slope + place, out + place, d);
          }
          multiply(b.count, queries, width, on_their_side(on_side, b.from, d), d, seen, shares,
                   stride);
          multiply(b.count, slopes, width, on_their_side(values_on_side, b.from, d), d, seen,
                   share_slopes, stride);
          for (int64_t r = 0; r < b.count; r++) {
            const int64_t t = at + r, token = row * length + t;
            const int64_t* skip = skips ? skips + 2 * token : nullptr;
            float *share = shares + r * stride, *back_to = share_slopes + r * stride;
            const float log = logs[(row * s.num_heads + h) * length + t];
            for (int64_t j = 0; j < seen; j += LANES) {
              const Vector p = exponential(load(share + j) * scale - log);
              store(share + j, p);
              store(back_to + j, p * (load(back_to + j) - along[r]) * scale);
            }
            hide(share, 0.0f, t, b, starts[token], skip);
            hide(back_to, 0.0f, t, b, starts[token], skip);
          }
          multiply(b.count, share_slopes, stride, upright(turned, b.from, width), real, width,
                   query_slopes, width);
          add_crossed(real, share_slopes, stride, queries, width, b.count, width,
                      key_sums + b.from * width);
          add_crossed(real, shares, stride, slopes, width, b.count, width,
                      value_sums + b.from * width);
          for (int64_t r = 0; r < b.count; r++) {
            const int64_t t = at + r;
            turn(query_slopes + r * width, turn_cosine + t * d / 2, turn_sine + t * d / 2, d / 2,
                 -1.0f, of_query + ((row * length + t) * s.num_heads + h) * d);
          }
        }
      }
      for (int64_t t = 0; t < length; t++) {
        const int64_t to = first_key + t * s.num_kv_heads * d;
        turn(key_sums + t * width, turn_cosine + t * d / 2, turn_sine + t * d / 2, d / 2, -1.0f,
             back);
        std::copy_n(back, d, of_key + to);
        std::copy_n(value_sums + t * width, d, of_value + to);
      }
    }
  }
}

}  // extern "C"
