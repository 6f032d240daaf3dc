// Checkpoints: the experts of a server saved while they are trained, and restored by their uids when it starts again.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/core/log.hpp"
#include "skep/core/time.hpp"
#include "skep/moe/server/checkpoint_folder.hpp"
#include "skep/moe/server/checkpoint_options.hpp"
#include "skep/moe/server/checkpoint_state.hpp"
#include "skep/moe/server/expert_backend.hpp"

namespace skep::inline v0::moe {

/// The checkpoints of experts below one directory, each in the folder of its uid (see CheckpointFolder and
/// `encode_checkpoint` for what is there). *Threads:* one at a time.
class Checkpoints {
 public:
  /// Throws errc::invalid_argument when there is no such directory.
  explicit Checkpoints(CheckpointOptions options) : options_(std::move(options)) {
    if (std::filesystem::is_directory(options_.directory)) return;
    throw Error(errc::invalid_argument,
                "the folder of checkpoints, " + options_.directory.string() + ", does not exist; make it first");
  }

  /// The uids that have a checkpoint, in order.
  [[nodiscard]] std::vector<std::string> located() const {
    std::vector<std::string> uids;
    for (const auto& entry : std::filesystem::directory_iterator(options_.directory)) {
      std::string uid = entry.path().filename().string();
      const bool whole = names_folder(uid) && std::filesystem::exists(entry.path() / CheckpointFolder::last_name);
      if (whole) uids.push_back(std::move(uid));
    }
    std::ranges::sort(uids);
    return uids;
  }

  /// Writes the state of an expert, as it is between two batches, unless the last one written is the same. Returns when
  /// the disk has it. Throws Error when it cannot be written.
  void save(ExpertBackend& expert) {
    const std::uint64_t updates = expert.update_count();
    const auto last = saved_.find(expert.name());
    if (last != saved_.end() && last->second == updates) return;
    const ExpertState state = expert.state();
    CheckpointFolder(options_.directory, expert.name())
        .write(encode_checkpoint(state), system_wall_now(), options_.keep);
    saved_.insert_or_assign(expert.name(), state.updates);
  }

  /// Gives an expert the state of its newest checkpoint that is whole; damaged ones are told in the log. @return false
  /// when it has none. Throws errc::malformed when all are damaged, since the next ones would replace them, and
  /// errc::invalid_argument when it is the checkpoint of another kind of expert.
  bool restore(ExpertBackend& expert) {
    const CheckpointFolder folder(options_.directory, expert.name());
    const auto files = folder.candidates();
    if (files.empty()) {
      log(LogLevel::warning, "server", "Failed to load checkpoint for " + expert.name() + ": it has none, starts anew");
      return false;
    }
    const ExpertState like = expert.state();
    for (const auto& file : files) {
      try {
        const auto state = decode_checkpoint(CheckpointFolder::read(file), like);
        if (!state) throw Error(state.error(), file.string() + " is damaged");
        load(expert, *state, file);
        return true;
      } catch (const Error& e) {
        if (e.code() == errc::invalid_argument) throw;
        log(LogLevel::warning, "server", std::string(e.what()) + ", the one before it is tried");
      }
    }
    throw Error(errc::malformed, "none of the checkpoints in " + folder.path().string() +
                                     " can be read; move the folder away to start anew");
  }

  [[nodiscard]] const CheckpointOptions& options() const noexcept { return options_; }

 private:
  void load(ExpertBackend& expert, const ExpertState& state, const std::filesystem::path& file) {
    try {
      expert.load_state(state);
    } catch (const Error& e) {
      throw Error(errc::invalid_argument, std::string(without_prefix(e.what())) + " of " + file.string() +
                                              "; start the server with the options it was saved with");
    }
    saved_.insert_or_assign(expert.name(), state.updates);
    log(LogLevel::info, "server",
        expert.name() + ": restored after " + std::to_string(state.updates) + " updates from " + file.string());
  }

  CheckpointOptions options_;
  std::map<std::string, std::uint64_t> saved_;  // the updates in the last checkpoint of each expert
};

/// Saves experts on a thread of its own, at once and then every period; a failure is logged and the next one comes.
/// *Lifetime:* the destructor ends the thread after the checkpoint that is being written. *Threads:* any.
class CheckpointSaver {
 public:
  CheckpointSaver(std::shared_ptr<Checkpoints> checkpoints, std::vector<std::shared_ptr<ExpertBackend>> experts)
      : checkpoints_(std::move(checkpoints)), experts_(std::move(experts)), thread_([this] { run(); }) {}
  CheckpointSaver(const CheckpointSaver&) = delete;
  CheckpointSaver& operator=(const CheckpointSaver&) = delete;
  ~CheckpointSaver() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    stop_.notify_all();
    thread_.join();
  }

  /// Saves all experts once, on this thread. @return how many could not be saved
  static std::size_t save_all(Checkpoints& checkpoints, const std::vector<std::shared_ptr<ExpertBackend>>& experts) {
    std::size_t failed = 0;
    for (const auto& expert : experts) {
      try {
        checkpoints.save(*expert);
      } catch (const std::exception& e) {
        ++failed;
        log(LogLevel::error, "server", "expert " + expert->name() + " could not be saved: " + e.what());
      }
    }
    return failed;
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      lock.unlock();
      save_all(*checkpoints_, experts_);
      lock.lock();
      stop_.wait_for(lock, checkpoints_->options().period, [this] { return stopping_; });
    }
  }

  std::shared_ptr<Checkpoints> checkpoints_;
  std::vector<std::shared_ptr<ExpertBackend>> experts_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace skep::inline v0::moe
