// Shingles of words and their MinHash, for finding near-duplicates of a corpus. The numbers are
// those of `arriero.corpus.shingles`, which does the same in numpy.

#include <algorithm>
#include <cstdint>

namespace {

constexpr uint64_t WORD_BASE = 0x100000001B3ull | (1ull << 62);
constexpr uint64_t GRAM_BASE = 0xD6E8FEB86659FD93ull;

inline uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

inline bool is_word(uint8_t byte) {
  return byte >= 128 || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
         (byte >= '0' && byte <= '9');
}

}  // namespace

// Hashes of all runs of `ngram` words of a text of `size` bytes, into `out`, which has room for
// size / 2 + 2; returns their number. Fewer words are one run, none give none.
extern "C" int64_t arriero_shingles(const uint8_t* text, int64_t size, int64_t ngram,
                                    uint64_t* out) {
  int64_t count = 0;
  for (int64_t i = 0; i < size;) {
    if (!is_word(text[i])) {
      i++;
      continue;
    }
    uint64_t word = 0;
    for (; i < size && is_word(text[i]); i++) word = word * WORD_BASE + (text[i] + 1ull);
    out[count++] = mixed(word);
  }
  if (count == 0) return 0;
  const int64_t length = std::min(ngram, count);
  const int64_t grams = count - length + 1;
  for (int64_t i = 0; i < grams; i++) {
    uint64_t gram = 0;
    for (int64_t k = 0; k < length; k++) gram = gram * GRAM_BASE + out[i + k];
    out[i] = mixed(gram);
  }
  return grams;
}

// For each of `size` permutations h -> a * h + b modulo 2^32 the least value over all shingles.
extern "C" void arriero_minhash(const uint64_t* shingles, int64_t count, const uint32_t* a,
                                const uint32_t* b, int64_t size, uint32_t* least) {
  for (int64_t i = 0; i < count; i++) {
    const uint32_t hash = (uint32_t)(shingles[i] >> 32);
    for (int64_t k = 0; k < size; k++) {
      const uint32_t value = a[k] * hash + b[k];
      least[k] = std::min(least[k], value);
    }
  }
}
