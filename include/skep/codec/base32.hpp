// Base32 (RFC 4648, lower case, no padding), the text form of CIDv1 peer ids after their multibase letter 'b'.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"

namespace skep::inline v0::codec {

/// Without the multibase letter.
[[nodiscard]] inline std::string base32_encode(BytesView bytes) {
  constexpr std::string_view digits = "abcdefghijklmnopqrstuvwxyz234567";
  std::string text;
  text.reserve((bytes.size() * 8 + 4) / 5);
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const std::uint8_t byte : bytes) {
    bits = (bits << 8) | byte;
    for (count += 8; count >= 5; count -= 5) text.push_back(digits[(bits >> (count - 5)) & 31]);
  }
  if (count > 0) text.push_back(digits[(bits << (5 - count)) & 31]);
  return text;
}

/// Reads text without the multibase letter, in either case.
/// @return errc::malformed for a character outside the alphabet, an impossible length or bits left over that are not 0.
[[nodiscard]] inline Result<Bytes> base32_decode(std::string_view text) {
  Bytes bytes;
  bytes.reserve(text.size() * 5 / 8);
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : text) {
    unsigned value = 0;
    if (c >= 'a' && c <= 'z') {
      value = static_cast<unsigned>(c - 'a');
    } else if (c >= 'A' && c <= 'Z') {
      value = static_cast<unsigned>(c - 'A');
    } else if (c >= '2' && c <= '7') {
      value = static_cast<unsigned>(c - '2') + 26;
    } else {
      return errc::malformed;
    }
    bits = (bits << 5) | value;
    count += 5;
    if (count >= 8) {
      count -= 8;
      bytes.push_back(static_cast<std::uint8_t>(bits >> count));
    }
  }
  const bool leftover = (bits & ((1U << count) - 1)) != 0;
  if (count >= 5 || leftover) return errc::malformed;
  return bytes;
}

}  // namespace skep::inline v0::codec
