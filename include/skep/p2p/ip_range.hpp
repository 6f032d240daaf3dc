// How far an IP address reaches: loopback, a private network, everywhere.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>

#include "skep/core/bytes.hpp"

// An address is 4 or 16 bytes in network order; anything else is in no range.
namespace skep::inline v0::p2p::detail {

/// IPv4 written as IPv6 (::ffff:a.b.c.d) counts as IPv4.
[[nodiscard]] inline BytesView unmapped(BytesView ip) noexcept {
  constexpr std::array<std::uint8_t, 12> mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return ip.size() == 16 && std::equal(mapped.begin(), mapped.end(), ip.begin()) ? ip.subspan(12) : ip;
}

/// Whether an address of `size` bytes begins with `bits` bits of `prefix`.
[[nodiscard]] inline bool is_within(BytesView ip, std::size_t size, std::initializer_list<std::uint8_t> prefix,
                                    unsigned bits) noexcept {
  ip = unmapped(ip);
  if (ip.size() != size) return false;
  for (std::size_t i = 0; const std::uint8_t expected : prefix) {
    const unsigned mask = bits >= 8 ? 0xffU : 0xffU << (8 - bits) & 0xffU;
    if (((ip[i] ^ expected) & mask) != 0) return false;
    bits -= std::min(bits, 8U);
    ++i;
  }
  return true;
}

[[nodiscard]] inline bool is_unspecified_ip(BytesView ip) noexcept {
  return (ip.size() == 4 || ip.size() == 16) && std::count(ip.begin(), ip.end(), 0) == std::ssize(ip);
}

[[nodiscard]] inline bool is_loopback_ip(BytesView ip) noexcept {
  if (ip.size() == 16 && ip.back() == 1 && std::count(ip.begin(), ip.end(), 0) == 15) return true;
  return is_within(ip, 4, {127}, 8);
}

/// Private use (RFC 1918, 4193), link-local (RFC 3927, 4291), shared behind a provider (RFC 6598).
[[nodiscard]] inline bool is_private_ip(BytesView ip) noexcept {
  return is_within(ip, 4, {10}, 8) || is_within(ip, 4, {172, 16}, 12) || is_within(ip, 4, {192, 168}, 16) ||
         is_within(ip, 4, {169, 254}, 16) || is_within(ip, 4, {100, 64}, 10) || is_within(ip, 16, {0xfc}, 7) ||
         is_within(ip, 16, {0xfe, 0x80}, 10);
}

}  // namespace skep::inline v0::p2p::detail
