// Suffix arrays of tokenised documents, and the longest match of every place of other token rows.
//
// A text is documents one after another, each followed by a 0; tokens are from 1. A suffix ends at
// its document's 0, so that no comparison and no match crosses the border of a document.

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace {

// Suffixes are sorted by keys of some tokens up to about this depth, deeper ones by doubling.
constexpr int64_t KEYED_DEPTH = 12;
constexpr int DIGIT = 11;  // bits of a digit of the first sort

using Range = std::pair<int32_t, int32_t>;

struct Keyed {
  uint64_t key;
  uint32_t place;
  bool operator<(const Keyed& other) const {
    return key != other.key ? key < other.key : place < other.place;
  }
};

class Sorter {
 public:
  Sorter(const uint32_t* text, int64_t size, int32_t* order)
      : text_(text), order_(order), ranks_(size) {
    uint32_t largest = 1;
    for (int64_t i = 0; i < size; i++) {
      largest = std::max(largest, text[i]);
      count_ += text[i] != 0;
      if (text[i] == 0) ranks_[i] = -1;
    }
    for (bits_ = 1; bits_ < 32 && largest >> bits_; bits_++) {
    }
    per_key_ = 64 / bits_;
    ended_.resize(count_);
    std::vector<uint8_t> heads(count_ + 1);
    const int64_t depth = by_first_tokens(size, &heads);
    for (int64_t low = 0, high; low < count_; low = high) {
      for (high = low + 1; !heads[high]; high++) {
      }
      if (high - low > 1 && ends_within(order_[low], depth)) {
        settle(low, high, true);
      } else {
        by_keys(low, high, depth);
      }
    }
    std::vector<Keyed>().swap(keyed_);
    double_depth();
  }

 private:
  // Sorts by as many first tokens as 32 bits hold, a digit of the key at a time, the last first;
  // returns how many tokens that are. `heads` marks where others begin.
  int64_t by_first_tokens(int64_t size, std::vector<uint8_t>* heads) {
    const int64_t depth = 32 / bits_;
    const int width = static_cast<int>(depth) * bits_;
    std::vector<uint64_t> keys(count_), sorted(count_);
    for (int64_t i = 0, slot = 0; i < size; i++) {
      if (text_[i]) keys[slot++] = first_tokens(i, depth) << 32 | static_cast<uint64_t>(i);
    }
    for (int done = 0; done < width; done += DIGIT) {
      std::vector<int64_t> ends(int64_t{1} << DIGIT);
      const auto digit = [&](uint64_t key) { return key >> (32 + done) & (ends.size() - 1); };
      for (const uint64_t key : keys) ends[digit(key)]++;
      int64_t sum = 0;
      for (int64_t& end : ends) sum += std::exchange(end, sum);
      for (const uint64_t key : keys) sorted[ends[digit(key)]++] = key;
      keys.swap(sorted);
    }
    for (int64_t slot = 0; slot < count_; slot++) {
      order_[slot] = static_cast<int32_t>(keys[slot] & 0xffffffffu);
      (*heads)[slot] = slot == 0 || keys[slot] >> 32 != keys[slot - 1] >> 32;
    }
    (*heads)[count_] = true;
    return depth;
  }

  uint64_t first_tokens(int64_t place, int64_t depth) const {
    uint64_t key = 0;
    int64_t token = 0;
    for (; token < depth && text_[place + token]; token++) {
      key = key << bits_ | text_[place + token];
    }
    return key << (bits_ * (depth - token));
  }

  // The next tokens of a suffix in one number; after the document's end come zeros.
  uint64_t key_at(int64_t place) const {
    uint64_t key = 0;
    int token = 0;
    for (; token < per_key_ && text_[place + token]; token++) {
      key = key << bits_ | text_[place + token];
    }
    // In two steps: a shift by all 64 bits is not defined.
    const int rest = per_key_ - token;
    return rest == per_key_ ? 0 : key << (bits_ * rest);
  }

  bool has_ended(uint64_t key) const { return (key & ((uint64_t{1} << bits_) - 1)) == 0; }

  bool ends_within(int64_t place, int64_t depth) const {
    const uint32_t* tokens = text_ + place;
    return std::find(tokens, tokens + depth, 0u) != tokens + depth;
  }

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
      return has_ended(of_a) ? settle(low, high, true) : by_keys(low, high, depth + per_key_);
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
      if (to - from == 1 || has_ended(key)) {
        settle(from, to, has_ended(key));
      } else {
        deeper.emplace_back(static_cast<int32_t>(from), static_cast<int32_t>(to));
      }
      from = to;
    }
    for (const auto& [from, to] : deeper) by_keys(from, to, depth + per_key_);
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
  std::vector<int32_t> ranks_;
  std::vector<bool> ended_;  // whether the suffixes of a rank are equal to their ends
  std::vector<Keyed> keyed_;
  std::vector<Range> open_;
  int64_t count_ = 0, depth_ = KEYED_DEPTH;
  int bits_ = 1, per_key_ = 64;
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
  Finder(const uint32_t* text, const int32_t* order, int64_t count, int64_t prefix, int budget,
         int64_t min_length)
      : text_(text), order_(order), count_(count), prefix_(prefix), budget_(budget),
        min_length_(min_length) {}

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
  std::pair<int64_t, int64_t> seeds(const uint32_t* tokens) const {
    int64_t low = 0, high = count_;
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
  std::pair<int64_t, int64_t> children(int64_t low, int64_t high, int64_t depth,
                                       uint32_t wanted) const {
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
  int64_t count_, prefix_;
  int budget_;
  int64_t min_length_, best_ = 0, best_place_ = 0;
  std::vector<Node> nodes_;
};

}  // namespace

extern "C" {

// `order` takes the places of all tokens of the text, sorted by what begins there; of suffixes that
// are equal to their ends the earlier place comes first.
void arriero_suffix_order(int64_t size, const uint32_t* text, int32_t* order) {
  Sorter(text, size, order);
}

// For every place of `num_samples` samples in `samples` (sample s from starts[s] to starts[s + 1]):
// the length of the longest match and where it is in `text`; 0 and 0 where there is none, or where
// every match that begins here ends with one that begins before.
void arriero_longest_matches(const uint32_t* text, int64_t count, const int32_t* order,
                             int64_t num_samples, const int64_t* starts, const uint32_t* samples,
                             int64_t prefix, int64_t budget, int64_t min_length, int32_t* lengths,
                             int32_t* places) {
#pragma omp parallel
  {
    Finder finder(text, order, count, prefix, static_cast<int>(budget), min_length);
#pragma omp for schedule(dynamic, 8)
    for (int64_t s = 0; s < num_samples; s++) {
      const int64_t from = starts[s];
      finder.sample(samples + from, starts[s + 1] - from, lengths + from, places + from);
    }
  }
}

}  // extern "C"
