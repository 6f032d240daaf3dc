// The six messages of Hivemind's DHT (ping, store, find) and what they are made of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "skep/codec/auth_messages.hpp"
#include "skep/codec/protobuf.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"

namespace skep::inline v0::codec {

/// The most keys, values or results that one message may hold, before anything is allocated for them.
inline constexpr std::size_t max_dht_entries = 1 << 16;

/// Who speaks: a node id, or nothing for a client that wants no place in routing tables.
struct NodeInfo {
  Bytes node_id;  ///< big-endian number below 2^160; 20 bytes when skep writes it

  void write(MessageWriter& out) const { out.bytes_unless_default(1, node_id); }
  [[nodiscard]] Result<void> merge(BytesView bytes) {
    return read_fields(bytes, [this](FieldReader& field) -> Result<void> {
      if (field.tag_and_type() == bytes_field(1)) {
        node_id = bytes_of(field);
      } else {
        field.skip();
      }
      return {};
    });
  }
  friend bool operator==(const NodeInfo&, const NodeInfo&) = default;
};

struct PingRequest {
  std::optional<RequestAuthInfo> auth;
  NodeInfo peer;
  bool validate = false;  ///< asks the callee to call back, to prove that the caller can be reached

  [[nodiscard]] Bytes encode() const { return encode_message(*this); }
  void write(MessageWriter& out) const {
    write_optional(out, 1, auth);
    out.message(2, [this](MessageWriter& nested) { peer.write(nested); });
    out.varint_unless_default(3, validate);
  }
  [[nodiscard]] Result<void> merge(BytesView bytes) {
    return read_fields(bytes, [this](FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case bytes_field(1): return merge_optional(auth, view_of(field));
        case bytes_field(2): return peer.merge(view_of(field));
        case varint_field(3): validate = bool_of(field); return {};
        default: field.skip(); return {};
      }
    });
  }
  [[nodiscard]] static Result<PingRequest> decode(BytesView bytes) { return decode_message<PingRequest>(bytes); }
  friend bool operator==(const PingRequest&, const PingRequest&) = default;
};

struct PingResponse {
  std::optional<ResponseAuthInfo> auth;
  NodeInfo peer;
  double dht_time = 0;     ///< the callee's wall clock, Unix seconds; 0 tells nothing
  bool available = false;  ///< the callee's call back reached the caller

  [[nodiscard]] Bytes encode() const { return encode_message(*this); }
  void write(MessageWriter& out) const {
    write_optional(out, 1, auth);
    out.message(2, [this](MessageWriter& nested) { peer.write(nested); });
    out.real_unless_default(4, dht_time);
    out.varint_unless_default(5, available);
  }
  [[nodiscard]] Result<void> merge(BytesView bytes) {
    return read_fields(bytes, [this](FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case bytes_field(1): return merge_optional(auth, view_of(field));
        case bytes_field(2): return peer.merge(view_of(field));
        case real_field(4): dht_time = field.get_double(); return {};
        case varint_field(5): available = bool_of(field); return {};
        default: field.skip(); return {};
      }
    });
  }
  [[nodiscard]] static Result<PingResponse> decode(BytesView bytes) { return decode_message<PingResponse>(bytes); }
  friend bool operator==(const PingResponse&, const PingResponse&) = default;
};

/// Records to keep: entry i of every list belongs together.
struct StoreRequest {
  std::optional<RequestAuthInfo> auth;
  std::vector<Bytes> keys;     ///< DHTIDs
  std::vector<Bytes> subkeys;  ///< c0: regular value; empty: whole dictionary; else the MessagePack bytes of the subkey
  std::vector<Bytes> values;
  std::vector<double> expiration_times;  ///< Unix seconds
  Bools in_cache;                        ///< keep it in the cache table only
  NodeInfo peer;

  [[nodiscard]] Bytes encode() const { return encode_message(*this); }
  void write(MessageWriter& out) const {
    write_optional(out, 1, auth);
    for (const auto& key : keys) out.bytes(2, key);
    for (const auto& subkey : subkeys) out.bytes(3, subkey);
    for (const auto& value : values) out.bytes(4, value);
    out.packed_reals(5, expiration_times);
    out.packed_varints(6, in_cache);
    out.message(7, [this](MessageWriter& nested) { peer.write(nested); });
  }
  [[nodiscard]] Result<void> merge(BytesView bytes) {
    return read_fields(bytes, [this](FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case bytes_field(1): return merge_optional(auth, view_of(field));
        case bytes_field(2): return push_bounded(keys, max_dht_entries, bytes_of(field));
        case bytes_field(3): return push_bounded(subkeys, max_dht_entries, bytes_of(field));
        case bytes_field(4): return push_bounded(values, max_dht_entries, bytes_of(field));
        case bytes_field(5): return read_packed_reals(field, expiration_times, max_dht_entries);
        case real_field(5): return push_bounded(expiration_times, max_dht_entries, field.get_double());
        case bytes_field(6): return read_packed_bools(field, in_cache, max_dht_entries);
        case varint_field(6): return push_bounded(in_cache, max_dht_entries, bool_of(field));
        case bytes_field(7): return peer.merge(view_of(field));
        default: field.skip(); return {};
      }
    });
  }
  /// The lists may differ in length: what that means is the protocol's decision.
  [[nodiscard]] static Result<StoreRequest> decode(BytesView bytes) { return decode_message<StoreRequest>(bytes); }
  friend bool operator==(const StoreRequest&, const StoreRequest&) = default;
};

