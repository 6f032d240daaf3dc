// Multiaddr: where a peer can be reached, as a path of protocols: "/ip4/192.0.2.5/tcp/31337/p2p/12D3KooW...".
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/core/varint.hpp"
#include "skep/p2p/ip_range.hpp"
#include "skep/p2p/multiaddr_protocol.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::p2p {

/// A host and a port to connect to. `host` is what a resolver takes: an address ("::1", "fe80::1%eth0") or a name.
struct TcpEndpoint {
  MultiaddrCode kind = MultiaddrCode::ip4;  ///< ip4, ip6, dns (any family), dns4 or dns6
  std::string host;
  std::uint16_t port = 0;

  [[nodiscard]] bool is_name() const noexcept { return kind != MultiaddrCode::ip4 && kind != MultiaddrCode::ip6; }
  friend bool operator==(const TcpEndpoint&, const TcpEndpoint&) = default;
};

/// An address (multiformats, multiaddr), always well-formed, kept in its binary form. A value; the empty one means
/// "nowhere". What skep does not know as a protocol it refuses: foreign addresses that cannot be read are left out.
class Multiaddr {
 public:
  static constexpr std::size_t max_size = 1024;  ///< of the binary form; of a text in characters

  Multiaddr() = default;

  /// Reads the text form. `/ipfs/` means `/p2p/`, slashes at the end are ignored.
  /// @param reason  receives what is wrong: `"1.2.3" is not an IPv4 address`
  [[nodiscard]] static Result<Multiaddr> from_text(std::string_view text, std::string* reason = nullptr);
  /// The same for what a user wrote.
  /// @throws Error `"/ip4/1.2.3/tcp/80" is not a multiaddress: "1.2.3" is not an IPv4 address`
  [[nodiscard]] static Multiaddr parse(std::string_view text) {
    std::string reason;
    auto address = from_text(text, &reason);
    if (!address) throw Error(address.error(), '"' + printable(text) + "\" is not a multiaddress: " + reason);
    return *std::move(address);
  }
  /// Reads the binary form, as messages carry it. @return errc::malformed, errc::limit_exceeded
  [[nodiscard]] static Result<Multiaddr> from_bytes(BytesView bytes);
  /// `/ip4/<ip>/tcp/<port>`, or `/ip6/...`, which may have a zone: "fe80::1%eth0".
  /// @return errc::malformed when `ip` is not an IP address.
  [[nodiscard]] static Result<Multiaddr> from_tcp(std::string_view ip, std::uint16_t port);

  [[nodiscard]] BytesView bytes() const noexcept { return as_bytes(bytes_); }
  [[nodiscard]] std::string to_string() const;
  [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }

  /// The peer at the end of the path, if it names one.
  [[nodiscard]] std::optional<PeerId> peer_id() const {
    const auto last = last_part();
    if (!last || last->protocol->code != MultiaddrCode::p2p) return std::nullopt;
    return *PeerId::from_bytes(last->value);
  }
  [[nodiscard]] Multiaddr with_peer(const PeerId& peer) const {
    Multiaddr address = without_peer();
    address.add(*detail::find_protocol(static_cast<std::uint64_t>(MultiaddrCode::p2p)), peer.bytes());
    return address;
  }
  [[nodiscard]] Multiaddr without_peer() const {
    Multiaddr address = *this;
    const auto last = last_part();
    if (last && last->protocol->code == MultiaddrCode::p2p) address.bytes_.resize(last->offset);
    return address;
  }

  /// Host and port of an address that is plain TCP (with or without a peer at its end); none for relays, WebSocket,
  /// QUIC, `/dnsaddr` and the rest.
  [[nodiscard]] std::optional<TcpEndpoint> tcp() const;

