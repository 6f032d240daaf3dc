// DhtStore: the DHT as the key-value store in which a beam searcher looks prefixes up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/dht/options.hpp"
#include "skep/moe/beam_search.hpp"
#include "skep/moe/declare.hpp"

namespace skep::inline v0::moe {

/// Reads the dictionaries that `declare_experts` writes. Entries that are none (a subkey that is no coordinate, a list
/// in place of a tuple, a peer id as bytes, a nil that says "nothing here") are skipped without harm to their
/// neighbours.
///
/// *Lifetime:* holds the node's handle. *Threads:* the node's executor; `steady_now` from any thread.
template <ExpertDirectory Node>
class DhtStore {
 public:
  /// @param reading  how each prefix is looked up. A training step waits for the search, so four nodes are asked at
  /// once
  ///                 and the first replica that answers will do, as for Hivemind; with `replicas` 0 a beam misses no
  ///                 expert that a majority of the replicas knows.
  explicit DhtStore(Node node, dht::GetOptions reading = {.num_workers = 4, .replicas = 1})
      : node_(std::move(node)), reading_(reading) {}

  [[nodiscard]] awaitable<PrefixRecords> get_many(std::vector<std::string> prefixes) {
    return get_many(node_, std::move(prefixes), reading_);
  }

  [[nodiscard]] SteadyTime steady_now() const { return node_.network().steady_now(); }
  [[nodiscard]] awaitable<void> sleep_until(SteadyTime when) const { return node_.network().sleep_until(when); }
  [[nodiscard]] Executor executor() const { return node_.network().executor(); }

 private:
  static awaitable<PrefixRecords> get_many(Node node, std::vector<std::string> prefixes, dht::GetOptions reading) {
    const auto found = co_await node.get_many(std::move(prefixes), reading);
    PrefixRecords records(found.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (found[i] && found[i]->is_dictionary) records[i] = entries_of(*found[i]);
    }
    co_return records;
  }

  static std::map<Coordinate, UidEndpoint> entries_of(const dht::Found& dictionary) {
    std::map<Coordinate, UidEndpoint> entries;
    for (const auto& item : dictionary.items) {
      const auto* coordinate = item.subkey.template get_if<std::int64_t>();
      if (!coordinate || *coordinate < flat_expert || *coordinate > std::numeric_limits<Coordinate>::max()) continue;
      if (auto endpoint = detail::endpoint_of_value(item.value)) {
        entries.emplace(static_cast<Coordinate>(*coordinate), *std::move(endpoint));
      }
    }
    return entries;
  }

  Node node_;
  dht::GetOptions reading_;
};

}  // namespace skep::inline v0::moe
