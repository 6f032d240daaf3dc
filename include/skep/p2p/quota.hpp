// Quota and TaskCount: how much of a host one peer may hold at a time, and how many handlers still run.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "skep/async/event.hpp"
#include "skep/core/new_shared.hpp"

namespace skep::inline v0::p2p {

/// A number of bytes that the requests of one peer share. Copies share it.
class Quota {
 public:
  explicit Quota(std::size_t limit) : left_(new_shared<std::size_t>(limit)) {}

  /// Some bytes taken from the quota until it is destroyed or assigned to; false when there were not enough.
  class Share {
   public:
    Share() = default;
    Share(Share&& other) noexcept
        : left_(std::exchange(other.left_, nullptr)), size_(std::exchange(other.size_, std::size_t{0})) {}
    Share& operator=(Share&& other) noexcept {
      Share(std::move(other)).swap(*this);
      return *this;
    }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    ~Share() {
      if (left_) *left_ += size_;
    }
    explicit operator bool() const noexcept { return left_ != nullptr; }

   private:
    friend class Quota;
    Share(std::shared_ptr<std::size_t> left, std::size_t size) noexcept : left_(std::move(left)), size_(size) {}
    void swap(Share& other) noexcept {
      left_.swap(other.left_);
      std::swap(size_, other.size_);
    }
    std::shared_ptr<std::size_t> left_;
    std::size_t size_ = 0;
  };

  [[nodiscard]] Share take(std::size_t size) const {
    if (size > *left_) return {};
    *left_ -= size;
    return {left_, size};
  }
  [[nodiscard]] std::size_t left() const noexcept { return *left_; }

 private:
  std::shared_ptr<std::size_t> left_;
};

/// Counts what runs on behalf of a host, so that its `join` can wait for the last.
class TaskCount {
 public:
  explicit TaskCount(Executor executor) : idle_(std::move(executor)) { idle_.set(); }

  void begin() {
    if (count_++ == 0) idle_.reset();
  }
  void end() {
    if (--count_ == 0) idle_.set();
  }
  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  [[nodiscard]] awaitable<void> none() { return idle_.wait(); }

 private:
  Event idle_;
  std::size_t count_ = 0;
};

}  // namespace skep::inline v0::p2p
