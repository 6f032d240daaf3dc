// Numbers in a fixed byte order: big-endian in libp2p framing and MessagePack, little-endian in Noise and tensors.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "skep/core/bytes.hpp"

namespace skep::inline v0 {

/// What has a byte order: integers and IEEE floats of 1, 2, 4 or 8 bytes.
template <class T>
concept Scalar = (std::integral<T> || std::floating_point<T>) &&
                 (sizeof(T) == 1 || sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8);

namespace detail {

template <std::size_t Size>
using unsigned_of_size = std::conditional_t<
    Size == 1, std::uint8_t,
    std::conditional_t<Size == 2, std::uint16_t, std::conditional_t<Size == 4, std::uint32_t, std::uint64_t>>>;

/// Reverses the bytes unless the machine already has them in the order that is asked for.
template <std::endian Order, std::unsigned_integral U>
[[nodiscard]] constexpr U in_order(U value) noexcept {
  static_assert(std::endian::native == std::endian::little || std::endian::native == std::endian::big);
  if constexpr (Order == std::endian::native || sizeof(U) == 1) {
    return value;
  } else if constexpr (sizeof(U) == 2) {
    return __builtin_bswap16(value);
  } else if constexpr (sizeof(U) == 4) {
    return __builtin_bswap32(value);
  } else {
    return __builtin_bswap64(value);
  }
}

template <std::endian Order, Scalar T>
[[nodiscard]] T load(const std::uint8_t* from) noexcept {
  unsigned_of_size<sizeof(T)> raw;
  std::memcpy(&raw, from, sizeof(raw));
  raw = in_order<Order>(raw);
  return std::bit_cast<T>(raw);
}

template <std::endian Order, Scalar T>
void store(std::uint8_t* to, T value) noexcept {
  const auto raw = in_order<Order>(std::bit_cast<unsigned_of_size<sizeof(T)>>(value));
  std::memcpy(to, &raw, sizeof(raw));
}

template <std::endian Order, Scalar T>
void append(Bytes& to, T value) {
  std::uint8_t raw[sizeof(T)];
  store<Order>(raw, value);
  to.insert(to.end(), raw, raw + sizeof(T));
}

}  // namespace detail

/// Reads sizeof(T) bytes, which need not be aligned; the caller has checked that they are there.
template <Scalar T>
[[nodiscard]] T load_be(const std::uint8_t* from) noexcept {
  return detail::load<std::endian::big, T>(from);
}
template <Scalar T>
[[nodiscard]] T load_le(const std::uint8_t* from) noexcept {
  return detail::load<std::endian::little, T>(from);
}

/// Writes sizeof(T) bytes, which need not be aligned.
template <Scalar T>
void store_be(std::uint8_t* to, T value) noexcept {
  detail::store<std::endian::big>(to, value);
}
template <Scalar T>
void store_le(std::uint8_t* to, T value) noexcept {
  detail::store<std::endian::little>(to, value);
}

/// Appends sizeof(T) bytes. Name the type: `append_be<std::uint16_t>(out, n)`.
template <Scalar T>
void append_be(Bytes& to, std::type_identity_t<T> value) {
  detail::append<std::endian::big, T>(to, value);
}
template <Scalar T>
void append_le(Bytes& to, std::type_identity_t<T> value) {
  detail::append<std::endian::little, T>(to, value);
}

}  // namespace skep::inline v0
