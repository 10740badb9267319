// Vectors of floats as wide as the machine has them, and e^x on them.

#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace {

// So many rows times two vectors a panel keep all sums of a block in registers.
#if defined(__AVX512F__)
constexpr int LANES = 16, BLOCK_ROWS = 12;
#elif defined(__AVX__)
constexpr int LANES = 8, BLOCK_ROWS = 6;
#elif defined(__aarch64__)
constexpr int LANES = 4, BLOCK_ROWS = 12;
#else
constexpr int LANES = 4, BLOCK_ROWS = 4;
#endif
constexpr int PANEL = 2 * LANES;

typedef float Vector __attribute__((vector_size(LANES * 4)));
typedef int32_t Integers __attribute__((vector_size(LANES * 4)));
typedef uint32_t Words __attribute__((vector_size(LANES * 4)));
typedef uint16_t Halves __attribute__((vector_size(LANES * 2)));
typedef int8_t Bytes __attribute__((vector_size(LANES)));

template <class V, class T>
inline V read(const T* from) {
  V vector;
  std::memcpy(&vector, from, sizeof vector);
  return vector;
}

inline Vector load(const float* from) { return read<Vector>(from); }
inline Vector load(const uint16_t* from) {  // bfloat16: the upper half of a float32
  return (Vector)(__builtin_convertvector(read<Halves>(from), Words) << 16);
}
inline Vector load(const int8_t* from) {
#if defined(__AVX512F__)  // what compilers make of the general form is slower by far
  return __builtin_convertvector((Integers)_mm512_cvtepi8_epi32(read<__m128i>(from)), Vector);
#elif defined(__AVX2__)
  return __builtin_convertvector(
      (Integers)_mm256_cvtepi8_epi32(_mm_cvtsi64_si128(read<int64_t>(from))), Vector);
#else
  return __builtin_convertvector(read<Bytes>(from), Vector);
#endif
}
inline void store(float* to, Vector vector) { std::memcpy(to, &vector, sizeof vector); }
inline Vector all(float value) { return value - Vector{}; }
inline float total(Vector vector) {
  float sum = 0;
  for (int lane = 0; lane < LANES; lane++) sum += vector[lane];
  return sum;
}

// e^x to about one unit in the last place (range reduction and a polynomial of degree 6); 0 below
// -87.
inline Vector exponential(Vector x) {
  const Integers is_large = x > -87.0f;
  x = x > 88.0f ? all(88.0f) : x;
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const Vector whole = (x * 1.44269504f + magic) - magic;
  const Vector r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
  Vector p = 1.9875691500e-4f * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = (p * r) * r + r + 1.0f;
  const Integers shift = is_large ? __builtin_convertvector(whole, Integers) << 23 : Integers{};
  return (Vector)(((Integers)p + shift) & is_large);
}

}  // namespace
