// The protobuf messages of libp2p: keys, the Noise payload, identify, Kademlia peer routing, signed peer records.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "skep/codec/protobuf.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"

namespace skep::inline v0::codec {

/// The kinds of identity keys (libp2p specs, peer-ids).
enum class KeyType : std::uint8_t { rsa = 0, ed25519 = 1, secp256k1 = 2, ecdsa = 3 };

/// PublicKey and PrivateKey. Both fields are required and always written, the type even when it is 0 (RSA): a peer id
/// is the hash of exactly these bytes.
template <class Tag>
struct KeyMessage {
  KeyType type = KeyType::ed25519;
  Bytes data;  ///< raw bytes or DER, by type (peer-ids)

  [[nodiscard]] Bytes encode() const { return encode_message(*this); }
  void write(MessageWriter& out) const {
    out.varint(1, static_cast<std::uint64_t>(type));
    out.bytes(2, data);
  }
  /// @return errc::malformed for an unknown type or a missing field.
  [[nodiscard]] static Result<KeyMessage> decode(BytesView bytes) {
    KeyMessage key;
    bool has_type = false;
    bool has_data = false;
    const auto read = read_fields(bytes, [&](FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case varint_field(1): {
          const std::uint64_t type = field.get_uint64();
          if (type > static_cast<std::uint64_t>(KeyType::ecdsa)) return errc::malformed;
          key.type = static_cast<KeyType>(type);
          has_type = true;
          return {};
        }
        case bytes_field(2):
          key.data = bytes_of(field);
          has_data = true;
          return {};
        default: field.skip(); return {};
      }
    });
    if (!read) return read.error();
    if (!has_type || !has_data) return errc::malformed;
    return key;
  }
  friend bool operator==(const KeyMessage&, const KeyMessage&) = default;
};
using PublicKeyMessage = KeyMessage<struct PublicKeyTag>;
using PrivateKeyMessage = KeyMessage<struct PrivateKeyTag>;

/// What each side proves inside the Noise handshake (libp2p specs, noise).
struct NoiseHandshakePayload {
  static constexpr std::size_t max_muxers = 100;  ///< a longer list counts as none

  Bytes identity_key;                      ///< a serialized PublicKey message
  Bytes identity_sig;                      ///< over "noise-libp2p-static-key:" and the Noise static public key
  std::vector<std::string> stream_muxers;  ///< extension; empty means that the muxer is negotiated by multistream

  [[nodiscard]] Bytes encode() const { return encode_message(*this); }
  void write(MessageWriter& out) const {
    out.bytes_unless_default(1, identity_key);
    out.bytes_unless_default(2, identity_sig);
    if (stream_muxers.empty()) return;
    out.message(4, [this](MessageWriter& extensions) {
      for (const auto& muxer : stream_muxers) extensions.text(2, muxer);
    });
  }
  [[nodiscard]] static Result<NoiseHandshakePayload> decode(BytesView bytes) {
    NoiseHandshakePayload payload;
    std::size_t muxers = 0;
    const auto read_extension = [&](FieldReader& field) -> Result<void> {
      if (field.tag_and_type() != bytes_field(2)) {
        field.skip();
      } else if (auto name = text_of(field); ++muxers <= max_muxers) {
        payload.stream_muxers.push_back(std::move(name));
      }
      return {};
    };
    const auto read = read_fields(bytes, [&](FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case bytes_field(1): payload.identity_key = bytes_of(field); return {};
        case bytes_field(2): payload.identity_sig = bytes_of(field); return {};
        case bytes_field(4): return read_fields(view_of(field), read_extension);
        default: field.skip(); return {};
      }
    });
    if (!read) return read.error();
    if (muxers > max_muxers) payload.stream_muxers.clear();
    return payload;
  }
  friend bool operator==(const NoiseHandshakePayload&, const NoiseHandshakePayload&) = default;
};

/// Identify (libp2p specs, identify). A peer may send it in several parts: `merge` them in order.
struct IdentifyMessage {
  static constexpr std::size_t max_protocols = 1024;
  static constexpr std::size_t max_addresses = 256;

  std::optional<Bytes> public_key;  ///< a serialized PublicKey message
  std::vector<Bytes> listen_addrs;  ///< binary multiaddrs without /p2p
  std::vector<std::string> protocols;
  std::optional<Bytes> observed_addr;  ///< the address of the reader, as the writer sees it
  std::optional<std::string> protocol_version;
  std::optional<std::string> agent_version;
  std::optional<Bytes> signed_peer_record;  ///< a SignedEnvelope

  [[nodiscard]] Bytes encode() const { return encode_message(*this); }
  void write(MessageWriter& out) const {
    if (public_key) out.bytes(1, *public_key);
    for (const auto& address : listen_addrs) out.bytes(2, address);
    for (const auto& protocol : protocols) out.text(3, protocol);
    if (observed_addr) out.bytes(4, *observed_addr);
    if (protocol_version) out.text(5, *protocol_version);
    if (agent_version) out.text(6, *agent_version);
    if (signed_peer_record) out.bytes(8, *signed_peer_record);
  }
  /// Adds the fields of one more part: single ones are replaced, lists grow. @return errc::limit_exceeded for a list
  /// that grows too long, errc::malformed; the message is then to be thrown away.
  [[nodiscard]] Result<void> merge(BytesView bytes) {
    return read_fields(bytes, [this](FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case bytes_field(1): public_key = bytes_of(field); return {};
        case bytes_field(2): return push_bounded(listen_addrs, max_addresses, bytes_of(field));
        case bytes_field(3): return push_bounded(protocols, max_protocols, text_of(field));
        case bytes_field(4): observed_addr = bytes_of(field); return {};
        case bytes_field(5): protocol_version = text_of(field); return {};
        case bytes_field(6): agent_version = text_of(field); return {};
        case bytes_field(8): signed_peer_record = bytes_of(field); return {};
        default: field.skip(); return {};
      }
    });
  }
  [[nodiscard]] static Result<IdentifyMessage> decode(BytesView bytes) {
    return decode_message<IdentifyMessage>(bytes);
  }
  friend bool operator==(const IdentifyMessage&, const IdentifyMessage&) = default;
};

}  // namespace skep::inline v0::codec
