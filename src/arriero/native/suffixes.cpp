// Suffix arrays of tokenised documents, and the longest match of every place of other token rows.
//
// A text is documents one after another, each followed by a 0; tokens are from 1. A suffix ends at
// its document's 0, so that no comparison and no match crosses the border of a document.

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace {

// Suffixes are sorted by keys of some tokens up to about this depth, deeper ones by doubling.
constexpr int64_t KEYED_DEPTH = 12;
constexpr int DIGIT = 11;       // bits of a digit of the first sort
constexpr int64_t STRIDE = 64;  // suffixes from one landmark of the search to the next

using Range = std::pair<int32_t, int32_t>;
using Places = std::pair<int64_t, int64_t>;

// A large array that is not filled beforehand, on large pages where the system has them: what is
// read and written in no order would else wait for the table of pages more than for the memory.
template <typename T>
class Large {
 public:
  explicit Large(int64_t size = 0) {
    if (size == 0) return;
    const size_t bytes = (size * sizeof(T) + PAGE - 1) / PAGE * PAGE;
    void* memory = std::aligned_alloc(PAGE, bytes);
    if (memory == nullptr) throw std::bad_alloc();
#if defined(__linux__)
    madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    values_.reset(static_cast<T*>(memory));
  }
  T* data() { return values_.get(); }
  T& operator[](int64_t i) { return values_.get()[i]; }

 private:
  static constexpr size_t PAGE = size_t{1} << 21;
  struct Free {
    void operator()(T* values) const { std::free(values); }
  };
  std::unique_ptr<T, Free> values_;
};

struct Keyed {
  uint64_t key;
  uint32_t place;
  bool operator<(const Keyed& other) const {
    return key != other.key ? key < other.key : place < other.place;
  }
};

// The first tokens of a suffix in one number, in the order of suffixes; zeros follow its end.
struct Packing {
  explicit Packing(uint32_t largest) {
    for (bits = 1; bits < 32 && largest >> bits; bits++) {
    }
    tokens = 64 / bits;
  }

  uint64_t key(const uint32_t* suffix) const {
    uint64_t key = 0;
    int token = 0;
    for (; token < tokens && suffix[token]; token++) key = key << bits | suffix[token];
    // In two steps: a shift by all 64 bits is not defined.
    const int rest = tokens - token;
    return rest == tokens ? 0 : key << (bits * rest);
  }

  bool has_ended(uint64_t key) const { return (key & ((uint64_t{1} << bits) - 1)) == 0; }

  int bits, tokens;
};

class Sorter {
 public:
  Sorter(const uint32_t* text, int64_t size, int32_t* order)
      : text_(text), order_(order), packing_(*std::max_element(text, text + size)) {
    count_ = size - std::count(text, text + size, 0u);
    const std::vector<uint8_t> heads = by_first_tokens(size);
    ranks_ = Large<int32_t>(size);
    ended_.resize(count_);
    for (int64_t i = 0; i < size; i++) {
      if (text[i] == 0) ranks_[i] = -1;
    }
    for (int64_t low = 0, high; low < count_; low = high) {
      for (high = low + 1; !(heads[high] & NEW); high++) {
      }
      if (heads[low] & ENDED) {
        settle(low, high, true);
      } else {
        by_keys(low, high, packing_.tokens);
      }
    }
    std::vector<Keyed>().swap(keyed_);
    double_depth();
  }

 private:
  enum : uint8_t { NEW = 1, ENDED = 2 };

  // Sorts by the first tokens, a digit of their key at a time, the last first; returns for each
  // slot whether another key begins there and whether its suffixes end within the key.
  std::vector<uint8_t> by_first_tokens(int64_t size) {
    const int num_digits = (packing_.bits * packing_.tokens + DIGIT - 1) / DIGIT;
    const uint64_t mask = (uint64_t{1} << DIGIT) - 1;
    std::vector<int64_t> ends(int64_t{num_digits} << DIGIT);
    Large<uint64_t> keys(count_), sorted_keys(count_);
    for (int64_t i = 0, slot = 0; i < size; i++) {
      if (text_[i] == 0) continue;
      const uint64_t key = packing_.key(text_ + i);
      for (int digit = 0; digit < num_digits; digit++) {
        ends[(int64_t{digit} << DIGIT) + (key >> (digit * DIGIT) & mask)]++;
      }
      keys[slot] = key;
      order_[slot++] = static_cast<int32_t>(i);
    }
    Large<int32_t> sorted(count_);
    int32_t *from = order_, *to = sorted.data();
    for (int digit = 0; digit < num_digits; digit++) {
      int64_t* const end = ends.data() + (int64_t{digit} << DIGIT);
      int64_t sum = 0;
      for (uint64_t value = 0; value <= mask; value++) sum += std::exchange(end[value], sum);
      for (int64_t slot = 0; slot < count_; slot++) {
        const int64_t place = end[keys[slot] >> (digit * DIGIT) & mask]++;
        sorted_keys[place] = keys[slot];
        to[place] = from[slot];
      }
      std::swap(keys, sorted_keys);
      std::swap(from, to);
    }
    if (from != order_) std::copy(from, from + count_, order_);
    std::vector<uint8_t> heads(count_ + 1);
    for (int64_t slot = 0; slot < count_; slot++) {
      if (slot == 0 || keys[slot] != keys[slot - 1]) heads[slot] |= NEW;
      if (packing_.has_ended(keys[slot])) heads[slot] |= ENDED;
    }
    heads[count_] = NEW;
    return heads;
  }

  uint64_t key_at(int64_t place) const { return packing_.key(text_ + place); }

  void settle(int64_t low, int64_t high, bool ended = false) {
    for (int64_t slot = low; slot < high; slot++) ranks_[order_[slot]] = static_cast<int32_t>(low);
    if (ended) ended_[low] = true;
  }

  // Sorts suffixes that share their first `depth` tokens.
  void by_keys(int64_t low, int64_t high, int64_t depth) {
    if (high - low == 1) return settle(low, high);
    if (depth >= KEYED_DEPTH) {
      settle(low, high);
      depth_ = depth;
      open_.emplace_back(static_cast<int32_t>(low), static_cast<int32_t>(high));
      return;
    }
    if (high - low == 2) {  // the most frequent case needs no array
      const int32_t a = order_[low], b = order_[low + 1];
      const uint64_t of_a = key_at(a + depth), of_b = key_at(b + depth);
      if (of_a != of_b) {
        if (of_b < of_a) std::swap(order_[low], order_[low + 1]);
        settle(low, low + 1);
        return settle(low + 1, high);
      }
      return packing_.has_ended(of_a) ? settle(low, high, true) : by_keys(low, high, depth + packing_.tokens);
    }
    keyed_.resize(std::max<size_t>(keyed_.size(), high - low));
    for (int64_t slot = low; slot < high; slot++) {
      const int32_t place = order_[slot];
      keyed_[slot - low] = {key_at(place + depth), static_cast<uint32_t>(place)};
    }
    std::sort(keyed_.begin(), keyed_.begin() + (high - low));
    std::vector<Range> deeper;
    for (int64_t from = low; from < high;) {
      const uint64_t key = keyed_[from - low].key;
      int64_t to = from;
      for (; to < high && keyed_[to - low].key == key; to++) {
        order_[to] = static_cast<int32_t>(keyed_[to - low].place);
      }
      // Suffixes that have ended are the same to their ends, in the order of their places.
      if (to - from == 1 || packing_.has_ended(key)) {
        settle(from, to, packing_.has_ended(key));
      } else {
        deeper.emplace_back(static_cast<int32_t>(from), static_cast<int32_t>(to));
      }
      from = to;
    }
    for (const auto& [from, to] : deeper) by_keys(from, to, depth + packing_.tokens);
  }

  // What is still equal is sorted by the ranks of what follows, twice as deep each time.
  void double_depth() {
    std::vector<uint64_t> keys;
    std::vector<Range> open;
    for (int64_t depth = depth_; !open_.empty(); depth *= 2) {
      open.clear();
      for (const auto& [low, high] : open_) {
        keys.clear();
        for (int64_t slot = low; slot < high; slot++) {
          const uint64_t rank = static_cast<uint64_t>(ranks_[order_[slot] + depth] + 1);
          keys.push_back(rank << 32 | static_cast<uint32_t>(order_[slot]));
        }
        std::sort(keys.begin(), keys.end());
        for (int64_t slot = low; slot < high; slot++) {
          order_[slot] = static_cast<int32_t>(keys[slot - low] & 0xffffffffu);
        }
        for (int64_t from = low; from < high;) {
          const uint64_t rank = keys[from - low] >> 32;
          int64_t to = from;
          while (to < high && keys[to - low] >> 32 == rank) to++;
          // What follows may be equal to its end before the depth is reached; what follows in
          // these same suffixes has not, whatever a part of them that is settled already says.
          const bool is_own = static_cast<int64_t>(rank) == low + 1;
          const bool ended = rank == 0 || (!is_own && ended_[rank - 1]);
          settle(from, to, ended);
          if (to - from > 1 && !ended) open.emplace_back(static_cast<int32_t>(from), static_cast<int32_t>(to));
          from = to;
        }
      }
      open_.swap(open);
    }
  }

  const uint32_t* text_;
  int32_t* order_;
  Packing packing_;
  Large<int32_t> ranks_;
  std::vector<bool> ended_;  // whether the suffixes of a rank are equal to their ends
  std::vector<Keyed> keyed_;
  std::vector<Range> open_;
  int64_t count_ = 0, depth_ = KEYED_DEPTH;
};

// The keys of every 64th suffix, which stay in the processor's cache: a search among them leaves few
// suffixes to look up in memory.
class Landmarks {
 public:
  Landmarks(const uint32_t* text, const int32_t* order, int64_t count, uint32_t largest)
      : packing_(largest), count_(count) {
    for (int64_t slot = 0; slot < count; slot += STRIDE) {
      keys_.push_back(packing_.key(text + order[slot]));
    }
  }

  // The part of the suffix array that may begin with the first `prefix` tokens.
  Places around(const uint32_t* tokens, int64_t prefix) const {
    const int known = static_cast<int>(std::min<int64_t>(prefix, packing_.tokens));
    uint64_t low = 0;
    for (int k = 0; k < known; k++) low = low << packing_.bits | tokens[k];
    const int rest = packing_.bits * (packing_.tokens - known);
    low <<= rest;
    const uint64_t high = low | ((uint64_t{1} << rest) - 1);
    const auto from = std::lower_bound(keys_.begin(), keys_.end(), low);
    const auto to = std::upper_bound(from, keys_.end(), high);
    const int64_t before = std::max<int64_t>(from - keys_.begin() - 1, 0);
    return {before * STRIDE, std::min(count_, (to - keys_.begin()) * STRIDE)};
  }

 private:
  Packing packing_;
  int64_t count_;
  std::vector<uint64_t> keys_;
};

// A part of the suffix array whose suffixes share `depth` tokens, `different` of them not the
// sample's; `length` is where the last token that is the sample's ends.
struct Node {
  int64_t low, high, depth;
  int different;
  int64_t length;
};

class Finder {
 public:
  Finder(const uint32_t* text, const int32_t* order, int64_t count, const Landmarks& landmarks,
         int64_t prefix, int budget, int64_t min_length)
      : text_(text), order_(order), count_(count), landmarks_(landmarks), prefix_(prefix),
        budget_(budget), min_length_(min_length) {}

  // The longest match of every place of a sample of `size` tokens, 0 where there is none.
  void sample(const uint32_t* tokens, int64_t size, int32_t* lengths, int32_t* places) {
    int64_t inherited = 0;  // seeds here that are the last place's seeds, one token on
    for (int64_t i = 0; i < size; i++) {
      lengths[i] = places[i] = 0;
      if (i + min_length_ > size) continue;
      const auto [low, high] = seeds(tokens + i);
      // If each of them follows a seed of the last place, their matches end where those end.
      if (high > low && high - low != inherited) {
        longest(tokens + i, size - i, low, high);
        lengths[i] = static_cast<int32_t>(best_);
        places[i] = static_cast<int32_t>(best_ ? best_place_ : 0);
      }
      inherited = 0;
      if (high > low && i + prefix_ < size) {
        const auto [from, to] = children(low, high, prefix_, tokens[i + prefix_]);
        inherited = to - from;
      }
    }
  }

 private:
  int compare(int32_t place, const uint32_t* tokens) const {
    const uint32_t* suffix = text_ + place;
    for (int64_t k = 0; k < prefix_; k++) {
      if (suffix[k] != tokens[k]) return suffix[k] < tokens[k] ? -1 : 1;
    }
    return 0;
  }

  // The suffixes that begin with the first `prefix` tokens.
  Places seeds(const uint32_t* tokens) const {
    auto [low, high] = landmarks_.around(tokens, prefix_);
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (compare(order_[middle], tokens) < 0) low = middle + 1; else high = middle;
    }
    if (low == count_ || compare(order_[low], tokens) != 0) return {low, low};
    // Most are few: step by step, doubling.
    int64_t step = 1, known = low;
    while (known + step < count_ && compare(order_[known + step], tokens) == 0) {
      known += step;
      step *= 2;
    }
    high = std::min(count_, known + step);
    while (known + 1 < high) {
      const int64_t middle = known + (high - known) / 2;
      if (compare(order_[middle], tokens) == 0) known = middle; else high = middle;
    }
    return {low, known + 1};
  }

  uint32_t token(int64_t slot, int64_t depth) const { return text_[order_[slot] + depth]; }

  // The part of [low, high), whose suffixes share `depth` tokens, that goes on with `wanted`.
  Places children(int64_t low, int64_t high, int64_t depth, uint32_t wanted) const {
    const auto first = [&](int64_t from, bool past) {
      int64_t to = high;
      while (from < to) {
        const int64_t middle = from + (to - from) / 2;
        const uint32_t found = token(middle, depth);
        if (found < wanted || (past && found == wanted)) from = middle + 1; else to = middle;
      }
      return from;
    };
    const int64_t from = first(low, false);
    return {from, first(from, true)};
  }

  void note(int64_t length, int64_t low, int64_t high) {
    if (length < min_length_ || length < best_) return;
    const int64_t place = *std::min_element(order_ + low, order_ + high);
    if (length > best_ || place < best_place_) best_place_ = place;
    best_ = length;
  }

  // Over the suffixes [low, high) as a trie: what many of them share is read once.
  void longest(const uint32_t* tokens, int64_t size, int64_t low, int64_t high) {
    best_ = 0;
    best_place_ = INT64_MAX;
    nodes_.clear();
    nodes_.push_back({low, high, prefix_, 0, prefix_});
    while (!nodes_.empty()) {
      Node node = nodes_.back();
      nodes_.pop_back();
      const uint32_t* first = text_ + order_[node.low];
      const uint32_t* last = text_ + order_[node.high - 1];
      bool is_over = false, is_shared = true;
      while (!is_over && is_shared) {
        const uint32_t next = first[node.depth];
        is_over = node.depth == size || next == 0;
        is_shared = next == last[node.depth];
        if (is_over || !is_shared) break;
        if (next == tokens[node.depth]) {
          node.length = ++node.depth;
        } else if (node.different == budget_) {
          is_over = true;
        } else {
          node.different++;
          node.depth++;
        }
      }
      if (node.depth == size || (is_over && is_shared)) {
        note(node.length, node.low, node.high);
      } else {
        branch(node, tokens[node.depth]);
      }
    }
  }

  void branch(const Node& node, uint32_t wanted) {
    if (node.different == budget_) {  // only one way leads on
      const auto [from, to] = children(node.low, node.high, node.depth, wanted);
      if (from > node.low) note(node.length, node.low, from);
      if (to < node.high) note(node.length, to, node.high);
      if (from < to) nodes_.push_back({from, to, node.depth + 1, node.different, node.depth + 1});
      return;
    }
    for (int64_t low = node.low; low < node.high;) {
      const uint32_t next = token(low, node.depth);
      int64_t step = 1, known = low;
      while (known + step < node.high && token(known + step, node.depth) == next) {
        known += step;
        step *= 2;
      }
      int64_t high = std::min(node.high, known + step);
      while (known + 1 < high) {
        const int64_t middle = known + (high - known) / 2;
        if (token(middle, node.depth) == next) known = middle; else high = middle;
      }
      high = known + 1;
      if (next == 0) {
        note(node.length, low, high);
      } else if (next == wanted) {
        nodes_.push_back({low, high, node.depth + 1, node.different, node.depth + 1});
      } else {
        nodes_.push_back({low, high, node.depth + 1, node.different + 1, node.length});
      }
      low = high;
    }
  }

  const uint32_t* text_;
  const int32_t* order_;
  int64_t count_;
  const Landmarks& landmarks_;
  int64_t prefix_;
  int budget_;
  int64_t min_length_, best_ = 0, best_place_ = 0;
  std::vector<Node> nodes_;
};

}  // namespace

