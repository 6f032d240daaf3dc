// Declaring experts in the DHT so that others find them, and looking up who serves an expert.
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/codec/msgpack.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/endorsement.hpp"
#include "skep/dht/key.hpp"
#include "skep/dht/options.hpp"
#include "skep/moe/uid.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::moe {

/// What declaring and finding need of a DHT: a `dht::Node` over any network.
template <class N>
concept ExpertDirectory = requires(N& node, std::vector<dht::StoreItem> items, std::vector<std::string> keys,
                                   dht::StoreOptions storing, dht::GetOptions reading) {
  { node.peer_id() } -> std::convertible_to<p2p::PeerId>;
  { node.store_many(std::move(items), storing) } -> std::same_as<awaitable<std::vector<dht::StoreResult>>>;
  { node.get_many(std::move(keys), reading) } -> std::same_as<awaitable<std::vector<std::optional<dht::Found>>>>;
};

/// One record of a declaration and what became of it.
struct DeclaredRecord {
  std::string key;                       ///< a uid or a prefix
  std::optional<Coordinate> coordinate;  ///< the place in the prefix's dictionary
  dht::StoreResult stored;
  std::optional<ExpertInfo> other = {};  ///< what stands there instead and lives longer, where it was rejected
  bool own = false;                      ///< `other` is this server itself: an earlier declaration that lives longer
  bool endorsement = false;              ///< it is the owner's signed word about the uid

  /// Whether a search finds the expert, or another below the same prefix, by this record.
  [[nodiscard]] bool visible() const noexcept { return stored || (other && (coordinate || own)); }
};

namespace detail {

/// The error for a uid that breaks the rules.
[[nodiscard]] inline Error invalid_uid(const std::string& uid) {
  return {
      errc::invalid_argument,
      "\"" + printable(uid) +
          "\" is not an expert uid: a name without dots, then one or more coordinates, as in \"ffn.3\" or \"ffn.3.5\""};
}

/// The value under a prefix's coordinate; Hivemind takes a tuple only.
[[nodiscard]] inline codec::msgpack::Value endpoint_value(const ExpertInfo& expert) {
  return codec::msgpack::Tuple{{expert.uid, expert.peer_id.to_string()}};
}
/// A peer id and the text that it was read from.
struct PeerText {
  std::string text;
  p2p::PeerId id;
};
/// Reads it back. @return nullopt for anything else than a tuple of a valid uid and a peer id in base58
/// @param last  the peer of the entry before: experts of one server stand together, and its id is read once
[[nodiscard]] inline std::optional<ExpertInfo> endpoint_of_value(const codec::msgpack::Value& value,
                                                                 PeerText* last = nullptr) {
  const auto* tuple = value.get_if<codec::msgpack::Tuple>();
  if (!tuple || tuple->items.size() != 2) return std::nullopt;
  const auto* uid = tuple->items[0].get_if<std::string>();
  const auto* peer = tuple->items[1].get_if<std::string>();
  if (!uid || !peer || !is_valid_uid(*uid)) return std::nullopt;
  if (last && last->text == *peer) return ExpertInfo{*uid, last->id};
  auto id = p2p::PeerId::from_text(*peer);
  if (!id) return std::nullopt;
  if (last) *last = {*peer, *id};
  return ExpertInfo{*uid, *std::move(id)};
}

}  // namespace detail