  /// A loopback IP address, or the name "localhost".
  [[nodiscard]] bool is_loopback() const {
    if (detail::is_loopback_ip(ip())) return true;
    const auto endpoint = tcp();
    return endpoint && endpoint->is_name() && endpoint->host == "localhost";
  }
  /// An IP address that only means something nearby: private use, link-local, shared behind a provider.
  [[nodiscard]] bool is_private() const { return detail::is_private_ip(ip()); }
  /// 0.0.0.0 or ::, an address to listen on but not to reach.
  [[nodiscard]] bool is_unspecified() const { return detail::is_unspecified_ip(ip()); }

  friend auto operator<=>(const Multiaddr&, const Multiaddr&) = default;

 private:
  /// One protocol of the path with its value.
  struct Part {
    const detail::MultiaddrProtocol* protocol = nullptr;
    BytesView value;
    std::size_t offset = 0;  // where it begins
    std::size_t size = 0;    // with code and length
  };
  /// The part at the front of `bytes`; null if there is none that skep knows.
  [[nodiscard]] static Part read_part(BytesView bytes, std::size_t offset);
  [[nodiscard]] Part part_at(std::size_t offset) const { return read_part(bytes().subspan(offset), offset); }
  [[nodiscard]] std::optional<Part> last_part() const;
  /// The IP address at the front, behind a zone; none for names.
  [[nodiscard]] BytesView ip() const;

  void add(const detail::MultiaddrProtocol& protocol, BytesView value);

  std::string bytes_;

  friend struct std::hash<Multiaddr>;
};

inline Multiaddr::Part Multiaddr::read_part(BytesView bytes, std::size_t offset) {
  const auto code = read_varint(bytes);
  if (!code) return {};
  const auto* protocol = detail::find_protocol(code->value);
  if (!protocol) return {};
  std::size_t begin = code->size;
  std::uint64_t size = 0;
  if (const auto fixed = detail::fixed_size(protocol->value)) {
    size = *fixed;
  } else {
    const auto length = read_varint(bytes.subspan(begin));
    if (!length) return {};
    begin += length->size;
    size = length->value;
  }
  if (size > bytes.size() - begin) return {};
  const BytesView value = bytes.subspan(begin, static_cast<std::size_t>(size));
  return {protocol, value, offset, begin + value.size()};
}

inline std::optional<Multiaddr::Part> Multiaddr::last_part() const {
  std::optional<Part> last;
  for (std::size_t at = 0; at < bytes_.size(); at += last->size) last = part_at(at);
  return last;
}

inline void Multiaddr::add(const detail::MultiaddrProtocol& protocol, BytesView value) {
  Bytes part;
  append_varint(part, static_cast<std::uint64_t>(protocol.code));
  if (!detail::fixed_size(protocol.value)) append_varint(part, value.size());
  append(part, value);
  bytes_ += as_text(part);
}

inline Result<Multiaddr> Multiaddr::from_bytes(BytesView bytes) {
  if (bytes.size() > max_size) return skep::errc::limit_exceeded;
  if (bytes.empty()) return skep::errc::malformed;
  for (std::size_t at = 0; at < bytes.size();) {
    const Part part = read_part(bytes.subspan(at), at);
    if (!part.protocol || !detail::is_valid_value(part.protocol->value, part.value)) return skep::errc::malformed;
    at += part.size;
  }
  Multiaddr address;
  address.bytes_ = as_text(bytes);
  return address;
}

