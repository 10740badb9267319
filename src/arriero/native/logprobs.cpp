// Log-probabilities of given tokens, the entropy of what they were drawn from, and the slopes of the
// former: a row of logits at a time, which the cache holds, where PyTorch goes through all of them
// once for each step of the arithmetic.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "vectors.h"

namespace {

// Each whole vector of a row, the last one filled up with -inf, a probability of 0.
template <class Act>
inline void along(const float* row, int64_t width, Act act) {
  int64_t i = 0;
  for (; i + LANES <= width; i += LANES) act(load(row + i));
  if (i == width) return;
  float room[LANES];
  std::fill(room, room + LANES, -INFINITY);
  std::copy(row + i, row + width, room);
  act(load(room));
}

inline float largest(const float* row, int64_t width) {
  Vector tops = all(-INFINITY);
  along(row, width, [&](Vector x) { tops = x > tops ? x : tops; });
  float top = -INFINITY;
  for (int lane = 0; lane < LANES; lane++) top = std::max(top, tops[lane]);
  return top;
}

// NaN where a row holds NaN or inf, or nothing but -inf; 0 for all others. A maximum does not tell.
inline float taint(const float* row, int64_t width, float top) {
  Vector broken{};
  along(row, width, [&](Vector x) { broken += x < INFINITY ? Vector{} : all(NAN); });
  return total(broken) + (top > -INFINITY ? 0.0f : NAN);
}

}  // namespace

extern "C" {

// Of rows [rows, width] of logits: ln p(label) and ln of the sum of all e^x; with `entropies`, which
// may be null, -sum p ln p as well.
void arriero_logprobs(int64_t rows, int64_t width, const float* logits, const int64_t* labels,
                      float* logprobs, float* normalizers, float* entropies) {
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++) {
    const float* row = logits + r * width;
    const float top = largest(row, width), broken = taint(row, width, top);
    Vector sums{}, surprises{};
    if (entropies) {
      along(row, width, [&](Vector x) {
        const Vector below = x - top, mass = exponential(below);
        sums += mass;
        // Below that the mass is 0, and 0 times -inf would be NaN.
        surprises -= mass * (below > -88.0f ? below : all(-88.0f));
      });
    } else {
      along(row, width, [&](Vector x) { sums += exponential(x - top); });
    }
    const float sum = total(sums), log = std::log(sum);
    logprobs[r] = row[labels[r]] - (top + log) + broken;
    normalizers[r] = top + log + broken;
    if (entropies) entropies[r] = log + total(surprises) / sum + broken;
  }
}

// The logits become slopes [rows] times the slopes of ln p(label): one_hot - softmax.
void arriero_logprob_slopes(int64_t rows, int64_t width, float* logits, const int64_t* labels,
                            const float* normalizers, const float* slopes) {
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++) {
    float* row = logits + r * width;
    const float log = normalizers[r], slope = slopes[r];
    const float own = row[labels[r]];
    int64_t i = 0;
    for (; i + LANES <= width; i += LANES) {
      store(row + i, exponential(load(row + i) - log) * -slope);
    }
    if (i < width) {
      float room[LANES] = {};
      std::copy(row + i, row + width, room);
      store(room, exponential(load(room) - log) * -slope);
      std::copy(room, room + (width - i), row + i);
    }
    row[labels[r]] = slope * (1.0f - std::exp(own - log));
    // What was not finite shows in all of its row.
    if (!std::isfinite(log)) std::fill(row, row + width, NAN);
  }
}

}  // extern "C"
