// Replicas: several servers may serve one expert. How each tells so, how clients find them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/codec/msgpack.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/options.hpp"
#include "skep/moe/declare.hpp"
#include "skep/moe/uid.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::moe {

/// Ends the key under which an expert's replicas stand, "ffn.3.replicas": a dictionary by peer id in base58. A uid's
/// own key holds one server only. Neither a uid nor a prefix looks like it, so Hivemind never reads it.
inline constexpr std::string_view replicas_suffix = ".replicas";
/// How many replicas a client considers.
inline constexpr std::size_t max_replicas = 16;

[[nodiscard]] inline std::string replicas_key(std::string_view uid) { return std::string(uid).append(replicas_suffix); }

/// The records by which a server tells that it serves these experts, others or not. The values are arrays, empty so
/// far; readers ignore what is in them. Throws errc::invalid_argument for a uid that breaks the rules.
[[nodiscard]] inline std::vector<dht::StoreItem> replica_records(const std::vector<std::string>& uids,
                                                                 const p2p::PeerId& peer, WallTime expiration) {
  std::vector<dht::StoreItem> records;
  records.reserve(uids.size());
  for (const std::string& uid : uids) {
    if (!is_valid_uid(uid)) throw detail::invalid_uid(uid);
    records.push_back({replicas_key(uid), codec::msgpack::Array(), expiration, peer.to_string()});
  }
  return records;
}
/// The records that take them back: nil, which lives a moment longer.
/// @param told_until  the expiration of the last `replica_records`
[[nodiscard]] inline std::vector<dht::StoreItem> replica_withdrawals(const std::vector<std::string>& uids,
                                                                     const p2p::PeerId& peer, WallTime told_until) {
  auto records = replica_records(uids, peer, told_until + detail::beyond);
  for (auto& record : records) record.value = {};
  return records;
}

/// Who serves an expert: the owner of its key first, then those of its dictionary, each once, at most `max_replicas`.
/// What is no record of a server is skipped.
[[nodiscard]] inline std::vector<ExpertInfo> replicas_of(const std::string& uid, const std::optional<dht::Found>& owner,
                                                         const std::optional<dht::Found>& dictionary) {
  std::vector<ExpertInfo> all;
  const auto add = [&](std::string_view text) {
    auto peer = p2p::PeerId::from_text(text);
    if (!peer || all.size() >= max_replicas) return;
    ExpertInfo expert{uid, *std::move(peer)};
    if (std::find(all.begin(), all.end(), expert) == all.end()) all.push_back(std::move(expert));
  };
  if (owner && !owner->is_dictionary) {
    if (const auto* text = owner->value.get_if<std::string>()) add(*text);
  }
  if (!dictionary || !dictionary->is_dictionary) return all;
  for (const dht::FoundItem& item : dictionary->items) {
    const auto* text = item.subkey.get_if<std::string>();
    if (text != nullptr && item.value.get_if<codec::msgpack::Array>() != nullptr) add(*text);
  }
  return all;
}

/// Looks up who serves an expert now; what the node remembers of earlier reads does not count.
template <ExpertDirectory Node>
[[nodiscard]] awaitable<std::vector<ExpertInfo>> find_replicas(Node node, std::string uid, Duration timeout = 60s) {
  std::vector<std::string> keys{uid, replicas_key(uid)};
  const auto found = co_await node.get_many(std::move(keys), {.timeout = timeout, .use_cache = false});
  co_return replicas_of(uid, found[0], found[1]);
}

}  // namespace skep::inline v0::moe
