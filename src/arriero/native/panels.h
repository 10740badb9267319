// The one small product that all of a step is made of: some rows times panels of PANEL outputs.

#pragma once

#include <cstdint>

#include "vectors.h"

namespace {

inline int64_t padded(int64_t count) { return (count + PANEL - 1) / PANEL * PANEL; }

// Step k of panel p stands at `data + p * apart + k * step`.
template <class W>
struct Panels {
  const W* data;
  int64_t apart, step;
};

// R rows times P panels; `finish(row, panel, left, right)` gets the two vectors of each.
template <int R, int P, class W, class Finish>
inline void block(const float* x, int64_t stride, Panels<W> panels, int64_t depth, Finish finish) {
  Vector left[P][R], right[P][R];
  for (int p = 0; p < P; p++) {
    for (int r = 0; r < R; r++) left[p][r] = right[p][r] = Vector{};
  }
  for (int64_t k = 0; k < depth; k++) {
    for (int p = 0; p < P; p++) {
      const W* at = panels.data + p * panels.apart + k * panels.step;
      const Vector w0 = load(at), w1 = load(at + LANES);
      for (int r = 0; r < R; r++) {
        left[p][r] += x[r * stride + k] * w0;
        right[p][r] += x[r * stride + k] * w1;
      }
    }
  }
  for (int p = 0; p < P; p++) {
    for (int r = 0; r < R; r++) finish(r, p, left[p][r], right[p][r]);
  }
}

// The same for any number of rows up to R and one panel.
template <int R, class W, class Finish>
inline void some_rows(int rows, const float* x, int64_t stride, Panels<W> panels, int64_t depth,
                      Finish finish) {
  if constexpr (R > 1) {
    if (rows < R) return some_rows<R - 1>(rows, x, stride, panels, depth, finish);
  }
  block<R, 1>(x, stride, panels, depth, finish);
}

// The same for any number of panels. One row alone takes four at a time: sums that wait for one
// another are what it would spend its time on.
template <int R, class W, class Finish>
inline void some_panels(int rows, int64_t count, const float* x, int64_t stride, Panels<W> panels,
                        int64_t depth, Finish finish) {
  int64_t first = 0;
  const auto numbered = [&](int r, int p, Vector left, Vector right) {
    finish(r, first + p, left, right);
  };
  const auto rest = [&] {
    return Panels<W>{panels.data + first * panels.apart, panels.apart, panels.step};
  };
  if (rows == 1) {
    for (; first + 4 <= count; first += 4) block<1, 4>(x, stride, rest(), depth, numbered);
    for (; first + 2 <= count; first += 2) block<1, 2>(x, stride, rest(), depth, numbered);
  }
  for (; first < count; first++) some_rows<R>(rows, x, stride, rest(), depth, numbered);
}

}  // namespace
