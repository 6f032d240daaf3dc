// Finite: whether tensors hold only numbers, in one pass over their memory.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe {

namespace detail {

/// Whether none of n floats is infinite or NaN: those have all bits of the exponent set. Blocks of fixed length, so
/// that every compiler makes vectors of them.
[[nodiscard]] inline bool all_finite(const float* values, std::size_t n) noexcept {
  constexpr std::size_t block = 256;
  constexpr std::uint32_t exponent = 0x7f800000;
  const auto is_bad = [](float value) {
    return static_cast<std::uint32_t>((std::bit_cast<std::uint32_t>(value) & exponent) == exponent);
  };
  std::size_t i = 0;
  for (; i + block <= n; i += block) {
    std::uint32_t bad = 0;
    for (std::size_t j = 0; j < block; ++j) bad |= is_bad(values[i + j]);
    if (bad != 0) return false;
  }
  return std::none_of(values + i, values + n, is_bad);
}

}  // namespace detail

/// True when a tensor of any type has neither NaN nor infinity; also for an undefined one.
[[nodiscard]] inline bool all_finite(const Tensor& tensor) {
  if (!tensor.defined() || !(at::isFloatingType(tensor.scalar_type()) || at::isComplexType(tensor.scalar_type()))) {
    return true;
  }
  if (tensor.is_sparse()) return all_finite(tensor._values());
  if (tensor.is_cpu() && tensor.scalar_type() == at::kFloat && tensor.is_contiguous()) {
    return detail::all_finite(tensor.data_ptr<float>(), static_cast<std::size_t>(tensor.numel()));
  }
  return at::isfinite(tensor).all().item<bool>();
}

}  // namespace skep::inline v0::moe
