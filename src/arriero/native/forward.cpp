// One step of the decoder on a CPU: tokens in, logits out.
//
// A token is a pair (row of the cache, position in it), so that prefill, decode and any mixture of
// both are one and the same call. All that multiplies is one small product, `block`: weights, keys
// and values all lie in panels, PANEL outputs side by side for each step of the inner dimension.
// Every sum is taken in an order that does not depend on how many tokens a call holds, so a
// sequence gets the same bits alone and among others.

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "panels.h"
#include "team.h"

using arriero::Team;
using arriero::team;

namespace {

// Bytes of a product's inputs that stay in the cache of a core, beside the panel at hand.
constexpr int64_t TILE_BYTES = 192 * 1024;

}  // namespace

extern "C" {

enum Kind : int32_t { FLOAT32 = 0, BFLOAT16 = 1, INT8 = 2 };

// A weight matrix in panels [outputs / PANEL, depth, PANEL]; scales and bias [outputs] or null.
struct Matrix {
  const void* panels;
  const float* scales;
  const float* bias;
  int64_t outputs;  // a multiple of PANEL, zeros where there is no output
  int64_t depth;
  int32_t kind;
};

// keys [rows, kv_heads, slots / PANEL, head_dim, PANEL];
// values [rows, kv_heads, slots, padded(head_dim)].
struct Layer {
  const float* attention_norm;
  const float* ffn_norm;
  Matrix qkv, out, gate_up, down;
  float* keys;
  float* values;
};

struct Model {
  int64_t dim, num_layers, num_heads, num_kv_heads, head_dim, ffn_dim, slots;
  float norm_eps;
  int32_t embedding_kind;
  const void* embedding;  // [vocabulary, dim]
  const float* cosine;    // [slots, head_dim / 2]
  const float* sine;
  const float* final_norm;
  Matrix head;
  const Layer* layers;
  // Room for `capacity` tokens; every row as wide as padded() says. scores: a block for each
  // thread.
  float *x, *normed, *qkv, *attended, *hidden, *scores;
};

}  // extern "C"