struct StoreResponse {
  std::optional<ResponseAuthInfo> auth;
  Bools store_ok;  ///< one for each entry of the request
  NodeInfo peer;

  [[nodiscard]] Bytes encode() const { return encode_message(*this); }
  void write(MessageWriter& out) const {
    write_optional(out, 1, auth);
    out.packed_varints(2, store_ok);
    out.message(3, [this](MessageWriter& nested) { peer.write(nested); });
  }
  [[nodiscard]] Result<void> merge(BytesView bytes) {
    return read_fields(bytes, [this](FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case bytes_field(1): return merge_optional(auth, view_of(field));
        case bytes_field(2): return read_packed_bools(field, store_ok, max_dht_entries);
        case varint_field(2): return push_bounded(store_ok, max_dht_entries, bool_of(field));
        case bytes_field(3): return peer.merge(view_of(field));
        default: field.skip(); return {};
      }
    });
  }
  [[nodiscard]] static Result<StoreResponse> decode(BytesView bytes) { return decode_message<StoreResponse>(bytes); }
  friend bool operator==(const StoreResponse&, const StoreResponse&) = default;
};

struct FindRequest {
  std::optional<RequestAuthInfo> auth;
  std::vector<Bytes> keys;  ///< DHTIDs
  NodeInfo peer;

  [[nodiscard]] Bytes encode() const { return encode_message(*this); }
  void write(MessageWriter& out) const {
    write_optional(out, 1, auth);
    for (const auto& key : keys) out.bytes(2, key);
    out.message(3, [this](MessageWriter& nested) { peer.write(nested); });
  }
  [[nodiscard]] Result<void> merge(BytesView bytes) {
    return read_fields(bytes, [this](FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case bytes_field(1): return merge_optional(auth, view_of(field));
        case bytes_field(2): return push_bounded(keys, max_dht_entries, bytes_of(field));
        case bytes_field(3): return peer.merge(view_of(field));
        default: field.skip(); return {};
      }
    });
  }
  [[nodiscard]] static Result<FindRequest> decode(BytesView bytes) { return decode_message<FindRequest>(bytes); }
  friend bool operator==(const FindRequest&, const FindRequest&) = default;
};

enum class FindResultType : std::uint8_t { not_found = 0, found_regular = 1, found_dictionary = 2 };

/// What one node knows about one key.
struct FindResult {
  static constexpr std::size_t max_nearest = 1024;  ///< ordinary answers hold at most 20

  FindResultType type = FindResultType::not_found;
  Bytes value;  ///< the record's bytes, or a serialized DictionaryDHTValue
  double expiration_time = 0;
  std::vector<Bytes> nearest_node_ids;  ///< nearest first
  std::vector<Bytes> nearest_peer_ids;  ///< multihashes; entry i belongs to node id i

  void write(MessageWriter& out) const {
    out.varint_unless_default(1, static_cast<std::uint64_t>(type));
    out.bytes_unless_default(2, value);
    out.real_unless_default(3, expiration_time);
    for (const auto& id : nearest_node_ids) out.bytes(4, id);
    for (const auto& id : nearest_peer_ids) out.bytes(5, id);
  }
  [[nodiscard]] Result<void> merge(BytesView bytes) {
    return read_fields(bytes, [this](FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case varint_field(1): {
          const std::uint64_t number = field.get_uint64();
          if (number > static_cast<std::uint64_t>(FindResultType::found_dictionary)) return errc::malformed;
          type = static_cast<FindResultType>(number);
          return {};
        }
        case bytes_field(2): value = bytes_of(field); return {};
        case real_field(3): expiration_time = field.get_double(); return {};
        case bytes_field(4): return push_bounded(nearest_node_ids, max_nearest, bytes_of(field));
        case bytes_field(5): return push_bounded(nearest_peer_ids, max_nearest, bytes_of(field));
        default: field.skip(); return {};
      }
    });
  }
  friend bool operator==(const FindResult&, const FindResult&) = default;
};

struct FindResponse {
  std::optional<ResponseAuthInfo> auth;
  std::vector<FindResult> results;  ///< one for each key of the request
  NodeInfo peer;

  [[nodiscard]] Bytes encode() const { return encode_message(*this); }
  void write(MessageWriter& out) const {
    write_optional(out, 1, auth);
    for (const auto& result : results) {
      out.message(2, [&](MessageWriter& nested) { result.write(nested); });
    }
    out.message(3, [this](MessageWriter& nested) { peer.write(nested); });
  }
  [[nodiscard]] Result<void> merge(BytesView bytes) {
    return read_fields(bytes, [this](FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case bytes_field(1): return merge_optional(auth, view_of(field));
        case bytes_field(2): {
          auto result = decode_message<FindResult>(view_of(field));
          if (!result) return result.error();
          return push_bounded(results, max_dht_entries, *std::move(result));
        }
        case bytes_field(3): return peer.merge(view_of(field));
        default: field.skip(); return {};
      }
    });
  }
  [[nodiscard]] static Result<FindResponse> decode(BytesView bytes) { return decode_message<FindResponse>(bytes); }
  friend bool operator==(const FindResponse&, const FindResponse&) = default;
};

}  // namespace skep::inline v0::codec
