// What a training step does to every number besides multiplying matrices: one pass over the memory
// where PyTorch takes several. Each function is the derivative or the value of one equation of the
// model; `T` is float or bfloat16 (uint16_t), and the arithmetic is float32 in either case.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "vectors.h"

namespace {

// Sums over rows are made of so many parts whatever the number of threads, so that they are the
// same on any machine.
constexpr int64_t PARTS = 64;

inline void put(float* to, Vector x) { store(to, x); }
inline void put(uint16_t* to, Vector x) {  // to the nearest, ties to even; NaN stays NaN
  const Words bits = (Words)x;
  const Words rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  const Integers is_number = x == x;
  const Words kept = is_number ? rounded : (bits | 0x400000u);
  const Halves halves = __builtin_convertvector(kept >> 16, Halves);
  std::memcpy(to, &halves, sizeof halves);
}

// act(x, y) on whole vectors, and once on a padded copy of what is left.
template <class T, int INPUTS, int OUTPUTS, class Act>
inline void each(int64_t count, const T* const (&in)[INPUTS], T* const (&out)[OUTPUTS], Act act) {
  int64_t i = 0;
  for (; i + LANES <= count; i += LANES) {
    Vector x[INPUTS], y[OUTPUTS];
    for (int k = 0; k < INPUTS; k++) x[k] = load(in[k] + i);
    act(x, y);
    for (int k = 0; k < OUTPUTS; k++) put(out[k] + i, y[k]);
  }
  if (i == count) return;
  T room[LANES] = {};
  Vector x[INPUTS], y[OUTPUTS];
  for (int k = 0; k < INPUTS; k++) {
    std::copy(in[k] + i, in[k] + count, room);
    x[k] = load(room);
  }
  act(x, y);
  for (int k = 0; k < OUTPUTS; k++) {
    put(room, y[k]);
    std::copy(room, room + (count - i), out[k] + i);
  }
}

// Pieces small enough for the threads to share evenly.
template <class Act>
void pieces(int64_t count, Act act) {
  constexpr int64_t SIZE = 1 << 14;
#pragma omp parallel for schedule(static)
  for (int64_t begin = 0; begin < count; begin += SIZE) act(begin, std::min(SIZE, count - begin));
}

inline Vector sigmoid(Vector x) { return 1.0f / (1.0f + exponential(-x)); }

template <class T>
void swiglu(int64_t count, const T* gate, const T* up, T* y) {
  pieces(count, [=](int64_t at, int64_t size) {
    each<T, 2, 1>(size, {gate + at, up + at}, {y + at},
                  [](Vector* x, Vector* y) { y[0] = x[0] * sigmoid(x[0]) * x[1]; });
  });
}

template <class T>
void swiglu_slopes(int64_t count, const T* gate, const T* up, const T* slope, T* of_gate, T* of_up) {
  pieces(count, [=](int64_t at, int64_t size) {
    each<T, 3, 2>(size, {gate + at, up + at, slope + at}, {of_gate + at, of_up + at},
                  [](Vector* x, Vector* y) {
                    const Vector s = sigmoid(x[0]);
                    y[0] = x[2] * x[1] * s * (1.0f + x[0] * (1.0f - s));
                    y[1] = x[2] * x[0] * s;
                  });
  });
}

// Rows of logits become their slopes, softmax - one_hot; returns the sum of -ln p(label).
template <class T>
double loss_and_slopes(int64_t rows, int64_t width, T* logits, const int64_t* labels) {
  std::vector<double> losses(rows);
#pragma omp parallel
  {
    std::vector<float> room((width + LANES - 1) / LANES * LANES);
#pragma omp for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
      T* row = logits + r * width;
      const int64_t whole = width / LANES * LANES;
      Vector tops = all(-INFINITY), broken{};
      for (int64_t i = 0; i < whole; i += LANES) {
        const Vector x = load(row + i);
        store(room.data() + i, x);
        tops = x > tops ? x : tops;
        broken += x - x;  // 0, or NaN for what is not finite
      }
      float top = -INFINITY, taint = total(broken);
      if (whole < width) {
        T last[LANES] = {};
        std::copy(row + whole, row + width, last);
        store(room.data() + whole, load(last));
        for (int64_t i = whole; i < width; i++) {
          top = std::max(top, room[i]);
          taint += room[i] - room[i];
        }
        std::fill(room.begin() + width, room.end(), -INFINITY);
      }
      for (int lane = 0; lane < LANES; lane++) top = std::max(top, tops[lane]);
      const float own = room[labels[r]];
      Vector sums{};
      for (int64_t i = 0; i < width; i += LANES) {
        const Vector mass = exponential(load(room.data() + i) - top);
        store(room.data() + i, mass);
        sums += mass;
      }
      const float sum = total(sums);
      // What is not finite anywhere in a row shows in all of it.
      losses[r] = std::log(sum) + static_cast<double>(top) - own + taint;
      const float share = 1.0f / sum;
      room[labels[r]] -= sum;
      const float* from = room.data();
      for (int64_t i = 0; i < whole; i += LANES) put(row + i, load(from + i) * share + taint);
      if (whole < width) {
        T last[LANES];
        put(last, load(from + whole) * share + taint);
        std::copy(last, last + (width - whole), row + whole);
      }
    }
  }
  double sum = 0;
  for (const double loss : losses) sum += loss;
  return sum;
}

}  // namespace

