// Writes MessagePack piece by piece in the smallest forms, as Hivemind's serializer does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string_view>

#include "skep/core/bytes.hpp"
#include "skep/core/endian.hpp"
#include "skep/core/error.hpp"

namespace skep::inline v0::codec::msgpack {

namespace detail {

/// Lead bytes of the forms with a length of 1, 2 and 4 bytes; 0 where there is no such form.
struct Leads {
  std::uint8_t one, two, four;
};

inline void append_sized(Bytes& to, Leads leads, std::size_t size) {
  if (size > std::numeric_limits<std::uint32_t>::max()) {
    throw Error(errc::limit_exceeded, "a MessagePack value is longer than 4 GiB; split it");
  }
  if (leads.one != 0 && size <= 0xff) {
    to.push_back(leads.one);
    to.push_back(static_cast<std::uint8_t>(size));
  } else if (size <= 0xffff) {
    to.push_back(leads.two);
    append_be<std::uint16_t>(to, static_cast<std::uint16_t>(size));
  } else {
    to.push_back(leads.four);
    append_be<std::uint32_t>(to, static_cast<std::uint32_t>(size));
  }
}

}  // namespace detail

inline void append_nil(Bytes& to) { to.push_back(0xc0); }
inline void append_boolean(Bytes& to, bool value) { to.push_back(value ? 0xc3 : 0xc2); }
/// Always as float64.
inline void append_real(Bytes& to, double value) {
  to.push_back(0xcb);
  append_be<double>(to, value);
}

inline void append_unsigned(Bytes& to, std::uint64_t value) {
  if (value < 0x80) {
    to.push_back(static_cast<std::uint8_t>(value));
  } else if (value <= 0xff) {
    to.push_back(0xcc);
    to.push_back(static_cast<std::uint8_t>(value));
  } else if (value <= 0xffff) {
    to.push_back(0xcd);
    append_be<std::uint16_t>(to, static_cast<std::uint16_t>(value));
  } else if (value <= 0xffffffff) {
    to.push_back(0xce);
    append_be<std::uint32_t>(to, static_cast<std::uint32_t>(value));
  } else {
    to.push_back(0xcf);
    append_be<std::uint64_t>(to, value);
  }
}

inline void append_integer(Bytes& to, std::int64_t value) {
  if (value >= 0) {
    append_unsigned(to, static_cast<std::uint64_t>(value));
  } else if (value >= -0x20) {
    to.push_back(static_cast<std::uint8_t>(value));
  } else if (value >= std::numeric_limits<std::int8_t>::min()) {
    to.push_back(0xd0);
    to.push_back(static_cast<std::uint8_t>(value));
  } else if (value >= std::numeric_limits<std::int16_t>::min()) {
    to.push_back(0xd1);
    append_be<std::int16_t>(to, static_cast<std::int16_t>(value));
  } else if (value >= std::numeric_limits<std::int32_t>::min()) {
    to.push_back(0xd2);
    append_be<std::int32_t>(to, static_cast<std::int32_t>(value));
  } else {
    to.push_back(0xd3);
    append_be<std::int64_t>(to, value);
  }
}

inline void append_text(Bytes& to, std::string_view text) {
  if (text.size() < 0x20) {
    to.push_back(static_cast<std::uint8_t>(0xa0 | text.size()));
  } else {
    detail::append_sized(to, {0xd9, 0xda, 0xdb}, text.size());
  }
  append(to, as_bytes(text));
}

inline void append_binary(Bytes& to, BytesView bytes) {
  detail::append_sized(to, {0xc4, 0xc5, 0xc6}, bytes.size());
  append(to, bytes);
}

/// `count` values follow.
inline void append_array_head(Bytes& to, std::size_t count) {
  if (count < 0x10) {
    to.push_back(static_cast<std::uint8_t>(0x90 | count));
  } else {
    detail::append_sized(to, {0, 0xdc, 0xdd}, count);
  }
}

/// `count` pairs of values follow; Hivemind reads only text and binary keys.
inline void append_map_head(Bytes& to, std::size_t count) {
  if (count < 0x10) {
    to.push_back(static_cast<std::uint8_t>(0x80 | count));
  } else {
    detail::append_sized(to, {0, 0xde, 0xdf}, count);
  }
}

/// `size` bytes of data follow.
inline void append_extension_head(Bytes& to, std::int8_t type, std::size_t size) {
  switch (size) {
    case 1: to.push_back(0xd4); break;
    case 2: to.push_back(0xd5); break;
    case 4: to.push_back(0xd6); break;
    case 8: to.push_back(0xd7); break;
    case 16: to.push_back(0xd8); break;
    default: detail::append_sized(to, {0xc7, 0xc8, 0xc9}, size); break;
  }
  to.push_back(static_cast<std::uint8_t>(type));
}
inline void append_extension(Bytes& to, std::int8_t type, BytesView data) {
  append_extension_head(to, type, data.size());
  append(to, data);
}

}  // namespace skep::inline v0::codec::msgpack
