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
constexpr int DIGIT = 11;       // most bits of a digit of the first sort
constexpr int LEAD = 16;        // bits of a first token that say which piece a suffix is sorted in
constexpr int64_t PIECES = 128, PIECE = 1 << 15;  // about so many, of so many suffixes at least
constexpr int64_t AHEAD = 48;   // suffixes whose memory is asked for before their turn
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
#if defined(MADV_HUGEPAGE)
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
      : text_(text), size_(size), order_(order),
        packing_(*std::max_element(text, text + size)) {
    count_ = size - std::count(text, text + size, 0u);
    while (depth_ < KEYED_DEPTH) depth_ += packing_.tokens;
    const std::vector<int64_t> begins = into_pieces();
    ranks_ = Large<int32_t>(size);
    ended_.resize(count_);
    for (int64_t i = 0; i < size; i++) {
      if (text[i] == 0) ranks_[i] = -1;
    }
    std::vector<std::vector<Range>> open(begins.size() - 1);
#pragma omp parallel
    {
      Scratch scratch;
#pragma omp for schedule(dynamic)
      for (size_t piece = 0; piece < open.size(); piece++) {
        scratch.open = &open[piece];
        sort_piece(begins[piece], begins[piece + 1], &scratch);
      }
    }
    keys_ = Large<uint64_t>();
    for (const auto& some : open) open_.insert(open_.end(), some.begin(), some.end());
    double_depth();
  }

 private:
  // What one thread writes to.
  struct Scratch {
    std::vector<uint64_t> keys;
    std::vector<int32_t> places;
    std::vector<int64_t> ends;
    std::vector<Keyed> keyed;
    std::vector<Range>* open = nullptr;
  };

  // Puts every suffix, with its key, into the piece of its first token: consecutive tokens whose
  // suffixes are about as many in each piece. Returns where the pieces begin, and the end.
  std::vector<int64_t> into_pieces() {
    const int shift = std::max(packing_.bits - LEAD, 0);
    std::vector<int64_t> nexts(int64_t{1} << LEAD), begins;
    for (int64_t i = 0; i < size_; i++) {
      if (text_[i]) nexts[text_[i] >> shift]++;
    }
    std::vector<uint16_t> piece_of(nexts.size());
    const int64_t most = std::max(PIECE, count_ / PIECES);
    int64_t sum = 0;
    for (size_t lead = 0; lead < nexts.size(); lead++) {
      if (begins.empty() || (nexts[lead] && sum + nexts[lead] - begins.back() > most)) {
        begins.push_back(sum);
      }
      piece_of[lead] = static_cast<uint16_t>(begins.size() - 1);
      sum += nexts[lead];
    }
    begins.push_back(sum);
    std::vector<int64_t> slots(begins);
    keys_ = Large<uint64_t>(count_);
    for (int64_t i = 0; i < size_; i++) {
      if (text_[i] == 0) continue;
      const int64_t slot = slots[piece_of[text_[i] >> shift]]++;
      keys_[slot] = packing_.key(text_ + i);
      order_[slot] = static_cast<int32_t>(i);
    }
    return begins;
  }

  void sort_piece(int64_t begin, int64_t end, Scratch* scratch) {
    if (begin < end) by_first_tokens(begin, end, scratch);
    for (int64_t low = begin, high; low < end; low = high) {
      if (low + AHEAD < end) {
        const int32_t place = order_[low + AHEAD];
        __builtin_prefetch(text_ + place + packing_.tokens);
        __builtin_prefetch(&ranks_[place], 1);
      }
      for (high = low + 1; high < end && keys_[high] == keys_[low]; high++) {
      }
      if (packing_.has_ended(keys_[low])) {
        settle(low, high, true);
      } else {
        by_keys(low, high, packing_.tokens, scratch);
      }
    }
  }

  // Sorts a piece by the keys, a digit at a time, the last first.
  void by_first_tokens(int64_t begin, int64_t end, Scratch* scratch) {
    const int width = packing_.bits * packing_.tokens, num_digits = (width + DIGIT - 1) / DIGIT;
    const int bits = (width + num_digits - 1) / num_digits;
    const uint64_t mask = (uint64_t{1} << bits) - 1;
    const int64_t size = end - begin;
    scratch->ends.assign(int64_t{num_digits} << bits, 0);
    scratch->keys.resize(std::max<size_t>(scratch->keys.size(), size));
    scratch->places.resize(std::max<size_t>(scratch->places.size(), size));
    uint64_t *keys = keys_.data() + begin, *other_keys = scratch->keys.data();
    int32_t *places = order_ + begin, *other_places = scratch->places.data();
    for (int64_t i = 0; i < size; i++) {
      for (int digit = 0; digit < num_digits; digit++) {
        scratch->ends[(int64_t{digit} << bits) + (keys[i] >> (digit * bits) & mask)]++;
      }
    }
    for (int digit = 0; digit < num_digits; digit++) {
      int64_t* const ends = scratch->ends.data() + (int64_t{digit} << bits);
      if (ends[keys[0] >> (digit * bits) & mask] == size) continue;  // all have the same
      int64_t sum = 0;
      for (uint64_t value = 0; value <= mask; value++) sum += std::exchange(ends[value], sum);
      for (int64_t i = 0; i < size; i++) {
        const int64_t to = ends[keys[i] >> (digit * bits) & mask]++;
        other_keys[to] = keys[i];
        other_places[to] = places[i];
      }
      std::swap(keys, other_keys);
      std::swap(places, other_places);
    }
    if (keys != keys_.data() + begin) {
      std::copy(keys, keys + size, other_keys);
      std::copy(places, places + size, other_places);
    }
  }

  uint64_t key_at(int64_t place) const { return packing_.key(text_ + place); }

  void settle(int64_t low, int64_t high, bool ended = false) {
    for (int64_t slot = low; slot < high; slot++) ranks_[order_[slot]] = static_cast<int32_t>(low);
    if (ended) ended_[low] = 1;
  }

  // Sorts suffixes that share their first `depth` tokens.
  void by_keys(int64_t low, int64_t high, int64_t depth, Scratch* scratch) {
    if (high - low == 1) return settle(low, high);
    if (depth >= KEYED_DEPTH) {
      settle(low, high);
      scratch->open->emplace_back(static_cast<int32_t>(low), static_cast<int32_t>(high));
      return;
    }
    const int64_t deeper = depth + packing_.tokens;
    if (high - low == 2) {  // the most frequent case needs no array
      const int32_t a = order_[low], b = order_[low + 1];
      const uint64_t of_a = key_at(a + depth), of_b = key_at(b + depth);
      if (of_a != of_b) {
        if (of_b < of_a) std::swap(order_[low], order_[low + 1]);
        settle(low, low + 1);
        return settle(low + 1, high);
      }
      if (packing_.has_ended(of_a)) return settle(low, high, true);
      return by_keys(low, high, deeper, scratch);
    }
    std::vector<Keyed>& keyed = scratch->keyed;
    keyed.resize(std::max<size_t>(keyed.size(), high - low));
    for (int64_t slot = low; slot < high; slot++) {
      const int32_t place = order_[slot];
      keyed[slot - low] = {key_at(place + depth), static_cast<uint32_t>(place)};
    }
    std::sort(keyed.begin(), keyed.begin() + (high - low));
    std::vector<Range> parts;
    for (int64_t from = low; from < high;) {
      const uint64_t key = keyed[from - low].key;
      int64_t to = from;
      for (; to < high && keyed[to - low].key == key; to++) {
        order_[to] = static_cast<int32_t>(keyed[to - low].place);
      }
      // Suffixes that have ended are the same to their ends, in the order of their places.
      if (to - from == 1 || packing_.has_ended(key)) {
        settle(from, to, packing_.has_ended(key));
      } else {
        parts.emplace_back(static_cast<int32_t>(from), static_cast<int32_t>(to));
      }
      from = to;
    }
    for (const auto& [from, to] : parts) by_keys(from, to, deeper, scratch);
  }

  // What is still equal is sorted by the ranks of what follows, twice as deep each time.
  void double_depth() {
    std::vector<uint64_t> keys;
    std::vector<Range> open;
    for (int64_t depth = depth_; !open_.empty(); depth *= 2) {
      open.clear();
      for (const auto& [low, high] : open_) {
        if (high - low == 2) {  // the most frequent case needs no array
          const int32_t a = ranks_[order_[low] + depth], b = ranks_[order_[low + 1] + depth];
          if (b < a) std::swap(order_[low], order_[low + 1]);
          if (a != b) {
            settle(low, low + 1);
            settle(low + 1, high);
          } else if (a < 0 || (a != low && ended_[a])) {
            settle(low, high, true);
          } else {
            open.emplace_back(low, high);
          }
          continue;
        }
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
  int64_t size_;
  int32_t* order_;
  Packing packing_;
  Large<uint64_t> keys_;
  Large<int32_t> ranks_;
  std::vector<uint8_t> ended_;  // whether the suffixes of a rank are equal to their ends
  std::vector<Range> open_;
  int64_t count_ = 0, depth_ = 0;
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
    find_first(tokens, std::max<int64_t>(size - min_length_ + 1, 0));
    int64_t inherited = 0;  // seeds here that are the last place's seeds, one token on
    for (int64_t i = 0; i < size; i++) {
      lengths[i] = places[i] = 0;
      if (i + min_length_ > size) continue;
      const auto [low, high] = seeds(firsts_[i].first, tokens + i);
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

  // Where the suffixes that begin as each place does would begin. All places go a step at a time,
  // so that they wait for memory together.
  void find_first(const uint32_t* tokens, int64_t num_places) {
    firsts_.resize(num_places);
    for (int64_t i = 0; i < num_places; i++) firsts_[i] = landmarks_.around(tokens + i, prefix_);
    for (bool is_open = true; is_open;) {
      is_open = false;
      for (int64_t i = 0; i < num_places; i++) {
        auto& [low, high] = firsts_[i];
        if (low == high) continue;
        const int64_t middle = low + (high - low) / 2;
        if (compare(order_[middle], tokens + i) < 0) low = middle + 1; else high = middle;
        is_open = true;
      }
    }
  }

  // The suffixes from `low` on that begin with the first `prefix` tokens.
  Places seeds(int64_t low, const uint32_t* tokens) const {
    if (low == count_ || compare(order_[low], tokens) != 0) return {low, low};
    // Most are few: step by step, doubling.
    int64_t step = 1, known = low;
    while (known + step < count_ && compare(order_[known + step], tokens) == 0) {
      known += step;
      step *= 2;
    }
    int64_t high = std::min(count_, known + step);
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
  std::vector<Places> firsts_;
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