extern "C" {

// y = x / rms(x) * weight for rows of `width`; `scales` [rows] keeps 1 / rms.
void arriero_norm(int64_t rows, int64_t width, float eps, const float* x, const float* weight,
                  float* y, float* scales) {
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++) {
    const float* from = x + r * width;
    float* to = y + r * width;
    const int64_t whole = width / LANES * LANES;
    Vector squares{};
    for (int64_t i = 0; i < whole; i += LANES) squares += load(from + i) * load(from + i);
    float sum = total(squares);
    for (int64_t i = whole; i < width; i++) sum += from[i] * from[i];
    const float scale = scales[r] = 1.0f / std::sqrt(sum / width + eps);
    for (int64_t i = 0; i < whole; i += LANES) {
      store(to + i, load(from + i) * scale * load(weight + i));
    }
    for (int64_t i = whole; i < width; i++) to[i] = from[i] * scale * weight[i];
  }
}

// With n = x * scale: d x = scale * (w g - n mean(w g n)), d w = sum over rows of g n.
void arriero_norm_slopes(int64_t rows, int64_t width, const float* x, const float* weight,
                         const float* scales, const float* slope, float* of_x, float* of_weight) {
  const int64_t parts = std::min(PARTS, std::max<int64_t>(1, rows));
  std::vector<float> sums(parts * width);
#pragma omp parallel for schedule(static)
  for (int64_t part = 0; part < parts; part++) {
    float* sum = sums.data() + part * width;
    for (int64_t r = rows * part / parts; r < rows * (part + 1) / parts; r++) {
      const float *from = x + r * width, *g = slope + r * width;
      float* to = of_x + r * width;
      const float scale = scales[r];
      const int64_t whole = width / LANES * LANES;
      Vector products{};
      for (int64_t i = 0; i < whole; i += LANES) {
        const Vector n = load(from + i) * scale, along = load(g + i) * n;
        store(sum + i, load(sum + i) + along);
        products += along * load(weight + i);
      }
      float product = total(products);
      for (int64_t i = whole; i < width; i++) {
        const float along = g[i] * from[i] * scale;
        sum[i] += along;
        product += along * weight[i];
      }
      const float mean = product / width;
      for (int64_t i = 0; i < whole; i += LANES) {
        store(to + i, scale * (load(weight + i) * load(g + i) - load(from + i) * scale * mean));
      }
      for (int64_t i = whole; i < width; i++) {
        to[i] = scale * (weight[i] * g[i] - from[i] * scale * mean);
      }
    }
  }
  std::fill(of_weight, of_weight + width, 0.0f);
  for (int64_t part = 0; part < parts; part++) {
    for (int64_t i = 0; i < width; i++) of_weight[i] += sums[part * width + i];
  }
}

void arriero_swiglu_float32(int64_t count, const float* gate, const float* up, float* y) {
  swiglu(count, gate, up, y);
}
void arriero_swiglu_bfloat16(int64_t count, const uint16_t* gate, const uint16_t* up, uint16_t* y) {
  swiglu(count, gate, up, y);
}
void arriero_swiglu_slopes_float32(int64_t count, const float* gate, const float* up,
                                   const float* slope, float* of_gate, float* of_up) {
  swiglu_slopes(count, gate, up, slope, of_gate, of_up);
}
void arriero_swiglu_slopes_bfloat16(int64_t count, const uint16_t* gate, const uint16_t* up,
                                    const uint16_t* slope, uint16_t* of_gate, uint16_t* of_up) {
  swiglu_slopes(count, gate, up, slope, of_gate, of_up);
}
double arriero_loss_float32(int64_t rows, int64_t width, float* logits, const int64_t* labels) {
  return loss_and_slopes(rows, width, logits, labels);
}
double arriero_loss_bfloat16(int64_t rows, int64_t width, uint16_t* logits, const int64_t* labels) {
  return loss_and_slopes(rows, width, logits, labels);
}

}  // extern "C"
