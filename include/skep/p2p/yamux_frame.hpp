// The frames of yamux: a header of twelve bytes and the rules that need no session.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "skep/core/bytes.hpp"
#include "skep/core/endian.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/p2p/error.hpp"

namespace skep::inline v0::p2p::yamux {

inline constexpr std::size_t header_size = 12;
/// The window that every stream starts with, in both directions (yamux specification).
inline constexpr std::uint32_t initial_window = 256 * 1024;
/// Most payload bytes in a frame that we send: header, payload and cipher tag fill one Noise record of 65,535 bytes,
/// and no implementation refuses it (rust-yamux drops a connection above 1 MiB).
inline constexpr std::uint32_t max_sent_payload = 65535 - 16 - header_size;

enum class FrameType : std::uint8_t { data = 0, window_update = 1, ping = 2, go_away = 3 };

/// Flags of a frame, to be combined.
enum Flag : std::uint16_t { syn = 1, ack = 2, fin = 4, rst = 8 };

struct FrameHeader {
  FrameType type = FrameType::data;
  std::uint16_t flags = 0;
  std::uint32_t stream = 0;
  std::uint32_t length =
      0;  ///< data: payload bytes behind it; window update: credit; ping: its id; go-away: the reason

  [[nodiscard]] bool has(Flag flag) const noexcept { return (flags & flag) != 0; }

  [[nodiscard]] std::array<std::uint8_t, header_size> encode() const noexcept {
    std::array<std::uint8_t, header_size> out{};
    out[1] = static_cast<std::uint8_t>(type);
    store_be<std::uint16_t>(out.data() + 2, flags);
    store_be<std::uint32_t>(out.data() + 4, stream);
    store_be<std::uint32_t>(out.data() + 8, length);
    return out;
  }

  /// @param bytes  exactly `header_size` bytes
  /// @return errc::protocol_error for another version or an unknown type
  [[nodiscard]] static Result<FrameHeader> decode(BytesView bytes) noexcept {
    if (bytes.size() != header_size) return skep::errc::truncated;
    if (bytes[0] != 0 || bytes[1] > 3) return errc::protocol_error;
    return FrameHeader{.type = static_cast<FrameType>(bytes[1]),
                       .flags = load_be<std::uint16_t>(bytes.data() + 2),
                       .stream = load_be<std::uint32_t>(bytes.data() + 4),
                       .length = load_be<std::uint32_t>(bytes.data() + 8)};
  }

  friend bool operator==(const FrameHeader&, const FrameHeader&) = default;
};

}  // namespace skep::inline v0::p2p::yamux
