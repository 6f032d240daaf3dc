// DhtStore: the DHT as the key-value store in which a beam searcher looks prefixes up.
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/codec/msgpack.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/options.hpp"
#include "skep/moe/declare.hpp"
#include "skep/moe/expected_delays.hpp"
#include "skep/moe/key_value_store.hpp"
#include "skep/moe/server_load.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

/// A directory that can also answer without asking, and go on in the background: a `dht::Node`.
template <class N>
concept KnowingDirectory =
    ExpertDirectory<N> && requires(N& node, const std::vector<std::string>& keys, awaitable<void> work) {
      { node.get_known(keys) } -> std::same_as<std::vector<std::optional<dht::Found>>>;
      { node.now() } -> std::same_as<WallTime>;
      node.spawn(std::move(work));
    };

/// The subkey under which a searcher notes that it found nothing under a prefix. Hivemind takes only integers for
/// experts and skips it; its own note has the place of a flat expert and can keep one out.
inline constexpr std::string_view missing_subkey = "missing";

/// Reads the dictionaries that `declare_experts` writes. Entries that are none (a subkey that is no coordinate, a list
/// in place of a tuple, a peer id as bytes, a nil that says "nothing here") are skipped without harm to their
/// neighbours. A dictionary without any expert never counts as read: what a majority of its replicas holds now does, so
/// that no note and no memory of one hides an expert that was declared since.
///
/// *Lifetime:* holds the node's handle. *Threads:* the node's executor; `steady_now` and `delays` from any thread.
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
    return get_many(*this, std::move(prefixes));
  }
  /// What the node knows of them without asking anybody.
  [[nodiscard]] PrefixRecords get_known(const std::vector<std::string>& prefixes)
    requires KnowingDirectory<Node>
  {
    return records_of(node_.get_known(prefixes));
  }
  /// Notes in the background that nothing was found under these prefixes. Hivemind's clients may believe a note as long
  /// as it lives, as they do their own.
  void mark_missing(std::vector<std::string> prefixes, Duration life)
    requires KnowingDirectory<Node>
  {
    node_.spawn(mark(node_, std::move(prefixes), life));
  }
  /// Runs a coroutine in the node's background.
  void spawn(awaitable<void> work)
    requires KnowingDirectory<Node>
  {
    node_.spawn(std::move(work));
  }
  /// What servers say of their load, as far as it was read; what a client measures may be added.
  [[nodiscard]] const std::shared_ptr<ExpectedDelays>& delays() const noexcept { return delays_; }

  [[nodiscard]] SteadyTime steady_now() const { return node_.network().steady_now(); }
  [[nodiscard]] awaitable<void> sleep_until(SteadyTime when) const { return node_.network().sleep_until(when); }
  [[nodiscard]] Executor executor() const { return node_.network().executor(); }

 private:
  static awaitable<PrefixRecords> get_many(DhtStore self, std::vector<std::string> prefixes) {
    PrefixRecords records = self.records_of(co_await self.node_.get_many(prefixes, self.reading_));
    std::vector<std::size_t> empty;
    std::vector<std::string> again;
    for (std::size_t i = 0; i < records.size(); ++i) {
      if (!records[i] || !records[i]->empty()) continue;
      empty.push_back(i);
      again.push_back(prefixes[i]);
    }
    if (again.empty()) co_return records;
    dht::GetOptions afresh = self.reading_;
    afresh.replicas = 0;
    afresh.use_cache = false;
    PrefixRecords newer = self.records_of(co_await self.node_.get_many(std::move(again), afresh));
    for (std::size_t i = 0; i < empty.size(); ++i) records[empty[i]] = std::move(newer[i]);
    co_return records;
  }

  static awaitable<void> mark(Node node, std::vector<std::string> prefixes, Duration life) {
    const WallTime expiration = node.now() + std::chrono::duration<double>(life);
    std::vector<dht::StoreItem> notes;
    notes.reserve(prefixes.size());
    for (auto& prefix : prefixes) {
      notes.push_back({std::move(prefix), codec::msgpack::Value(), expiration, std::string(missing_subkey)});
    }
    co_await node.store_many(std::move(notes), dht::StoreOptions{});
  }

  /// The experts in each; an empty map for a dictionary without any.
  [[nodiscard]] PrefixRecords records_of(const std::vector<std::optional<dht::Found>>& found) {
    PrefixRecords records(found.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (!found[i] || !found[i]->is_dictionary) continue;
      records[i] = entries_of(*found[i]);
      learn_loads(*found[i]);
    }
    return records;
  }
  void learn_loads(const dht::Found& dictionary) {
    if constexpr (KnowingDirectory<Node>) {
      for (const auto& item : dictionary.items) {
        const auto load = load_of_item(item);
        if (!load) continue;
        const auto left = std::min<std::chrono::duration<double>>(item.expiration - node_.now(), 1h);
        const SteadyTime now = steady_now();
        delays_->published(load->peer_id, load->wait, now + std::chrono::duration_cast<Duration>(left), now);
      }
    }
  }

  static std::map<Coordinate, UidEndpoint> entries_of(const dht::Found& dictionary) {
    std::map<Coordinate, UidEndpoint> entries;
    detail::PeerText last;
    for (const auto& item : dictionary.items) {
      const auto* coordinate = item.subkey.template get_if<std::int64_t>();
      if (!coordinate || *coordinate < flat_expert || *coordinate > std::numeric_limits<Coordinate>::max()) continue;
      if (auto endpoint = detail::endpoint_of_value(item.value, &last)) {
        entries.emplace(static_cast<Coordinate>(*coordinate), *std::move(endpoint));
      }
    }
    return entries;
  }

  Node node_;
  dht::GetOptions reading_;
  std::shared_ptr<ExpectedDelays> delays_ = std::make_shared<ExpectedDelays>();
};

}  // namespace skep::inline v0::moe