namespace {

// Rows `begin` to `end` times one panel; `finish(row, left, right)`.
template <class W, class Finish>
void times_panel(const W* panel, int64_t depth, const float* x, int64_t stride, int64_t begin,
                 int64_t end, Finish finish) {
  for (int64_t row = begin, count; row < end; row += count) {
    // The last two blocks share what is left: few rows keep the processor waiting for sums.
    const int64_t rest = end - row;
    count = rest <= BLOCK_ROWS ? rest : std::min<int64_t>(BLOCK_ROWS, (rest + 1) / 2);
    some_rows<BLOCK_ROWS>(
        static_cast<int>(count), x + row * stride, stride, Panels<W>{panel, 0, PANEL}, depth,
        [&](int r, int, Vector left, Vector right) { finish(row + r, left, right); });
  }
}

// All rows times all panels, shared out among the threads; a barrier follows.
// `finish(row, column, left, right)`: `column` is the first of the PANEL outputs.
template <class W, class Finish>
void product_of(Team::Member me, const Matrix& matrix, const float* x, int64_t stride, int64_t rows,
                Finish finish) {
  const W* weights = static_cast<const W*>(matrix.panels);
  const int64_t num_panels = matrix.outputs / PANEL, depth = matrix.depth, size = depth * PANEL;
  const auto scaled = [&](int64_t row, int64_t panel, Vector left, Vector right) {
    const int64_t column = panel * PANEL;
    if (matrix.scales) {
      left *= load(matrix.scales + column);
      right *= load(matrix.scales + column + LANES);
    }
    if (matrix.bias) {
      left += load(matrix.bias + column);
      right += load(matrix.bias + column + LANES);
    }
    finish(row, column, left, right);
  };
  if (rows == 1) {
    const auto [first, last] = me.part(num_panels);
    some_panels<1>(1, last - first, x, stride, Panels<W>{weights + first * size, size, PANEL},
                   depth, [&, first = first](int, int64_t panel, Vector left, Vector right) {
                     scaled(0, first + panel, left, right);
                   });
    me.barrier();
    return;
  }
  const int64_t num_blocks = (rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
  const int64_t most = std::max<int64_t>(1, TILE_BYTES / (4 * BLOCK_ROWS * depth));
  const int64_t num_tiles = (num_blocks + most - 1) / most;
  static thread_local std::vector<float> wide;
  me.share(num_tiles * num_panels, [&](int64_t task) {
    const int64_t panel = task % num_panels;
    const int64_t tile = task / num_panels;
    const int64_t begin = num_blocks * tile / num_tiles * BLOCK_ROWS;
    const int64_t end = std::min(rows, num_blocks * (tile + 1) / num_tiles * BLOCK_ROWS);
    const auto done = [&](int64_t row, Vector left, Vector right) {
      scaled(row, panel, left, right);
    };
    if constexpr (!std::is_same_v<W, float>) {
      if (end - begin > 2 * BLOCK_ROWS) {  // widened once instead of once a block
        wide.resize(size);
        for (int64_t i = 0; i < size; i += LANES) {
          store(wide.data() + i, load(weights + panel * size + i));
        }
        return times_panel(wide.data(), depth, x, stride, begin, end, done);
      }
    }
    times_panel(weights + panel * size, depth, x, stride, begin, end, done);
  });
}

template <class Finish>
void product(Team::Member me, const Matrix& matrix, const float* x, int64_t stride, int64_t rows,
             Finish finish) {
  switch (matrix.kind) {
    case BFLOAT16:
      return product_of<uint16_t>(me, matrix, x, stride, rows, finish);
    case INT8:
      return product_of<int8_t>(me, matrix, x, stride, rows, finish);
    default:
      return product_of<float>(me, matrix, x, stride, rows, finish);
  }
}

void embed(Team::Member me, const Model& m, int64_t count, const int64_t* tokens) {
  const int64_t width = padded(m.dim);
  me.share(count, [&](int64_t i) {
    float* x = m.x + i * width;
    std::fill(x + m.dim, x + width, 0.0f);
    if (m.embedding_kind == BFLOAT16) {
      const uint16_t* row = static_cast<const uint16_t*>(m.embedding) + tokens[i] * m.dim;
      for (int64_t j = 0; j < m.dim; j++) {
        const uint32_t bits = static_cast<uint32_t>(row[j]) << 16;
        std::memcpy(x + j, &bits, 4);
      }
    } else {
      std::memcpy(x, static_cast<const float*>(m.embedding) + tokens[i] * m.dim, m.dim * 4);
    }
  });
}

// normed[i] = x[rows[i]] / rms * weight; rows left out mean 0, 1, 2, ...
void normalize(Team::Member me, const Model& m, const float* weight, int64_t count,
               const int64_t* rows) {
  const int64_t width = padded(m.dim);
  me.share(count, [&](int64_t i) {
    const float* x = m.x + (rows ? rows[i] : i) * width;
    Vector squares{};
    for (int64_t j = 0; j < width; j += LANES) squares += load(x + j) * load(x + j);
    const float scale = 1.0f / std::sqrt(total(squares) / m.dim + m.norm_eps);
    for (int64_t j = 0; j < m.dim; j++) m.normed[i * width + j] = x[j] * scale * weight[j];
  });
}

float largest(const float* row, int64_t count) {
  Vector top = load(row);
  for (int64_t i = LANES; i < count; i += LANES) top = load(row + i) > top ? load(row + i) : top;
  float best = top[0];
  for (int lane = 1; lane < LANES; lane++) best = std::max(best, top[lane]);
  return best;
}

inline void rotate(float* head, const float* cosine, const float* sine, int64_t half, float scale) {
  for (int64_t j = 0; j < half; j++) {
    const float first = head[j], second = head[j + half];
    head[j] = (first * cosine[j] - second * sine[j]) * scale;
    head[j + half] = (second * cosine[j] + first * sine[j]) * scale;
  }
}

// Turns what one key/value head of a token needs, its queries and its key, by their angles and puts
// key and value into the cache.
void remember(const Model& m, const Layer& layer, int64_t kv_head, float* qkv, int64_t row,
              int64_t slot) {
  const int64_t d = m.head_dim, half = d / 2, group = m.num_heads / m.num_kv_heads;
  const float *cosine = m.cosine + slot * half, *sine = m.sine + slot * half;
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
  float* query = qkv + kv_head * group * d;
  for (int64_t h = 0; h < group; h++) rotate(query + h * d, cosine, sine, half, scale);
  float* key = qkv + (m.num_heads + kv_head) * d;
  const float* value = key + m.num_kv_heads * d;
  rotate(key, cosine, sine, half, 1.0f);
  const int64_t place = row * m.num_kv_heads + kv_head;
  float* keys = layer.keys + place * m.slots * d + slot / PANEL * PANEL * d + slot % PANEL;
  for (int64_t j = 0; j < d; j++) keys[j * PANEL] = key[j];
  std::memcpy(layer.values + (place * m.slots + slot) * padded(d), value, d * 4);
}

// Up to BLOCK_ROWS queries `q` (scaled, `stride` apart) over the slots of one cached head.
// Query r sees slots 0..last[r]; its answer goes to out + r * out_stride.
void attend(const Model& m, const float* keys, const float* values, int rows, const float* q,
            int64_t stride, const int64_t* last, float* out, int64_t out_stride, float* scores) {
  const int64_t d = m.head_dim, length = *std::max_element(last, last + rows) + 1;
  const int64_t width = padded(length);
  some_panels<BLOCK_ROWS>(rows, width / PANEL, q, stride, Panels<float>{keys, PANEL * d, PANEL}, d,
                          [&](int r, int64_t panel, Vector left, Vector right) {
                            store(scores + r * m.slots + panel * PANEL, left);
                            store(scores + r * m.slots + panel * PANEL + LANES, right);
                          });
  float inverse[BLOCK_ROWS];
  for (int r = 0; r < rows; r++) {
    float* row = scores + r * m.slots;
    std::fill(row + last[r] + 1, row + width, -std::numeric_limits<float>::infinity());
    const float top = largest(row, width);
    Vector sum{};
    for (int64_t slot = 0; slot < width; slot += LANES) {
      const Vector mass = exponential(load(row + slot) - top);
      store(row + slot, mass);
      sum += mass;
    }
    inverse[r] = 1.0f / total(sum);
  }
  some_panels<BLOCK_ROWS>(
      rows, padded(d) / PANEL, scores, m.slots, Panels<float>{values, PANEL, padded(d)}, length,
      [&](int r, int64_t panel, Vector left, Vector right) {
        const int64_t j = panel * PANEL;
        const int64_t left_count = std::min<int64_t>(LANES, d - j);
        const int64_t right_count = std::min<int64_t>(LANES, d - j - left_count);
        left *= inverse[r];
        right *= inverse[r];
        float* to = out + r * out_stride + j;
        std::memcpy(to, &left, left_count * 4);
        std::memcpy(to + LANES, &right, right_count * 4);
      });
}

// Neighbours in a call that share a row of the cache: `count` tokens from `first` on. One that has
// its row to itself is `lone`.
struct Run {
  int64_t first, count;
  bool is_lone;
};

std::vector<Run> runs_of(int64_t count, const int64_t* rows) {
  std::vector<Run> runs;
  for (int64_t i = 0; i < count; i++) {
    const bool is_next = i > 0 && rows[i] == rows[i - 1];
    if (is_next && runs.back().count < BLOCK_ROWS) runs.back().count++;
    else runs.push_back({i, 1, !is_next && (i + 1 == count || rows[i + 1] != rows[i])});
  }
  return runs;
}

// Tokens see others of the same call only where these have been remembered before anyone attends. A
// lone token is remembered as it attends, while its part of the cache is at hand.
void attention(Team::Member me, const Model& m, const Layer& layer, const std::vector<Run>& runs,
               const int64_t* rows, const int64_t* positions) {
  const int64_t d = m.head_dim, group = m.num_heads / m.num_kv_heads;
  const int64_t width = padded((m.num_heads + 2 * m.num_kv_heads) * d);
  const int64_t out_width = padded(m.num_heads * d);
  const int64_t num_tasks = static_cast<int64_t>(runs.size()) * m.num_kv_heads;
  const auto together = [](const Run& run) { return !run.is_lone; };
  if (std::any_of(runs.begin(), runs.end(), together)) {
    me.share(static_cast<int64_t>(runs.size()), [&](int64_t number) {
      const Run& run = runs[number];
      for (int64_t i = run.first; !run.is_lone && i < run.first + run.count; i++) {
        for (int64_t h = 0; h < m.num_kv_heads; h++) {
          remember(m, layer, h, m.qkv + i * width, rows[i], positions[i]);
        }
      }
    });
  }
  me.take(num_tasks, [&](int64_t task) {
    const Run& run = runs[task / m.num_kv_heads];
    const int64_t kv_head = task % m.num_kv_heads, first_head = kv_head * group;
    const int64_t place = rows[run.first] * m.num_kv_heads + kv_head;
    const float* keys = layer.keys + place * m.slots * d;
    const float* values = layer.values + place * m.slots * padded(d);
    if (run.is_lone) {
      remember(m, layer, kv_head, m.qkv + run.first * width, rows[run.first], positions[run.first]);
    }
    const float* q = m.qkv + run.first * width + first_head * d;
    float* out = m.attended + run.first * out_width + first_head * d;
    float* scores = m.scores + me.number * BLOCK_ROWS * m.slots;
    if (run.count > 1) {  // neighbouring tokens of one head together
      for (int64_t h = 0; h < group; h++) {
        attend(m, keys, values, static_cast<int>(run.count), q + h * d, width,
               positions + run.first, out + h * d, out_width, scores);
      }
      return;
    }
    for (int64_t h = 0; h < group; h += BLOCK_ROWS) {  // the heads of one token together
      const int count = static_cast<int>(std::min<int64_t>(BLOCK_ROWS, group - h));
      int64_t last[BLOCK_ROWS];
      std::fill(last, last + count, positions[run.first]);
      attend(m, keys, values, count, q + h * d, d, last, out + h * d, d, scores);
    }
  });
}

inline Vector silu(Vector x) { return x / (1.0f + exponential(-x)); }

void add(float* to, Vector left, Vector right) {
  store(to, load(to) + left);
  store(to + LANES, load(to + LANES) + right);
}

}  // namespace

extern "C" {

int64_t panel_width() { return PANEL; }
int64_t block_rows() { return BLOCK_ROWS; }

// Logits [num_wanted, padded vocabulary] after the tokens numbered `wanted`. Tokens of one row
// stand together in the order of their positions; each sees its own row up to and with itself.
void forward(const Model* model, int32_t num_threads, int64_t count, const int64_t* tokens,
             const int64_t* rows, const int64_t* positions, int64_t num_wanted,
             const int64_t* wanted, float* logits) {
  const Model& m = *model;
  const int64_t dim = padded(m.dim), heads = padded(m.num_heads * m.head_dim);
  const int64_t qkv = padded((m.num_heads + 2 * m.num_kv_heads) * m.head_dim);
  const int64_t ffn = (m.ffn_dim + LANES - 1) / LANES * LANES;
  const std::vector<Run> runs = runs_of(count, rows);
  team().run(num_threads, [&](Team::Member me) {
    embed(me, m, count, tokens);
    for (int64_t number = 0; number < m.num_layers; number++) {
      const Layer& layer = m.layers[number];
      normalize(me, m, layer.attention_norm, count, nullptr);
      product(me, layer.qkv, m.normed, dim, count,
              [&](int64_t r, int64_t c, Vector left, Vector right) {
                store(m.qkv + r * qkv + c, left);
                store(m.qkv + r * qkv + c + LANES, right);
              });
      attention(me, m, layer, runs, rows, positions);
      product(me, layer.out, m.attended, heads, count,
              [&](int64_t r, int64_t c, Vector left, Vector right) {
                add(m.x + r * dim + c, left, right);
              });
      normalize(me, m, layer.ffn_norm, count, nullptr);
      // A panel holds LANES outputs of the gate beside the same of `up`.
      product(me, layer.gate_up, m.normed, dim, count,
              [&](int64_t r, int64_t c, Vector gate, Vector up) {
                store(m.hidden + r * ffn + c / 2, silu(gate) * up);
              });
      product(me, layer.down, m.hidden, ffn, count,
              [&](int64_t r, int64_t c, Vector left, Vector right) {
                add(m.x + r * dim + c, left, right);
              });
    }
    normalize(me, m, m.final_norm, num_wanted, wanted);
    product(me, m.head, m.normed, dim, num_wanted,
            [&](int64_t r, int64_t c, Vector left, Vector right) {
              store(logits + r * m.head.outputs + c, left);
              store(logits + r * m.head.outputs + c + LANES, right);
            });
  });
}

// The first `count` slots of a row of the cache go into another row.
void copy_row(const Model* model, int64_t from, int64_t to, int64_t count) {
  const Model& m = *model;
  const int64_t d = m.head_dim;
  for (int64_t number = 0; number < m.num_layers; number++) {
    const Layer& layer = m.layers[number];
    for (int64_t h = 0; h < m.num_kv_heads; h++) {
      const int64_t source = (from * m.num_kv_heads + h) * m.slots;
      const int64_t target = (to * m.num_kv_heads + h) * m.slots;
      std::memcpy(layer.keys + target * d, layer.keys + source * d, padded(count) * d * 4);
      std::memcpy(layer.values + target * padded(d), layer.values + source * padded(d),
                  count * padded(d) * 4);
    }
  }
}

}  // extern "C"
