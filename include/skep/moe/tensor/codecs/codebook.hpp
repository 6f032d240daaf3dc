// What the 8-bit codecs share: codebooks of 256 values, the bins they are averaged over, and looking values up.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <span>

namespace skep::inline v0::moe::codecs {

using Codebook = std::array<float, 256>;

/// How many codes stand for finite values. Numbers that are not finite have three codes of their own at the end, given
/// only where there are such numbers: so each decodes to what it was, and no neighbour is spoilt by it.
enum class Levels : std::uint16_t { all = 256, besides_non_finite = 253 };
[[nodiscard]] constexpr std::size_t count_of(Levels levels) noexcept { return static_cast<std::size_t>(levels); }

inline void add_non_finite(Codebook& codebook) noexcept {
  codebook[253] = -std::numeric_limits<float>::infinity();
  codebook[254] = std::numeric_limits<float>::infinity();
  codebook[255] = std::numeric_limits<float>::quiet_NaN();
}
/// Corrects the codes of what is not finite.
inline void mark_non_finite(std::span<const float> values, std::uint8_t* codes) noexcept {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i])) {
      codes[i] = 255;
    } else if (std::isinf(values[i])) {
      codes[i] = values[i] < 0 ? 253 : 254;
    }
  }
}

/// How many values are given codes and added to their bins at a time, so that the second step finds them in the cache.
inline constexpr std::size_t block_size = 4096;

/// Averages the values of each bin. The order of the additions is fixed: the averages are the same everywhere.
class BinAverages {
 public:
  BinAverages() : bins_(std::make_unique<std::array<Bins, ways>>()) {}

  void add(std::span<const float> values, const std::uint8_t* codes) noexcept {
    std::size_t i = 0;
    for (; i + ways <= values.size(); i += ways) {
      for (std::size_t way = 0; way < ways; ++way) (*bins_)[way][codes[i + way]] += Bin{values[i + way], 1};
    }
    for (; i < values.size(); ++i) (*bins_)[0][codes[i]] += Bin{values[i], 1};
  }

  /// 0 for bins without values, as Hivemind says. Not finite when a value was not.
  [[nodiscard]] Codebook averages() const noexcept {
    Codebook codebook{};
    for (std::size_t code = 0; code < codebook.size(); ++code) {
      Bin bin{};
      for (const Bins& bins : *bins_) bin += bins[code];
      if (bin[1] > 0) codebook[code] = static_cast<float>(bin[0] / bin[1]);
    }
    return codebook;
  }

 private:
  static constexpr std::size_t ways = 4;  // neighbours often fall into one bin, whose sum they would wait for

  /// Sum and count, added to together.
  using Bin [[gnu::vector_size(2 * sizeof(double))]] = double;
  using Bins = std::array<Bin, 256>;

  std::unique_ptr<std::array<Bins, ways>> bins_;
};

/// to[i] = table[codes[i]]
template <class T>
void look_up(std::span<const std::uint8_t> codes, const std::array<T, 256>& table, T* to) noexcept {
  std::size_t i = 0;
  for (; i + 8 <= codes.size(); i += 8) {
    std::uint64_t eight;
    std::memcpy(&eight, codes.data() + i, 8);
    for (std::size_t k = 0; k < 8; ++k) to[i + k] = table[eight >> (8 * k) & 0xff];
  }
  for (; i < codes.size(); ++i) to[i] = table[codes[i]];
}

}  // namespace skep::inline v0::moe::codecs
