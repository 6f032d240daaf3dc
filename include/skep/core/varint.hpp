// Unsigned LEB128 numbers ("uvarint"), which prefix lengths and name codes everywhere in libp2p.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"

namespace skep::inline v0 {

/// The longest encoding of a 64-bit number.
inline constexpr std::size_t max_varint_size = 10;

/// A number that was read, and how many bytes it took.
struct Varint {
  std::uint64_t value = 0;
  std::size_t size = 0;
};

/// How many bytes `append_varint` writes.
[[nodiscard]] constexpr std::size_t varint_size(std::uint64_t value) noexcept {
  return (static_cast<std::size_t>(std::bit_width(value | 1)) + 6) / 7;
}

/// Appends the shortest encoding.
inline void append_varint(Bytes& to, std::uint64_t value) {
  while (value >= 0x80) {
    to.push_back(static_cast<std::uint8_t>(value | 0x80));
    value >>= 7;
  }
  to.push_back(static_cast<std::uint8_t>(value));
}

/// Reads the number at the front of `bytes` (multiformats, unsigned-varint: only the shortest encoding is right).
/// @return errc::truncated when more bytes are needed, errc::malformed when it is not the shortest or exceeds 64 bits.
[[nodiscard]] inline Result<Varint> read_varint(BytesView bytes) noexcept {
  std::uint64_t value = 0;
  const std::size_t end = std::min(bytes.size(), max_varint_size);
  for (std::size_t i = 0; i < end; ++i) {
    const std::uint64_t low = bytes[i] & 0x7fU;
    if (i == max_varint_size - 1 && bytes[i] > 1) return errc::malformed;
    value |= low << (7 * i);
    if (bytes[i] < 0x80) {
      if (bytes[i] == 0 && i > 0) return errc::malformed;
      return Varint{value, i + 1};
    }
  }
  return errc::truncated;
}

}  // namespace skep::inline v0
