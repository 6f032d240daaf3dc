// FairMutex: a mutex that cannot be kept from others by a thread which takes it again and again.
#pragma once

#include <mutex>

namespace skep::inline v0 {

/// A mutex for std::lock_guard. Who waits for it comes next, even if its holder wants it back at once: a copy of an
/// expert waits for one batch, however many are queued.
class FairMutex {
 public:
  void lock() {
    const std::lock_guard turn(next_);
    held_.lock();
  }
  void unlock() { held_.unlock(); }

 private:
  std::mutex next_;  // held by the one who is to get it next
  std::mutex held_;
};

}  // namespace skep::inline v0
