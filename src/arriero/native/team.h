// A team of threads that goes through one call together, barrier by barrier.
//
// A step has some fifty barriers of a few microseconds each. A thread that slept at one of them
// would wake up a scheduler's tick too late wherever other programs want the cores, so it never
// does: it looks again and again, and soon lets others run in between. Between calls it does so for
// as long as the next one is likely to come; to wake a thread up takes a good part of a small
// model's step.

#pragma once

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace arriero {

// How long a thread looks out for the next call before it sleeps: more than a step's bookkeeping.
constexpr std::chrono::milliseconds PATIENCE{5};

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class Team {
 public:
  // A thread of the team within a call.
  struct Member {
    Team& team;
    int64_t number, count;

    void barrier() {
      const uint64_t now = team.phase_.load(std::memory_order_acquire);
      if (team.arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == count) {
        team.arrived_.store(0, std::memory_order_relaxed);
        team.phase_.store(now + 1, std::memory_order_release);
        return;
      }
      for (int looked = 0; team.phase_.load(std::memory_order_acquire) == now; looked++) {
        if (looked < 1000) relax();
        else std::this_thread::yield();
      }
    }

    // This thread's part of `total` things: the first of them and the one after the last.
    std::pair<int64_t, int64_t> part(int64_t total) const {
      return {total * number / count, total * (number + 1) / count};
    }

    // act(0) to act(total - 1): neighbouring ones on one thread. A barrier follows.
    template <class Act>
    void share(int64_t total, Act act) {
      const auto [first, last] = part(total);
      for (int64_t i = first; i < last; i++) act(i);
      barrier();
    }

    // The same where one act takes longer than another: each thread takes the next.
    template <class Act>
    void take(int64_t total, Act act) {
      for (int64_t i = team.next_++; i < total; i = team.next_++) act(i);
      barrier();
      // Nobody takes anything before the next barrier, at which this thread is missing until then.
      if (number == 0) team.next_ = 0;
    }
  };

  // Runs `body` on `count` threads, the caller's among them. One call at a time.
  void run(int64_t count, const std::function<void(Member)>& body) {
    const std::lock_guard<std::mutex> alone(calls_);
    for (; num_threads_ < count; num_threads_++) {
      try {
        std::thread([this, number = num_threads_, seen = job_.load()] {
          serve(number, seen);
        }).detach();
      } catch (const std::system_error&) {
        count = num_threads_;  // the system gives no more: go on with those there are
      }
    }
    if (count > 1) {
      const std::lock_guard<std::mutex> lock(sleep_);
      body_ = &body, count_ = count, running_ = num_threads_ - 1;
      job_.fetch_add(1);
    }
    if (count > 1) wake_.notify_all();
    body({*this, 0, count});
    while (count > 1 && running_.load(std::memory_order_acquire)) std::this_thread::yield();
  }

 private:
  void serve(int64_t number, uint64_t seen) {
    for (;;) {
      const auto began = std::chrono::steady_clock::now();
      for (int looked = 0; job_.load(std::memory_order_acquire) == seen; looked++) {
        if (looked < 1000) relax();
        else if (std::chrono::steady_clock::now() - began < PATIENCE) std::this_thread::yield();
        else break;
      }
      {
        std::unique_lock<std::mutex> lock(sleep_);
        wake_.wait(lock, [&] { return job_.load() != seen; });
        seen = job_.load();
      }
      if (number < count_) (*body_)({*this, number, count_});
      running_.fetch_sub(1, std::memory_order_release);
    }
  }

  std::mutex calls_, sleep_;
  std::condition_variable wake_;
  std::atomic<uint64_t> job_{0}, phase_{0};
  std::atomic<int64_t> arrived_{0}, running_{0}, next_{0};
  const std::function<void(Member)>* body_ = nullptr;
  int64_t count_ = 1, num_threads_ = 1;
};

// The team of this process. Never destroyed: its threads outlive everything else. They do not
// survive a fork, so a child gets another.
inline Team& team() {
  static std::mutex making;
  static Team* one = nullptr;
  static pid_t owner = 0;
  const std::lock_guard<std::mutex> lock(making);
  if (owner != getpid()) one = new Team, owner = getpid();
  return *one;
}

}  // namespace arriero
