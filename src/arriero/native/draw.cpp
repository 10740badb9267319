// The draw of the next token: temperature, top-k, top-p, and one uniform number that decides.
//
// The rule is that of `arriero.equations.sampling`: filters apply after the temperature, top-k
// before top-p, and the token drawn is the first, in the vocabulary's order, whose cumulative mass
// exceeds the uniform number's share of the whole.

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "team.h"
#include "vectors.h"

using arriero::Team;
using arriero::team;

namespace {

constexpr int64_t STRIPE = 8 * LANES;  // masses that are summed in one go

// Masses by size: one bucket for each exponent and the first six bits of the fraction.
constexpr int BUCKET_SHIFT = 17;
constexpr int64_t NUM_BUCKETS = (0x3f800000 >> BUCKET_SHIFT) + 1;  // the largest mass is 1

int64_t bucket_of(float mass) {
  uint32_t bits;
  std::memcpy(&bits, &mass, sizeof bits);
  return bits >> BUCKET_SHIFT;
}

// Sets all masses to 0 but the largest, as many as it takes until `enough(count, sum)`; of equal
// ones those that stand first. Nothing is sorted but the bucket in which that happens.
template <class Enough>
void keep_largest(float* masses, int64_t count, Enough enough) {
  std::vector<int64_t> counts(NUM_BUCKETS);
  std::vector<double> sums(NUM_BUCKETS);
  for (int64_t i = 0; i < count; i++) {
    const int64_t bucket = bucket_of(masses[i]);
    counts[bucket]++;
    sums[bucket] += masses[i];
  }
  int64_t last = NUM_BUCKETS - 1, num_kept = 0;
  double sum = 0;
  while (last > 0 && !enough(num_kept + counts[last], sum + sums[last])) {
    num_kept += counts[last];
    sum += sums[last--];
  }
  std::vector<int64_t> border;
  for (int64_t i = 0; i < count; i++) {
    const int64_t bucket = bucket_of(masses[i]);
    if (bucket == last) border.push_back(i);
    if (bucket < last) masses[i] = 0;
  }
  std::stable_sort(border.begin(), border.end(),
                   [&](int64_t a, int64_t b) { return masses[a] > masses[b]; });
  for (const int64_t i : border) {
    if (enough(num_kept, sum)) {
      masses[i] = 0;
    } else {
      num_kept++;
      sum += masses[i];
    }
  }
}

int64_t draw_filtered(float* masses, int64_t count, float top_p, int64_t top_k, float uniform) {
  if (top_k) keep_largest(masses, count, [&](int64_t kept, double) { return kept >= top_k; });
  if (top_p < 1) {
    const double whole = std::accumulate(masses, masses + count, 0.0);
    keep_largest(masses, count, [&](int64_t, double sum) { return sum >= top_p * whole; });
  }
  const double target = uniform * std::accumulate(masses, masses + count, 0.0);
  double before = 0;
  int64_t last = 0;
  for (int64_t i = 0; i < count; i++) {
    if (masses[i] > 0) last = i;
    before += masses[i];
    if (before > target) return i;
  }
  return last;
}

// `stripes[i]`: sum of the i-th STRIPE masses.
int64_t draw_from_all(const float* masses, const std::vector<double>& stripes, double whole,
                      float uniform) {
  const double target = uniform * whole;
  double before = 0;
  size_t stripe = 0;
  while (stripe + 1 < stripes.size() && before + stripes[stripe] <= target) {
    before += stripes[stripe++];
  }
  const float* row = masses + stripe * STRIPE;
  int64_t last = 0;
  for (int64_t i = 0; i < STRIPE; i++) {
    if (row[i] > 0) last = i;
    before += row[i];
    if (before > target) return stripe * STRIPE + i;
  }
  return stripe * STRIPE + last;  // rounding: the stripe's own sum was a bit larger
}

// The largest logit; NaN where the row is no distribution. Lanes past `count` become -inf.
float largest(float* logits, int64_t count, int64_t stride) {
  std::fill(logits + count, logits + stride, -INFINITY);
  Vector top = all(-INFINITY);
  Integers is_bad{};
  for (int64_t i = 0; i < stride; i += LANES) {
    const Vector x = load(logits + i);
    is_bad |= (x != x) | (x == INFINITY);
    top = x > top ? x : top;
  }
  float best = -INFINITY;
  for (int lane = 0; lane < LANES; lane++) {
    if (is_bad[lane]) return NAN;
    best = std::max(best, top[lane]);
  }
  return best == -INFINITY ? NAN : best;
}

int64_t draw_row(float* logits, int64_t count, int64_t stride, float uniform, float temperature,
                 float top_p, int64_t top_k, std::vector<float>& masses,
                 std::vector<double>& stripes, float* logprob) {
  const float top = largest(logits, count, stride);
  if (std::isnan(top)) return -1;
  if (temperature == 0) {
    *logprob = 0;
    return std::find(logits, logits + count, top) - logits;
  }
  masses.resize((stride + STRIPE - 1) / STRIPE * STRIPE);
  stripes.resize(masses.size() / STRIPE);
  double whole = 0;
  for (int64_t begin = 0; begin < stride; begin += STRIPE) {
    Vector sum{};
    for (int64_t i = begin; i < std::min(stride, begin + STRIPE); i += LANES) {
      const Vector mass = exponential((load(logits + i) - top) / temperature);
      store(masses.data() + i, mass);
      sum += mass;
    }
    whole += stripes[begin / STRIPE] = total(sum);
  }
  top_k = top_k < count ? top_k : 0;
  const int64_t token = top_k || top_p < 1
                            ? draw_filtered(masses.data(), count, top_p, top_k, uniform)
                            : draw_from_all(masses.data(), stripes, whole, uniform);
  *logprob = (logits[token] - top) / temperature - static_cast<float>(std::log(whole));
  return token;
}

}  // namespace

extern "C" {

// One token a row of logits [count, stride], of which `vocabulary` are real, and its
// log-probability under softmax(logits / temperature); token -1 where a row holds NaN or +inf, or
// nothing but -inf. `stride` is a multiple of LANES; what lies past the vocabulary is overwritten.
void draw(int32_t num_threads, int64_t count, int64_t vocabulary, int64_t stride, float* logits,
          const float* uniforms, const float* temperatures, const float* top_ps,
          const int64_t* top_ks, int64_t* tokens, float* logprobs) {
  team().run(std::min<int64_t>(num_threads, std::max<int64_t>(count, 1)), [&](Team::Member me) {
    std::vector<float> masses;
    std::vector<double> stripes;
    me.share(count, [&](int64_t row) {
      tokens[row] =
          draw_row(logits + row * stride, vocabulary, stride, uniforms[row], temperatures[row],
                   top_ps[row], top_ks[row], masses, stripes, logprobs + row);
    });
  });
}

}  // extern "C"
