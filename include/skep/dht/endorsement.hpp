// Endorsement: an owner's signed word about a record that cannot carry a signature itself.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "skep/codec/msgpack.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/options.hpp"
#include "skep/dht/validator.hpp"

namespace skep::inline v0::dht {

/// Where the endorsements of a key stand: beside it, as the dictionary of the tuple (key, "owners").
[[nodiscard]] inline msgpack::Value endorsements_of(msgpack::Value key) {
  return msgpack::Tuple{{std::move(key), "owners"}};
}

/// The item by which an owner says that `value` stands rightly under `key`. For expert declarations, whose form
/// Hivemind fixes (plain values, numbers as subkeys) and which anybody may write: `endorsement(uid, peer_id, tag,
/// expiration)` says that the expert is served by that peer. The node that stores it needs the validator whose
/// `owner_tag()` this is.
[[nodiscard]] inline StoreItem endorsement(msgpack::Value key, msgpack::Value value, std::string_view owner_tag,
                                           WallTime expiration) {
  return {endorsements_of(std::move(key)), std::move(value), expiration, msgpack::Value(to_bytes(owner_tag))};
}

/// Whether what is stored under an owner's tag is signed by this validator; otherwise nobody would believe it.
template <RecordValidator V>
[[nodiscard]] bool signs_for(V& validator, std::string_view owner_tag) {
  const Bytes subkey = msgpack::encode(msgpack::Value(to_bytes(owner_tag)));
  return !owner_tag.empty() && !validator.sign({.key = {}, .subkey = subkey, .value = {}, .expiration = {}}).empty();
}

/// What the owner of a tag endorsed, in what was found under `endorsements_of(key)`; null when he did not. To be
/// trusted only from a node with the validator for that tag: it has seen the signature.
[[nodiscard]] inline const msgpack::Value* endorsed_by(const Found& found, std::string_view owner_tag) noexcept {
  for (const auto& item : found.items) {
    const auto* subkey = item.subkey.get_if<Bytes>();
    if (subkey && as_text(*subkey) == owner_tag) return &item.value;
  }
  return nullptr;
}

}  // namespace skep::inline v0::dht
