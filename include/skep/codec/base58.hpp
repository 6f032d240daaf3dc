// Base58 with Bitcoin's alphabet, the text form of peer ids.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"

namespace skep::inline v0::codec {

/// The work grows with the square of the length, so foreign text is cut off here. A peer id has at most 52 characters.
inline constexpr std::size_t max_base58_text = 256;

namespace detail {

inline constexpr std::string_view base58_digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
inline constexpr std::uint8_t no_digit = 0xff;
inline constexpr std::uint64_t five_digits = 58ULL * 58 * 58 * 58 * 58;  // one limb holds five digits

[[nodiscard]] constexpr std::array<std::uint8_t, 256> values_of(std::string_view digits) noexcept {
  std::array<std::uint8_t, 256> values{};
  values.fill(no_digit);
  for (std::size_t i = 0; i < digits.size(); ++i) {
    values[static_cast<unsigned char>(digits[i])] = static_cast<std::uint8_t>(i);
  }
  return values;
}

/// Multiplies a little-endian number of limbs in base `base` by `factor` and adds `carry`.
inline void multiply_add(std::vector<std::uint32_t>& limbs, std::uint64_t base, std::uint64_t factor,
                         std::uint64_t carry) {
  for (auto& limb : limbs) {
    carry += limb * factor;
    limb = static_cast<std::uint32_t>(carry % base);
    carry /= base;
  }
  if (carry != 0) limbs.push_back(static_cast<std::uint32_t>(carry));
}

}  // namespace detail

/// The bytes as one big-endian number in base 58, a '1' for each leading zero byte.
[[nodiscard]] inline std::string base58_encode(BytesView bytes) {
  std::size_t zeros = 0;
  while (zeros < bytes.size() && bytes[zeros] == 0) ++zeros;
  std::vector<std::uint32_t> limbs;
  limbs.reserve(bytes.size() * 2 / 7 + 1);
  for (const std::uint8_t byte : bytes.subspan(zeros)) detail::multiply_add(limbs, detail::five_digits, 256, byte);

  std::string reversed;
  reversed.reserve(zeros + limbs.size() * 5);
  for (std::uint32_t limb : limbs) {
    for (int digit = 0; digit < 5; ++digit, limb /= 58) reversed.push_back(detail::base58_digits[limb % 58]);
  }
  while (!reversed.empty() && reversed.back() == '1') reversed.pop_back();  // the top limb is rarely full
  reversed.append(zeros, '1');
  return {reversed.rbegin(), reversed.rend()};
}

/// @return errc::limit_exceeded above `max_base58_text` characters, errc::malformed for a character outside the
/// alphabet.
[[nodiscard]] inline Result<Bytes> base58_decode(std::string_view text) {
  static constexpr auto values = detail::values_of(detail::base58_digits);
  if (text.size() > max_base58_text) return errc::limit_exceeded;
  std::size_t zeros = 0;
  while (zeros < text.size() && text[zeros] == '1') ++zeros;
  std::vector<std::uint32_t> limbs;
  limbs.reserve(text.size() / 5 + 1);
  std::uint64_t group = 0;  // up to five digits, which one pass over the limbs adds
  std::uint64_t factor = 1;
  for (std::size_t i = zeros; i < text.size(); ++i) {
    const std::uint8_t value = values[static_cast<unsigned char>(text[i])];
    if (value == detail::no_digit) return errc::malformed;
    group = group * 58 + value;
    factor *= 58;
    if (factor < detail::five_digits && i + 1 < text.size()) continue;
    detail::multiply_add(limbs, std::uint64_t{1} << 32, factor, group);
    group = 0;
    factor = 1;
  }

  Bytes reversed;
  reversed.reserve(zeros + limbs.size() * 4);
  for (std::uint32_t limb : limbs) {
    for (int byte = 0; byte < 4; ++byte, limb >>= 8) reversed.push_back(static_cast<std::uint8_t>(limb));
  }
  while (!reversed.empty() && reversed.back() == 0) reversed.pop_back();
  reversed.insert(reversed.end(), zeros, 0);
  return Bytes(reversed.rbegin(), reversed.rend());
}

}  // namespace skep::inline v0::codec
