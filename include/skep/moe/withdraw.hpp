// Withdrawing experts from the DHT: a server that leaves takes its declarations back instead of letting them expire.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/codec/msgpack.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/options.hpp"
#include "skep/moe/declare.hpp"
#include "skep/moe/uid.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::moe {

/// What was found under each key.
using FoundByKey = std::map<std::string, std::optional<dht::Found>>;

/// The keys that `withdrawal_records` must know: each uid and each of its prefixes.
/// Throws errc::invalid_argument for a uid that breaks the rules.
[[nodiscard]] inline std::vector<std::string> withdrawal_keys(const std::vector<std::string>& uids) {
  std::set<std::string> keys;
  for (const std::string& uid : uids) {
    const auto entries = prefix_entries(uid);
    if (!entries) throw detail::invalid_uid(uid);
    keys.insert(uid);
    for (const PrefixEntry& entry : *entries) keys.insert(entry.prefix);
  }
  return {keys.begin(), keys.end()};
}

/// The records that take a declaration back. The DHT cannot delete: an entry is replaced by nil, which must live a
/// moment longer than it, and whoever declares later lives longer still. The example that stands for a prefix is
/// passed on to an expert of another server below it, where there is one. What others declared meanwhile is left.
/// @param declared_until  the expiration of the last declaration
[[nodiscard]] inline std::vector<dht::StoreItem> withdrawal_records(const std::vector<std::string>& uids,
                                                                    const p2p::PeerId& peer, WallTime declared_until,
                                                                    const FoundByKey& found) {
  const std::set<std::string> mine(uids.begin(), uids.end());
  const auto is_mine = [&](const ExpertInfo& expert) { return expert.peer_id == peer && mine.contains(expert.uid); };
  const auto found_under = [&](const std::string& key) -> const std::optional<dht::Found>& {
    static const std::optional<dht::Found> nothing;
    const auto place = found.find(key);
    return place == found.end() ? nothing : place->second;
  };
  const auto until = [&](WallTime present) { return std::max(declared_until, present) + detail::beyond; };

  std::vector<dht::StoreItem> records;
  std::vector<PrefixEntry> entries;
  for (const std::string& uid : mine) {
    const auto entry = detail::standing_entry(found_under(uid), std::nullopt);
    const auto owner = entry ? detail::expert_of_entry(uid, std::nullopt, *entry->value) : std::nullopt;
    if (owner && !is_mine(*owner)) continue;
    records.push_back({uid, {}, until(entry ? entry->expiration : declared_until)});
    const auto of_uid = prefix_entries(uid);
    if (of_uid) entries.insert(entries.end(), of_uid->begin(), of_uid->end());
  }
  // the longest prefixes first: who is passed on below may be passed on above
  std::ranges::sort(entries, [](const PrefixEntry& a, const PrefixEntry& b) {
    const auto dots = [](const PrefixEntry& e) { return std::ranges::count(e.prefix, uid_delimiter); };
    return std::pair(dots(b), a) < std::pair(dots(a), b);
  });
  entries.erase(std::ranges::unique(entries).begin(), entries.end());

  std::map<std::string, ExpertInfo> heirs;  // by the prefix below which they live
  for (const PrefixEntry& place : entries) {
    const auto& dictionary = found_under(place.prefix);
    const auto entry = detail::standing_entry(dictionary, place.coordinate);
    const auto example = entry ? detail::endpoint_of_value(*entry->value) : std::nullopt;
    for (const dht::FoundItem& item : dictionary ? dictionary->items : std::vector<dht::FoundItem>{}) {
      const auto other = detail::endpoint_of_value(item.value);
      if (other && !is_mine(*other)) heirs.try_emplace(place.prefix, *other);
    }
    if (!example || !is_mine(*example)) continue;
    dht::StoreItem record{place.prefix, {}, until(entry->expiration), place.coordinate};
    if (place.coordinate != flat_expert) {
      if (const auto heir = heirs.find(extend_prefix(place.prefix, place.coordinate)); heir != heirs.end()) {
        record.value = detail::endpoint_value(heir->second);
        heirs.try_emplace(place.prefix, heir->second);
      }
    }
    records.push_back(std::move(record));
  }
  return records;
}

/// Takes back what `node`'s peer declared of these experts.
/// @param declared_until  the expiration of the last declaration
/// @param options         its timeout bounds the looking and the storing, each
/// @param owner_tag       of the owner who endorsed it; empty: nobody did
/// Throws errc::invalid_argument for a uid that breaks the rules, and what the node throws.
template <ExpertDirectory Node>
[[nodiscard]] awaitable<std::vector<dht::StoreResult>> withdraw_experts(Node node, std::vector<std::string> uids,
                                                                        WallTime declared_until,
                                                                        dht::StoreOptions options = {},
                                                                        std::string owner_tag = {}) {
  const std::vector<std::string> keys = withdrawal_keys(uids);
  auto found = co_await node.get_many(keys, {.latest = true, .timeout = options.timeout});
  FoundByKey by_key;
  for (std::size_t i = 0; i < keys.size(); ++i) by_key.emplace(keys[i], std::move(found[i]));
  auto records = withdrawal_records(uids, node.peer_id(), declared_until, by_key);
  if (!owner_tag.empty()) {
    for (const std::string& uid : uids) {
      records.push_back(dht::endorsement(uid, {}, owner_tag, declared_until + detail::beyond));
    }
  }
  co_return co_await node.store_many(std::move(records), options);
}

}  // namespace skep::inline v0::moe
