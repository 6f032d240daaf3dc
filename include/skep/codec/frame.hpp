// Length-prefixed frames, the framing of identify, peer routing and unary calls: a uvarint, then so many bytes.
#pragma once

#include <cstddef>

#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/core/varint.hpp"

namespace skep::inline v0::codec {

/// A frame at the front of a buffer.
struct Frame {
  BytesView body;        ///< inside the buffer
  std::size_t size = 0;  ///< of the whole frame, prefix included
};

inline void append_frame(Bytes& to, BytesView body) {
  append_varint(to, body.size());
  append(to, body);
}

/// The frame at the front of `bytes`.
/// @return errc::truncated when more bytes are needed; errc::limit_exceeded as soon as the prefix says more than
/// `limit`; errc::malformed for a bad prefix.
[[nodiscard]] inline Result<Frame> read_frame(BytesView bytes, std::size_t limit) noexcept {
  const auto length = read_varint(bytes);
  if (!length) return length.error();
  if (length->value > limit) return errc::limit_exceeded;
  if (bytes.size() - length->size < length->value) return errc::truncated;
  const auto body = bytes.subspan(length->size, static_cast<std::size_t>(length->value));
  return Frame{body, length->size + body.size()};
}

}  // namespace skep::inline v0::codec
