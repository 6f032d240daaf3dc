// The protocols a multiaddr is made of: their codes, and how a value is read from text and written again.
#pragma once

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "skep/codec/base32.hpp"
#include "skep/codec/base58.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/endian.hpp"
#include "skep/core/error.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::p2p {

/// The codes of the multiaddr table (multiformats) that skep knows.
enum class MultiaddrCode : std::uint16_t {
  ip4 = 4,
  tcp = 6,
  ip6 = 41,
  ip6zone = 42,
  dns = 53,
  dns4 = 54,
  dns6 = 55,
  dnsaddr = 56,
  udp = 273,
  p2p_circuit = 290,
  unix_path = 400,
  p2p = 421,
  tls = 448,
  noise = 454,
  quic = 460,
  quic_v1 = 461,
  webtransport = 465,
  certhash = 466,
  ws = 477,
  wss = 478,
};

}  // namespace skep::inline v0::p2p

namespace skep::inline v0::p2p::detail {

/// What the value of a protocol is.
enum class MultiaddrValue : std::uint8_t { none, ip4, ip6, port, name, path, peer, multibase };

struct MultiaddrProtocol {
  MultiaddrCode code;
  MultiaddrValue value;
  std::string_view name;
};

inline constexpr std::array<MultiaddrProtocol, 20> multiaddr_protocols{{
    {MultiaddrCode::ip4, MultiaddrValue::ip4, "ip4"},
    {MultiaddrCode::tcp, MultiaddrValue::port, "tcp"},
    {MultiaddrCode::ip6, MultiaddrValue::ip6, "ip6"},
    {MultiaddrCode::ip6zone, MultiaddrValue::name, "ip6zone"},
    {MultiaddrCode::dns, MultiaddrValue::name, "dns"},
    {MultiaddrCode::dns4, MultiaddrValue::name, "dns4"},
    {MultiaddrCode::dns6, MultiaddrValue::name, "dns6"},
    {MultiaddrCode::dnsaddr, MultiaddrValue::name, "dnsaddr"},
    {MultiaddrCode::udp, MultiaddrValue::port, "udp"},
    {MultiaddrCode::p2p_circuit, MultiaddrValue::none, "p2p-circuit"},
    {MultiaddrCode::unix_path, MultiaddrValue::path, "unix"},
    {MultiaddrCode::p2p, MultiaddrValue::peer, "p2p"},
    {MultiaddrCode::tls, MultiaddrValue::none, "tls"},
    {MultiaddrCode::noise, MultiaddrValue::none, "noise"},
    {MultiaddrCode::quic, MultiaddrValue::none, "quic"},
    {MultiaddrCode::quic_v1, MultiaddrValue::none, "quic-v1"},
    {MultiaddrCode::webtransport, MultiaddrValue::none, "webtransport"},
    {MultiaddrCode::certhash, MultiaddrValue::multibase, "certhash"},
    {MultiaddrCode::ws, MultiaddrValue::none, "ws"},
    {MultiaddrCode::wss, MultiaddrValue::none, "wss"},
}};

[[nodiscard]] inline const MultiaddrProtocol* find_protocol(std::uint64_t code) noexcept {
  for (const auto& protocol : multiaddr_protocols) {
    if (static_cast<std::uint64_t>(protocol.code) == code) return &protocol;
  }
  return nullptr;
}
[[nodiscard]] inline const MultiaddrProtocol* find_protocol(std::string_view name) noexcept {
  if (name == "ipfs") name = "p2p";
  for (const auto& protocol : multiaddr_protocols) {
    if (protocol.name == name) return &protocol;
  }
  return nullptr;
}

/// The size of a value that needs no length before it.
[[nodiscard]] constexpr std::optional<std::size_t> fixed_size(MultiaddrValue value) noexcept {
  switch (value) {
    case MultiaddrValue::none: return 0;
    case MultiaddrValue::ip4: return 4;
    case MultiaddrValue::ip6: return 16;
    case MultiaddrValue::port: return 2;
    default: return std::nullopt;
  }
}

/// Names stand between slashes in the text, paths at its end: neither may break it, or a terminal.
[[nodiscard]] inline bool is_plain(std::string_view text, bool with_slashes) noexcept {
  return !text.empty() && std::all_of(text.begin(), text.end(), [with_slashes](char c) {
    return static_cast<unsigned char>(c) > 0x20 && c != 0x7f && (with_slashes || c != '/');
  });
}

/// Whether bytes of the right size are a value.
[[nodiscard]] inline bool is_valid_value(MultiaddrValue kind, BytesView value) {
  switch (kind) {
    case MultiaddrValue::name: return is_plain(as_text(value), false);
    case MultiaddrValue::path: return is_plain(as_text(value), true);
    case MultiaddrValue::peer: return PeerId::from_bytes(value).has_value();
    case MultiaddrValue::multibase: return !value.empty();
    default: return true;
  }
}

/// What a value is called when it is wrong: `"1.2.3" is not an IPv4 address`.
[[nodiscard]] constexpr std::string_view describe(MultiaddrValue kind) noexcept {
  switch (kind) {
    case MultiaddrValue::ip4: return "an IPv4 address";
    case MultiaddrValue::ip6: return "an IPv6 address";
    case MultiaddrValue::port: return "a port";
    case MultiaddrValue::name: return "a name";
    case MultiaddrValue::path: return "a path";
    case MultiaddrValue::peer: return "a peer id";
    case MultiaddrValue::multibase: return "bytes in multibase";
    case MultiaddrValue::none: break;
  }
  return "a value";
}

[[nodiscard]] inline std::optional<Bytes> read_ip(int family, std::size_t size, std::string_view text) {
  Bytes bytes(size);
  if (inet_pton(family, std::string(text).c_str(), bytes.data()) != 1) return std::nullopt;
  return bytes;
}

/// The bytes of a value from its text, none if it is wrong.
[[nodiscard]] inline std::optional<Bytes> read_value(MultiaddrValue kind, std::string_view text) {
  switch (kind) {
    case MultiaddrValue::ip4: return read_ip(AF_INET, 4, text);
    case MultiaddrValue::ip6: return read_ip(AF_INET6, 16, text);
    case MultiaddrValue::port: {
      std::uint16_t port = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
      if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
      Bytes bytes;
      append_be<std::uint16_t>(bytes, port);
      return bytes;
    }
    case MultiaddrValue::name:
    case MultiaddrValue::path:
      if (!is_valid_value(kind, as_bytes(text))) return std::nullopt;
      return to_bytes(text);
    case MultiaddrValue::peer: {
      const auto id = PeerId::from_text(text);
      if (!id) return std::nullopt;
      return to_bytes(id->bytes());
    }
    case MultiaddrValue::multibase: {
      Result<Bytes> bytes = skep::errc::malformed;
      if (text.starts_with('b')) bytes = codec::base32_decode(text.substr(1));
      if (text.starts_with('z')) bytes = codec::base58_decode(text.substr(1));
      if (!bytes || bytes->empty()) return std::nullopt;
      return *std::move(bytes);
    }
    case MultiaddrValue::none: break;
  }
  return std::nullopt;
}

/// The text of a valid value.
[[nodiscard]] inline std::string write_value(MultiaddrValue kind, BytesView value) {
  switch (kind) {
    case MultiaddrValue::ip4:
    case MultiaddrValue::ip6: {
      std::array<char, INET6_ADDRSTRLEN> text{};
      inet_ntop(kind == MultiaddrValue::ip4 ? AF_INET : AF_INET6, value.data(), text.data(), text.size());
      return text.data();
    }
    case MultiaddrValue::port: return std::to_string(load_be<std::uint16_t>(value.data()));
    case MultiaddrValue::name:
    case MultiaddrValue::path: return std::string(as_text(value));
    case MultiaddrValue::peer: return codec::base58_encode(value);
    case MultiaddrValue::multibase: return "b" + codec::base32_encode(value);
    case MultiaddrValue::none: break;
  }
  return {};
}

}  // namespace skep::inline v0::p2p::detail
