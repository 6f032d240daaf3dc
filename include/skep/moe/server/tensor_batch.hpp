// TensorBatch: the tensors of one request as a batch that can be joined with others of the same shapes and split.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "skep/moe/batch.hpp"
#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe {

/// Tensors whose first dimension is the batch, the same for all.
struct TensorBatch {
  std::vector<Tensor> tensors;
};

template <>
struct BatchTraits<TensorBatch> {
  [[nodiscard]] static std::size_t size(const TensorBatch& batch) {
    if (batch.tensors.empty() || batch.tensors.front().dim() == 0) return 1;
    return static_cast<std::size_t>(batch.tensors.front().size(0));
  }
  /// Equal types and equal dimensions but the batch, for each tensor.
  [[nodiscard]] static bool same_shape(const TensorBatch& a, const TensorBatch& b) {
    if (a.tensors.size() != b.tensors.size()) return false;
    for (std::size_t i = 0; i < a.tensors.size(); ++i) {
      const Tensor& x = a.tensors[i];
      const Tensor& y = b.tensors[i];
      if (x.scalar_type() != y.scalar_type() || x.dim() == 0 || x.dim() != y.dim()) return false;
      if (x.sizes().slice(1) != y.sizes().slice(1)) return false;
    }
    return true;
  }
  /// One copy of each tensor.
  [[nodiscard]] static TensorBatch join(std::span<const TensorBatch> parts) {
    const at::NoGradGuard no_grad;
    TensorBatch joined;
    for (std::size_t i = 0; i < parts.front().tensors.size(); ++i) {
      std::vector<Tensor> same;
      same.reserve(parts.size());
      for (const TensorBatch& part : parts) same.push_back(part.tensors[i]);
      joined.tensors.push_back(at::cat(same, 0));
    }
    return joined;
  }
  /// Views of the rows; nothing is copied.
  [[nodiscard]] static std::vector<TensorBatch> split(TensorBatch batch, std::span<const std::size_t> sizes) {
    const at::NoGradGuard no_grad;
    std::vector<TensorBatch> parts(sizes.size());
    for (const Tensor& tensor : batch.tensors) {
      std::int64_t begin = 0;
      for (std::size_t i = 0; i < sizes.size(); ++i) {
        const auto rows = static_cast<std::int64_t>(sizes[i]);
        parts[i].tensors.push_back(tensor.narrow(0, begin, rows));
        begin += rows;
      }
    }
    return parts;
  }
};

static_assert(Batchable<TensorBatch>);

}  // namespace skep::inline v0::moe