/// The records that make experts visible (wire format of Hivemind 1.1, records of a Server): for each uid the peer id
/// under the uid itself, and under each of its prefixes the pair (uid, peer id) at the next coordinate. Where several
/// experts share a prefix's coordinate, the last stands there as the example. Behind these, for an owner, his
/// endorsement of each uid's peer.
/// Throws errc::invalid_argument for a uid that breaks the rules.
[[nodiscard]] inline std::vector<dht::StoreItem> expert_records(const std::vector<std::string>& uids,
                                                                const p2p::PeerId& peer, WallTime expiration,
                                                                std::string_view owner_tag = {}) {
  std::vector<dht::StoreItem> records;
  std::map<PrefixEntry, std::size_t> examples;
  for (const std::string& uid : uids) {
    auto entries = prefix_entries(uid);
    if (!entries) throw detail::invalid_uid(uid);
    records.push_back({uid, peer.to_string(), expiration});
    for (PrefixEntry& entry : *entries) {
      const auto [place, fresh] = examples.emplace(entry, records.size());
      if (fresh) {
        records.push_back({std::move(entry.prefix), detail::endpoint_value({uid, peer}), expiration, entry.coordinate});
      } else {
        records[place->second].value = detail::endpoint_value({uid, peer});
      }
    }
  }
  if (owner_tag.empty()) return records;
  for (const std::string& uid : uids) {
    records.push_back(dht::endorsement(uid, peer.to_string(), owner_tag, expiration));
  }
  return records;
}

namespace detail {

/// The entry that stands at a record's place, or null; found under the record's key.
struct StandingEntry {
  const codec::msgpack::Value* value;
  WallTime expiration;
};
[[nodiscard]] inline std::optional<StandingEntry> standing_entry(const std::optional<dht::Found>& found,
                                                                 const std::optional<Coordinate>& coordinate) {
  if (!found || found->is_dictionary != coordinate.has_value()) return std::nullopt;
  if (!coordinate) return StandingEntry{&found->value, found->expiration};
  const dht::FoundItem* item = found->find(*coordinate);
  if (item == nullptr) return std::nullopt;
  return StandingEntry{&item->value, item->expiration};
}
/// The expert that an entry tells of; nullopt for one that says there is none, and for what nobody understands.
[[nodiscard]] inline std::optional<ExpertInfo> expert_of_entry(const std::string& key,
                                                               const std::optional<Coordinate>& coordinate,
                                                               const codec::msgpack::Value& value) {
  if (coordinate) return endpoint_of_value(value);
  const auto* peer = value.get_if<std::string>();
  auto id = peer ? p2p::PeerId::from_text(*peer) : Result<p2p::PeerId>(errc::malformed);
  if (!id) return std::nullopt;
  return ExpertInfo{key, *std::move(id)};
}

/// A record of a declaration, of which nothing has become yet.
[[nodiscard]] inline DeclaredRecord place_of(const dht::StoreItem& record) {
  if (const auto* key = record.key.get_if<codec::msgpack::Tuple>()) {
    return {.key = *key->items[0].get_if<std::string>(), .coordinate = {}, .stored = {}, .endorsement = true};
  }
  DeclaredRecord place{.key = *record.key.get_if<std::string>(), .coordinate = {}, .stored = {}};
  if (record.subkey) place.coordinate = static_cast<Coordinate>(*record.subkey->get_if<std::int64_t>());
  return place;
}

/// By how much a record must outlive the one it replaces.
inline constexpr std::chrono::milliseconds beyond{1};

}  // namespace detail

