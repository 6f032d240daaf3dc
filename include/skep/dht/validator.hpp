// RecordValidator: who may write a record, decided by what the record itself says.
#pragma once

#include <concepts>
#include <utility>

#include "skep/core/bytes.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/key.hpp"

namespace skep::inline v0::dht {

/// A record as validators see it. Keys are hashes by then: only subkeys and values can say whose a record is.
struct RecordView {
  DHTID key;
  BytesView subkey;  ///< MessagePack; c0 (nil) for a regular value
  BytesView value;   ///< MessagePack and whatever `sign` appended
  WallTime expiration;
};

/// Decides on records and wraps their values. Called for every record that is to be stored here and that others send.
template <class V>
concept RecordValidator = requires(V& validator, const RecordView& record, Bytes value) {
  { validator.validate(record) } -> std::same_as<bool>;                  ///< may this record be kept, or believed?
  { validator.sign(record) } -> std::same_as<Bytes>;                     ///< the value as it is stored
  { validator.strip(record, std::move(value)) } -> std::same_as<Bytes>;  ///< the value as it was before `sign`
};

/// Everybody may write everything: Hivemind's default.
struct AcceptAll {
  [[nodiscard]] bool validate(const RecordView&) const noexcept { return true; }
  [[nodiscard]] Bytes sign(const RecordView& record) const { return to_bytes(record.value); }
  [[nodiscard]] Bytes strip(const RecordView&, Bytes value) const noexcept { return value; }
};
static_assert(RecordValidator<AcceptAll>);

}  // namespace skep::inline v0::dht
