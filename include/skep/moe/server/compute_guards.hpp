// Guards around a computation: what a module changes besides its results, put back unless it shall stay.
#pragma once

#include <cstddef>
#include <mutex>
#include <utility>
#include <vector>

#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe {

/// Puts the buffers of a module (the running statistics of a batch norm) back at its end, unless they were kept.
class BufferGuard {
 public:
  explicit BufferGuard(std::vector<Tensor> buffers) : buffers_(std::move(buffers)) {
    const at::NoGradGuard no_grad;
    for (const Tensor& buffer : buffers_) copies_.push_back(buffer.detach().clone());
  }
  BufferGuard(const BufferGuard&) = delete;
  BufferGuard& operator=(const BufferGuard&) = delete;
  ~BufferGuard() {
    if (kept_) return;
    const at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < buffers_.size(); ++i) buffers_[i].copy_(copies_[i]);
  }

  void keep() noexcept { kept_ = true; }

 private:
  std::vector<Tensor> buffers_;
  std::vector<Tensor> copies_;
  bool kept_ = false;
};

/// Puts the random state of the CPU back at its end, unless it was kept.
class RandomGuard {
 public:
  RandomGuard() : generator_(at::globalContext().defaultGenerator(at::kCPU)) {
    const std::lock_guard lock(generator_.mutex());
    before_ = generator_.get_state();
  }
  RandomGuard(const RandomGuard&) = delete;
  RandomGuard& operator=(const RandomGuard&) = delete;
  ~RandomGuard() {
    if (kept_) return;
    const std::lock_guard lock(generator_.mutex());
    generator_.set_state(before_);
  }

  void keep() noexcept { kept_ = true; }

 private:
  at::Generator generator_;
  Tensor before_;
  bool kept_ = false;
};

}  // namespace skep::inline v0::moe
