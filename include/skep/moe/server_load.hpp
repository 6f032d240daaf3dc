// Servers publish how busy they are in the dictionaries where their experts stand.
#pragma once

#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/codec/msgpack.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/options.hpp"
#include "skep/moe/declare.hpp"
#include "skep/moe/pool_options.hpp"
#include "skep/moe/uid.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::moe {

/// Begins the subkey of a server's load; the peer id in base58 follows. Hivemind takes only integers for experts and
/// skips it.
inline constexpr std::string_view load_subkey = "load:";

/// What a server says of itself.
struct ServerLoad {
  p2p::PeerId peer_id;
  Duration wait{};  ///< from the arrival of a request to its answer, as things stand

  friend bool operator==(const ServerLoad&, const ServerLoad&) = default;
};

/// How long a request took from its arrival to its answer between two looks at the counters of a server's pools, added
/// up: what tasks waited on average, and what their batches took. Zero when nothing was computed.
[[nodiscard]] inline Duration recent_wait(const PoolStatistics& before, const PoolStatistics& after) {
  const auto mean = [](Duration sum, std::size_t count) {
    return count == 0 ? Duration{} : sum / static_cast<Duration::rep>(count);
  };
  return mean(after.waited - before.waited, after.tasks - before.tasks) +
         mean(after.computed - before.computed, after.batches - before.batches);
}

/// The records by which a server tells its load: one in each dictionary that holds experts of its own, never under a
/// uid's own key. The value is an array whose first item is the wait in seconds; readers ignore what follows it.
/// To replace an earlier record it must expire later. Throws errc::invalid_argument for a uid that breaks the rules.
[[nodiscard]] inline std::vector<dht::StoreItem> load_records(const std::vector<std::string>& uids,
                                                              const ServerLoad& load, WallTime expiration) {
  std::set<std::string> prefixes;
  for (const std::string& uid : uids) {
    auto entries = prefix_entries(uid);
    if (!entries) throw detail::invalid_uid(uid);
    prefixes.insert(std::move(entries->front().prefix));  // the longest: where a search ends
  }
  const double seconds = std::chrono::duration<double>(load.wait).count();
  std::vector<dht::StoreItem> records;
  records.reserve(prefixes.size());
  for (const std::string& prefix : prefixes) {
    records.push_back(
        {prefix, codec::msgpack::Array{seconds}, expiration, std::string(load_subkey) + load.peer_id.to_string()});
  }
  return records;
}

/// Reads one back. @return nullopt for any other item of the dictionary, and for what is no sensible load
[[nodiscard]] inline std::optional<ServerLoad> load_of_item(const dht::FoundItem& item) {
  constexpr double longest = 3600;
  const auto* subkey = item.subkey.get_if<std::string>();
  if (!subkey || !subkey->starts_with(load_subkey)) return std::nullopt;
  const auto* values = item.value.get_if<codec::msgpack::Array>();
  if (!values || values->empty()) return std::nullopt;
  const auto* seconds = values->front().get_if<double>();
  if (!seconds || !(*seconds >= 0 && *seconds <= longest)) return std::nullopt;
  auto peer = p2p::PeerId::from_text(std::string_view(*subkey).substr(load_subkey.size()));
  if (!peer) return std::nullopt;
  return ServerLoad{*std::move(peer), std::chrono::duration_cast<Duration>(std::chrono::duration<double>(*seconds))};
}

}  // namespace skep::inline v0::moe