/// Declares that `node`'s peer serves these experts until `expiration`; servers repeat it while they live. Where it is
/// rejected because of an entry that says there is no expert and lives longer (a Hivemind client that looked earlier
/// leaves one for five minutes, a server that left one until its declarations end), it is repeated just beyond that.
/// @param owner_tag  of a signature validator of the node (`owner_tag()`): that owner endorses the declarations, for
///                   `get_endorsed_experts`; anybody can write over the rest, nobody over that. Empty: nobody does
/// @return what became of each record
/// Throws errc::invalid_argument for a uid that breaks the rules, and what the node throws.
template <ExpertDirectory Node>
[[nodiscard]] awaitable<std::vector<DeclaredRecord>> declare_experts(Node node, std::vector<std::string> uids,
                                                                     WallTime expiration,
                                                                     dht::StoreOptions options = {},
                                                                     std::string owner_tag = {}) {
  const std::vector<dht::StoreItem> records = expert_records(uids, node.peer_id(), expiration, owner_tag);
  std::vector<DeclaredRecord> declared;
  declared.reserve(records.size());
  for (const auto& record : records) declared.push_back(detail::place_of(record));
  const auto stored = co_await node.store_many(records, options);
  std::vector<std::size_t> rejected;
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < declared.size(); ++i) {
    declared[i].stored = stored[i];
    if (stored[i] || stored[i].rejected == 0 || declared[i].endorsement) continue;
    rejected.push_back(i);
    keys.push_back(declared[i].key);
  }
  if (rejected.empty()) co_return declared;

  const auto found = co_await node.get_many(std::move(keys), {.latest = true, .timeout = options.timeout});
  std::vector<std::size_t> again;
  std::vector<dht::StoreItem> beyond;
  for (std::size_t i = 0; i < rejected.size(); ++i) {
    DeclaredRecord& one = declared[rejected[i]];
    const auto entry = detail::standing_entry(found[i], one.coordinate);
    if (!entry) continue;
    one.other = detail::expert_of_entry(one.key, one.coordinate, *entry->value);
    one.own = one.other && one.other->peer_id == node.peer_id();
    if (one.other) continue;
    again.push_back(rejected[i]);
    beyond.push_back(records[rejected[i]]);
    beyond.back().expiration = std::max(expiration, entry->expiration + detail::beyond);
  }
  if (again.empty()) co_return declared;
  const auto repeated = co_await node.store_many(std::move(beyond), options);
  for (std::size_t i = 0; i < again.size(); ++i) declared[again[i]].stored = repeated[i];
  co_return declared;
}

/// Who serves these experts, in the uids' order; nullopt for one that nobody has declared, or whose uid breaks the
/// rules.
template <ExpertDirectory Node>
[[nodiscard]] awaitable<std::vector<std::optional<ExpertInfo>>> get_experts(Node node, std::vector<std::string> uids,
                                                                            dht::GetOptions options = {}) {
  const auto found = co_await node.get_many(uids, options);
  std::vector<std::optional<ExpertInfo>> experts(uids.size());
  for (std::size_t i = 0; i < uids.size(); ++i) {
    const auto* peer = found[i] ? found[i]->value.template get_if<std::string>() : nullptr;
    if (!peer || !is_valid_uid(uids[i])) continue;
    if (auto id = p2p::PeerId::from_text(*peer)) experts[i] = ExpertInfo{std::move(uids[i]), *std::move(id)};
  }
  co_return experts;
}

/// The same by the word of an owner alone: only what he has endorsed counts, whoever else has declared what. `node`
/// needs the signature validator of the owner's kind, or it believes endorsements that he did not sign. Tells who to
/// trust among those that a search found.
/// @param owner_tag  `owner_tag()` of the validator by which he declares
template <ExpertDirectory Node>
  requires requires(Node& node, std::vector<dht::DHTID> keys, dht::GetOptions options) {
    node.get_many_by_id(keys, options);
  }
[[nodiscard]] awaitable<std::vector<std::optional<ExpertInfo>>> get_endorsed_experts(Node node,
                                                                                     std::vector<std::string> uids,
                                                                                     std::string owner_tag,
                                                                                     dht::GetOptions options = {}) {
  std::vector<dht::DHTID> keys;
  keys.reserve(uids.size());
  for (const std::string& uid : uids) keys.push_back(dht::key_id(dht::endorsements_of(uid)));
  const auto found = co_await node.get_many_by_id(std::move(keys), options);
  std::vector<std::optional<ExpertInfo>> experts(uids.size());
  for (std::size_t i = 0; i < uids.size(); ++i) {
    const auto* peer = found[i] ? dht::endorsed_by(*found[i], owner_tag) : nullptr;
    if (peer && is_valid_uid(uids[i])) experts[i] = detail::expert_of_entry(uids[i], std::nullopt, *peer);
  }
  co_return experts;
}

}  // namespace skep::inline v0::moe
