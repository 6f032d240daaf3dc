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

/// What a validator that only looks at records inherits: values stay as they are.
struct LeavesValues {
  [[nodiscard]] Bytes sign(const RecordView& record) const { return to_bytes(record.value); }
  [[nodiscard]] Bytes strip(const RecordView&, Bytes value) const noexcept { return value; }
};

/// A validator may have a place among others: `static constexpr int priority` says how late it signs, and so how early
/// it validates and strips.
template <class V>
inline constexpr int validator_priority = 0;
template <class V>
  requires requires { V::priority; }
inline constexpr int validator_priority<V> = V::priority;

/// A validator may also look at keys before they are hashed, when this node stores: `check_key(MessagePack of the key)`
/// throws for one that does not do what its user thinks.
template <class V>
void check_key(const V& validator, BytesView key) {
  if constexpr (requires { validator.check_key(key); }) validator.check_key(key);
}

/// Everybody may write everything: Hivemind's default.
struct AcceptAll : LeavesValues {
  [[nodiscard]] bool validate(const RecordView&) const noexcept { return true; }
};
static_assert(RecordValidator<AcceptAll>);

}  // namespace skep::inline v0::dht
