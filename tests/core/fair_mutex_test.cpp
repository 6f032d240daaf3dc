#include "skep/core/fair_mutex.hpp"

#include <atomic>
#include <thread>

#include <doctest/doctest.h>

TEST_CASE("who waits for a FairMutex comes next, whoever takes it again and again") {
  skep::FairMutex mutex;
  std::atomic<bool> started = false, done = false;
  std::thread greedy([&] {
    while (!done) {
      const std::lock_guard lock(mutex);
      started = true;
    }
  });
  while (!started) std::this_thread::yield();
  for (int i = 0; i < 100; ++i) const std::lock_guard lock(mutex);
  done = true;
  greedy.join();
  CHECK(done);
}
