// The messages of Kademlia peer routing (/ipfs/kad/1.0.0) and of signed peer records, which name peers by addresses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/codec/protobuf.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/core/varint.hpp"

namespace skep::inline v0::codec {

/// The kinds of kad messages; only `find_node` and `ping` matter to Hivemind. Other numbers are kept as they come.
enum class KadType : std::uint32_t {
  put_value = 0,
  get_value = 1,
  add_provider = 2,
  get_providers = 3,
  find_node = 4,
  ping = 5,
};

/// A peer and its addresses, as a kad answer names it.
struct KadPeer {
  static constexpr std::size_t max_addresses = 256;

  Bytes id;                      ///< the multihash
  std::vector<Bytes> addrs;      ///< binary multiaddrs without /p2p
  std::uint32_t connection = 0;  ///< 0 not connected, 1 connected, 2 can connect, 3 cannot connect

  void write(MessageWriter& out) const {
    out.bytes_unless_default(1, id);
    for (const auto& address : addrs) out.bytes(2, address);
    out.varint_unless_default(3, connection);
  }
  [[nodiscard]] Result<void> merge(BytesView bytes) {
    return read_fields(bytes, [this](FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case bytes_field(1): id = bytes_of(field); return {};
        case bytes_field(2): return push_bounded(addrs, max_addresses, bytes_of(field));
        case varint_field(3): connection = field.get_uint32(); return {};
        default: field.skip(); return {};
      }
    });
  }
  friend bool operator==(const KadPeer&, const KadPeer&) = default;
};

/// A request or an answer of peer routing (libp2p specs, kad-dht). Records and providers are not read.
struct KadMessage {
  static constexpr std::size_t max_size = 4 * 1024 * 1024;  ///< of the length prefix, on either side
  static constexpr std::size_t max_peers = 1024;            ///< ordinary answers hold at most 21

  KadType type = KadType::put_value;
  Bytes key;  ///< opaque: a peer id's multihash, or any other bytes
  std::vector<KadPeer> closer_peers;
  std::int32_t cluster_level = 0;  ///< "clusterLevelRaw": level + 1

  [[nodiscard]] Bytes encode() const { return encode_message(*this); }
  void write(MessageWriter& out) const {
    out.varint_unless_default(1, static_cast<std::uint64_t>(type));
    out.bytes_unless_default(2, key);
    for (const auto& peer : closer_peers) {
      out.message(8, [&](MessageWriter& nested) { peer.write(nested); });
    }
    out.varint_unless_default(10, static_cast<std::uint64_t>(std::int64_t{cluster_level}));
  }
  [[nodiscard]] Result<void> merge(BytesView bytes) {
    return read_fields(bytes, [this](FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case varint_field(1): type = static_cast<KadType>(field.get_uint32()); return {};
        case bytes_field(2): key = bytes_of(field); return {};
        case bytes_field(8): {
          auto peer = decode_message<KadPeer>(view_of(field));
          if (!peer) return peer.error();
          return push_bounded(closer_peers, max_peers, *std::move(peer));
        }
        case varint_field(10): cluster_level = field.get_int32(); return {};
        default: field.skip(); return {};
      }
    });
  }
  /// @return errc::malformed, errc::limit_exceeded
  [[nodiscard]] static Result<KadMessage> decode(BytesView bytes) { return decode_message<KadMessage>(bytes); }
  friend bool operator==(const KadMessage&, const KadMessage&) = default;
};

/// A signed statement (libp2p RFC 0002). The signature covers `signed_bytes`.
struct SignedEnvelope {
  Bytes public_key;  ///< a serialized PublicKey message
  Bytes payload_type;
  Bytes payload;
  Bytes signature;

  [[nodiscard]] Bytes encode() const { return encode_message(*this); }
  void write(MessageWriter& out) const {
    out.bytes_unless_default(1, public_key);
    out.bytes_unless_default(2, payload_type);
    out.bytes_unless_default(3, payload);
    out.bytes_unless_default(5, signature);
  }
  [[nodiscard]] Result<void> merge(BytesView bytes) {
    return read_fields(bytes, [this](FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case bytes_field(1): public_key = bytes_of(field); return {};
        case bytes_field(2): payload_type = bytes_of(field); return {};
        case bytes_field(3): payload = bytes_of(field); return {};
        case bytes_field(5): signature = bytes_of(field); return {};
        default: field.skip(); return {};
      }
    });
  }
  [[nodiscard]] static Result<SignedEnvelope> decode(BytesView bytes) { return decode_message<SignedEnvelope>(bytes); }

  /// What is signed: the domain, the type and the payload, each behind its length.
  /// @param domain  "libp2p-peer-record" for peer records
  [[nodiscard]] Bytes signed_bytes(std::string_view domain) const {
    Bytes out;
    for (const BytesView part : {as_bytes(domain), BytesView(payload_type), BytesView(payload)}) {
      append_varint(out, part.size());
      append(out, part);
    }
    return out;
  }
  friend bool operator==(const SignedEnvelope&, const SignedEnvelope&) = default;
};

/// The addresses of a peer as it signed them (libp2p RFC 0003), the payload of a SignedEnvelope.
struct PeerRecord {
  static constexpr std::string_view domain = "libp2p-peer-record";
  static constexpr std::uint8_t payload_type[2] = {0x03, 0x01};
  static constexpr std::size_t max_addresses = 256;

  Bytes peer_id;
  std::uint64_t sequence = 0;  ///< grows with each new record; Go uses Unix nanoseconds
  std::vector<Bytes> addrs;    ///< binary multiaddrs without /p2p

  [[nodiscard]] Bytes encode() const { return encode_message(*this); }
  void write(MessageWriter& out) const {
    out.bytes_unless_default(1, peer_id);
    out.varint_unless_default(2, sequence);
    for (const auto& address : addrs) {
      out.message(3, [&](MessageWriter& nested) { nested.bytes_unless_default(1, address); });
    }
  }
  [[nodiscard]] Result<void> merge(BytesView bytes) {
    return read_fields(bytes, [this](FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case bytes_field(1): peer_id = bytes_of(field); return {};
        case varint_field(2): sequence = field.get_uint64(); return {};
        case bytes_field(3): {
          Bytes address;
          const auto read = read_fields(view_of(field), [&](FieldReader& inner) -> Result<void> {
            if (inner.tag_and_type() == bytes_field(1)) {
              address = bytes_of(inner);
            } else {
              inner.skip();
            }
            return {};
          });
          if (!read) return read;
          return push_bounded(addrs, max_addresses, std::move(address));
        }
        default: field.skip(); return {};
      }
    });
  }
  [[nodiscard]] static Result<PeerRecord> decode(BytesView bytes) { return decode_message<PeerRecord>(bytes); }
  friend bool operator==(const PeerRecord&, const PeerRecord&) = default;
};

}  // namespace skep::inline v0::codec