extern "C" {

// `order` takes the places of all tokens of the text, sorted by what begins there; of suffixes that
// are equal to their ends the earlier place comes first.
void arriero_suffix_order(int64_t size, const uint32_t* text, int32_t* order) {
  if (size > 0) Sorter(text, size, order);
}

// For every place of `num_samples` samples in `samples` (sample s from starts[s] to starts[s + 1]):
// the length of the longest match and where it is in `text`; 0 and 0 where there is none, or where
// every match that begins here ends with one that begins before.
void arriero_longest_matches(const uint32_t* text, int64_t count, const int32_t* order,
                             int64_t num_samples, const int64_t* starts, const uint32_t* samples,
                             int64_t prefix, int64_t budget, int64_t min_length, int32_t* lengths,
                             int32_t* places) {
  // The last suffix begins with the text's largest token.
  uint32_t largest = count > 0 ? text[order[count - 1]] : 1;
  for (int64_t i = 0; i < starts[num_samples]; i++) largest = std::max(largest, samples[i]);
  const Landmarks landmarks(text, order, count, largest);
#pragma omp parallel
  {
    Finder finder(text, order, count, landmarks, prefix, static_cast<int>(budget), min_length);
#pragma omp for schedule(dynamic, 8)
    for (int64_t s = 0; s < num_samples; s++) {
      const int64_t from = starts[s];
      finder.sample(samples + from, starts[s + 1] - from, lengths + from, places + from);
    }
  }
}

}  // extern "C"
