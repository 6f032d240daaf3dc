// Runtime: the thread of one device, which computes the batches of all experts on it.
#pragma once

#include <pthread.h>

#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "skep/async/runner.hpp"
#include "skep/moe/batch_scheduler.hpp"
#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe {

/// Options of a Runtime.
struct RuntimeOptions {
  int threads = 0;                    ///< LibTorch threads inside one operation; 0 leaves LibTorch's own choice
  std::string name = "skep-runtime";  ///< of the thread, as `top -H` shows it; at most 15 characters
};

/// One thread that computes the batches of the pools attached to its scheduler, the most urgent first: at once when it
/// is idle, everything that has gathered when it was busy. Pools may be attached at any time.
///
/// *Lifetime:* the destructor shuts it down. Shut it down before the executors of the callers end. *Threads:* every
/// member from any thread but its own.
class Runtime {
 public:
  explicit Runtime(RuntimeOptions options = {})
      : options_(std::move(options)), scheduler_(std::make_shared<BatchScheduler>()) {}
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;
  ~Runtime() { shutdown(); }

  /// Where pools attach.
  [[nodiscard]] const std::shared_ptr<BatchScheduler>& scheduler() const noexcept { return scheduler_; }

  /// Starts the thread; tasks submitted earlier have waited for this. Once only.
  void start() {
    const std::lock_guard lock(mutex_);
    if (thread_.joinable() || stopped_) return;
    thread_ = std::thread([scheduler = scheduler_, options = options_] {
      mark_no_blocking();
      ::pthread_setname_np(::pthread_self(), options.name.substr(0, 15).c_str());
      if (options.threads > 0) set_compute_threads(options.threads);
      scheduler->run();
    });
  }
  [[nodiscard]] bool ready() const {
    const std::lock_guard lock(mutex_);
    return thread_.joinable();
  }
  /// Finishes the batch that is being computed and joins the thread; what still waits stays until its pool is closed.
  /// Idempotent.
  void shutdown() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    scheduler_->stop();
    if (thread_.joinable()) thread_.join();
  }

 private:
  RuntimeOptions options_;
  std::shared_ptr<BatchScheduler> scheduler_;
  mutable std::mutex mutex_;
  std::thread thread_;
  bool stopped_ = false;
};

}  // namespace skep::inline v0::moe
