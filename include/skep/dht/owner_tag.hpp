// Owner tags: the marks by which a subkey says who may write its value, and a value says that he did.
#pragma once

#include <compare>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "skep/codec/msgpack.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/key.hpp"

namespace skep::inline v0::dht {

/// The texts in all marks "[name:text]" among some bytes, from left to right, without overlap. A text has at least one
/// byte, ends at the first "]" after that, and holds no line end.
[[nodiscard]] inline std::vector<std::string_view> find_marks(BytesView bytes, std::string_view name) {
  const std::string head = "[" + std::string(name) + ":";
  const std::string_view all = as_text(bytes);
  std::vector<std::string_view> found;
  for (std::size_t at = all.find(head); at != std::string_view::npos; at = all.find(head, at)) {  // once over all bytes
    const std::size_t begin = at + head.size();
    const std::size_t end = all.find(']', begin + 1);
    if (end == std::string_view::npos) break;
    const auto text = all.substr(begin, end - begin);
    if (const std::size_t line_end = text.find('\n'); line_end != std::string_view::npos) {
      at = begin + line_end;  // what begins before it has no end before it either
      continue;
    }
    found.push_back(text);
    at = end + 1;
  }
  return found;
}

[[nodiscard]] inline std::string make_mark(std::string_view name, std::string_view text) {
  return "[" + std::string(name) + ":" + std::string(text) + "]";
}

/// What the owner of a record signs: MessagePack of the tuple (key, subkey, value, expiration), the first three bytes.
[[nodiscard]] inline Bytes bytes_to_sign(const DHTID& key, BytesView subkey, BytesView value, WallTime expiration) {
  return msgpack::encode(
      msgpack::Tuple{{to_bytes(key.bytes()), to_bytes(subkey), to_bytes(value), expiration.seconds}});
}

/// A binary subkey that names its owner, for schemas (Hivemind's BytesWithPublicKey).
struct BytesWithPublicKey {
  Bytes bytes;

  static std::optional<BytesWithPublicKey> from_value(const msgpack::Value& value) {
    const auto* raw = value.get_if<Bytes>();
    if (!raw || find_marks(*raw, "owner").empty()) return std::nullopt;
    return BytesWithPublicKey{*raw};
  }
  friend auto operator<=>(const BytesWithPublicKey&, const BytesWithPublicKey&) = default;
};

}  // namespace skep::inline v0::dht