inline Result<Multiaddr> Multiaddr::from_text(std::string_view text, std::string* reason) {
  const auto fail = [reason](std::string why, skep::errc code = skep::errc::malformed) {
    if (reason) *reason = std::move(why);
    return Result<Multiaddr>(code);
  };
  const auto quoted = [](std::string_view part) { return '"' + printable(part, 64) + '"'; };
  if (text.size() > max_size) return fail("it is longer than 1024 characters", skep::errc::limit_exceeded);
  if (!text.starts_with('/')) return fail("it does not begin with \"/\"");
  while (text.ends_with('/')) text.remove_suffix(1);
  if (text.empty()) return fail("it is empty");

  const auto next = [&text] {  // the text up to the next slash; takes it away with the slash before it
    text.remove_prefix(1);
    const std::string_view part = text.substr(0, text.find('/'));
    text.remove_prefix(part.size());
    return part;
  };
  Multiaddr address;
  while (!text.empty()) {
    const std::string_view name = next();
    const auto* protocol = detail::find_protocol(name);
    if (!protocol) return fail(quoted(name) + " is not a protocol that skep knows");
    Bytes value;
    if (protocol->value != detail::MultiaddrValue::none) {
      if (text.empty()) return fail(quoted(name) + " is followed by nothing");
      const std::string_view written =
          protocol->value == detail::MultiaddrValue::path ? std::exchange(text, {}) : next();
      auto read = detail::read_value(protocol->value, written);
      if (!read) return fail(quoted(written) + " is not " + std::string(detail::describe(protocol->value)));
      value = *std::move(read);
    }
    address.add(*protocol, value);
  }
  return address;
}

inline Result<Multiaddr> Multiaddr::from_tcp(std::string_view ip, std::uint16_t port) {
  if (ip.find('/') != std::string_view::npos) return skep::errc::malformed;
  std::string text = ip.find(':') == std::string_view::npos ? "/ip4/" : "/ip6/";
  if (const auto zone = ip.find('%'); zone != std::string_view::npos) {
    text = "/ip6zone/" + std::string(ip.substr(zone + 1)) + text;
    ip = ip.substr(0, zone);
  }
  return from_text(text.append(ip).append("/tcp/").append(std::to_string(port)));
}

inline std::string Multiaddr::to_string() const {
  std::string text;
  for (std::size_t at = 0; at < bytes_.size();) {
    const Part part = part_at(at);
    text.append("/").append(part.protocol->name);
    const std::string value = detail::write_value(part.protocol->value, part.value);
    if (!value.empty() && !value.starts_with('/')) text += '/';
    text += value;
    at += part.size;
  }
  return text;
}

inline std::optional<TcpEndpoint> Multiaddr::tcp() const {
  const Multiaddr bare = without_peer();
  const BytesView all = bare.bytes();
  std::size_t at = 0;
  std::string zone;
  Part host = read_part(all, 0);
  if (host.protocol && host.protocol->code == MultiaddrCode::ip6zone) {
    zone = '%' + std::string(as_text(host.value));
    at += host.size;
    host = read_part(all.subspan(at), at);
  }
  if (!host.protocol) return std::nullopt;
  switch (host.protocol->code) {
    case MultiaddrCode::ip6: break;
    case MultiaddrCode::ip4:
    case MultiaddrCode::dns:
    case MultiaddrCode::dns4:
    case MultiaddrCode::dns6:
      if (zone.empty()) break;
      return std::nullopt;
    default: return std::nullopt;
  }
  at += host.size;
  const Part port = read_part(all.subspan(at), at);
  if (!port.protocol || port.protocol->code != MultiaddrCode::tcp || at + port.size != all.size()) return std::nullopt;
  return TcpEndpoint{host.protocol->code, detail::write_value(host.protocol->value, host.value) + zone,
                     load_be<std::uint16_t>(port.value.data())};
}

inline BytesView Multiaddr::ip() const {
  Part part = part_at(0);
  if (part.protocol && part.protocol->code == MultiaddrCode::ip6zone) part = part_at(part.size);
  const bool found =
      part.protocol && (part.protocol->code == MultiaddrCode::ip4 || part.protocol->code == MultiaddrCode::ip6);
  return found ? part.value : BytesView();
}

}  // namespace skep::inline v0::p2p

template <>
struct std::hash<skep::p2p::Multiaddr> {
  std::size_t operator()(const skep::p2p::Multiaddr& address) const noexcept {
    return std::hash<std::string>{}(address.bytes_);
  }
};
