// The check at an expert's door: whether the tensors of a request are what its schema says, and if not, one sentence.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "skep/moe/tensor/schema.hpp"

namespace skep::inline v0::moe {

/// What one kind of request must hold: the inputs and, for backward, the gradients of the outputs behind them.
class RequestCheck {
 public:
  /// @param max_task_size  tensors with more samples are refused in Hivemind's words
  RequestCheck(std::vector<BatchTensorDescriptor> inputs, std::vector<BatchTensorDescriptor> gradients,
               std::int64_t max_task_size)
      : inputs_(inputs.size()), max_task_size_(max_task_size), expected_(std::move(inputs)) {
    expected_.insert(expected_.end(), gradients.begin(), gradients.end());
  }

  [[nodiscard]] std::size_t size() const noexcept { return expected_.size(); }
  /// How many of them are inputs; gradients stand behind them.
  [[nodiscard]] std::size_t inputs() const noexcept { return inputs_; }

  /// Judges one tensor by its header alone: "input 0 is float32[16, 65], expected float32[batch, 64]".
  [[nodiscard]] std::optional<std::string> tensor(std::size_t index, at::IntArrayRef shape,
                                                  at::ScalarType dtype) const {
    if (index >= expected_.size()) return wrong_count("more than " + std::to_string(expected_.size()));
    const BatchTensorDescriptor& expected = expected_[index];
    if (!expected.fits(shape, dtype)) {
      return name(index) + " is " + describe_tensor(shape, dtype) + ", expected " + expected.to_string();
    }
    if (shape[0] == 0) return "Batch should contain more than 0 samples";
    if (shape[0] > max_task_size_) {
      return "Task size greater than max_task_size (" + std::to_string(max_task_size_) +
             "), it can't be processed; send it in parts";
    }
    return std::nullopt;
  }
  /// Judges a whole request: each tensor, their number, and that all have the same batch.
  [[nodiscard]] std::optional<std::string> tensors(std::span<const Tensor> all) const {
    if (all.size() < expected_.size()) return wrong_count(std::to_string(all.size()));
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (auto sentence = tensor(i, all[i].sizes(), all[i].scalar_type())) return sentence;
      if (all[i].size(0) != all[0].size(0)) {
        return name(i) + " has a batch of " + std::to_string(all[i].size(0)) + ", " + name(0) + " one of " +
               std::to_string(all[0].size(0));
      }
    }
    return std::nullopt;
  }

 private:
  [[nodiscard]] std::string name(std::size_t index) const {
    if (index < inputs_) return "input " + std::to_string(index);
    return "output gradient " + std::to_string(index - inputs_);
  }
  [[nodiscard]] std::string wrong_count(const std::string& sent) const {
    return "it has " + sent + " tensors, expected " + std::to_string(expected_.size());
  }

  std::size_t inputs_;
  std::int64_t max_task_size_;
  std::vector<BatchTensorDescriptor> expected_;
};

}  // namespace skep::inline v0::moe
