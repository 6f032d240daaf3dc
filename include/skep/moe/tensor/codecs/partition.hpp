// Partition: the line of numbers cut at up to 255 borders, and a table that finds the part of a number in few steps.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace skep::inline v0::moe::codecs {

/// Each border belongs to the part below it. A number's upper half leads to the parts that it may be in; one comparison
/// a halving then decides, as many as the most crowded half has borders for.
class Partition {
 public:
  /// @param borders  ascending, finite, at most 255
  explicit Partition(std::span<const float> borders) : first_part_(halves) {
    keys_.fill(~std::uint32_t{0});  // no number is beyond
    std::size_t done = 0;           // halves that have their part
    std::size_t crowd = 0;
    std::size_t largest_crowd = 0;
    for (std::size_t i = 0; i < borders.size(); ++i) {
      keys_[i] = key_of(borders[i]);
      const std::size_t half = keys_[i] >> 16;
      crowd = half < done ? crowd + 1 : 1;
      largest_crowd = std::max(largest_crowd, crowd);
      for (; done <= half; ++done) first_part_[done] = static_cast<std::uint8_t>(i);
    }
    for (; done < halves; ++done) first_part_[done] = static_cast<std::uint8_t>(borders.size());
    first_step_ = std::bit_floor(largest_crowd);
  }

  /// How many borders are below the number. What is not finite has a part, too, but which means nothing.
  [[nodiscard]] std::uint8_t part_of(float value) const noexcept { return find(key_of(value), first_step_); }

  /// parts[i] = part_of(values[i] * factor)
  void assign(std::span<const float> values, float factor, std::uint8_t* parts) const noexcept {
    if (first_step_ == 1) {  // as it nearly always is: the loop below it unrolled
      for (std::size_t i = 0; i < values.size(); ++i) parts[i] = find(key_of(values[i] * factor), 1);
    } else {
      for (std::size_t i = 0; i < values.size(); ++i) parts[i] = find(key_of(values[i] * factor), first_step_);
    }
  }

 private:
  static constexpr std::size_t halves = std::size_t{1} << 16;

  /// Keys are ordered as the numbers are; both zeros have the same.
  [[nodiscard]] static std::uint32_t key_of(float value) noexcept {
    const auto bits = std::bit_cast<std::uint32_t>(value + 0.F);
    const auto if_negative = static_cast<std::uint32_t>(static_cast<std::int32_t>(bits) >> 31);
    return bits ^ (if_negative | 0x80000000U);
  }
  [[nodiscard]] std::uint8_t find(std::uint32_t key, std::size_t first_step) const noexcept {
    std::size_t part = first_part_[key >> 16];
    for (std::size_t step = first_step; step > 0; step /= 2) part += keys_[part + step - 1] < key ? step : 0;
    return static_cast<std::uint8_t>(part);
  }

  std::vector<std::uint8_t> first_part_;   // by the upper half of a key
  std::array<std::uint32_t, 512> keys_{};  // of the borders, then of what is beyond them all
  std::size_t first_step_ = 0;
};

}  // namespace skep::inline v0::moe::codecs
