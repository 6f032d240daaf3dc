// get_all: reading many keys, from this node's own tables and from the swarm.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/drive.hpp"
#include "skep/dht/key.hpp"
#include "skep/dht/local_node.hpp"
#include "skep/dht/options.hpp"
#include "skep/dht/record.hpp"
#include "skep/dht/search.hpp"
#include "skep/dht/traversal.hpp"

namespace skep::inline v0::dht::detail {

/// Keeps what the swarm knows in the local cache, unless it is here anyway.
template <class State>
void remember(State& self, const DHTID& key, const Record& record) {
  const WallTime now = self.net.wall_now();
  if (const Item* const item = record.value()) {
    const Record* const own = self.storage.find(key, now);
    if (!own || own->expiration() < item->expiration) self.cache.store(key, *item, now);
  } else {
    self.cache.store(key, *record.dictionary(), now);
  }
}

/// The record as its user stored it; nothing when its bytes are no values.
template <class State>
std::optional<Found> decode(State& self, const DHTID& key, const Record& record) {
  const auto read = [&](BytesView subkey, const Item& item) {
    return msgpack::decode(self.validator.strip({key, subkey, item.value, item.expiration}, item.value));
  };
  if (const Item* const item = record.value()) {
    auto value = read(regular_tag(), *item);
    if (!value) return std::nullopt;
    return Found{*std::move(value), item->expiration};
  }
  Found found{{}, record.expiration(), true};
  const WallTime now = self.net.wall_now();
  for (const auto& [subkey, item] : record.dictionary()->items()) {
    if (item.expiration <= now) continue;
    auto name = msgpack::decode(subkey);
    auto value = read(subkey, item);
    if (name && value) found.items.push_back({*std::move(name), *std::move(value), item.expiration});
  }
  if (found.items.empty()) return std::nullopt;
  return found;
}

/// Own storage and cache first, then the swarm: a regular value ends a key's search, a dictionary is joined from a
/// majority of its replicas, and `latest` asks all the nearest nodes.
template <class State>
awaitable<std::vector<std::optional<Found>>> get_all(std::shared_ptr<State> self, std::vector<DHTID> keys,
                                                     GetOptions options) {
  std::vector<DHTID> targets;  // each once
  std::map<DHTID, std::size_t> index;
  for (const DHTID& key : keys) {
    if (index.emplace(key, targets.size()).second) targets.push_back(key);
  }
  struct Seen {
    std::optional<Record> record;
    std::size_t replicas = 0;  // how many nodes gave it
    bool from_network = false;
  };
  std::vector<Seen> seen(targets.size());
  // Readers of a dictionary ask as many of its replicas as a store must reach: then one of them has every item.
  const std::size_t quorum = options.replicas > 0 ? options.replicas : self->options.num_replicas / 2 + 1;
  const auto take = [&](std::size_t key, Record record) {
    Seen& known = seen[key];
    ++known.replicas;
    if (known.record) {
      known.record->merge(std::move(record));
    } else {
      known.record = std::move(record);
    }
  };
  const auto enough = [&](std::size_t key) {
    const Seen& known = seen[key];
    return !options.latest && known.record && (known.record->value() || known.replicas >= quorum);
  };

  co_await rejoin_if_alone(self);
  const WallTime now = self->net.wall_now();
  std::size_t parallelism = options.num_workers;
  if (parallelism == 0) parallelism = options.latest ? self->options.num_workers : 1;
  Traversal traversal = start_traversal(*self, targets, self->options.search_width, parallelism);
  for (std::size_t key = 0; key < targets.size(); ++key) {
    if (const Record* const own = self->storage.find(targets[key], now)) take(key, *own);
    if (const Record* const cached = self->cache.find(targets[key], now)) {
      take(key, *cached);
      seen[key].replicas = quorum;  // it was joined when it was cached
    }
    if (enough(key)) traversal.finish(key);
  }
  co_await run_finds(self, traversal, deadline_after(self->net.steady_now(), options.timeout),
                     [&](std::size_t key, Record record) {
                       take(key, std::move(record));
                       seen[key].from_network = true;
                       if (enough(key)) {
                         traversal.finish(key);
                       } else if (!options.latest) {
                         traversal.widen(key, std::max(parallelism, quorum - seen[key].replicas));
                       }
                     });

  std::vector<std::optional<Found>> results;
  results.reserve(keys.size());
  for (std::size_t key = 0; key < targets.size(); ++key) {
    if (seen[key].from_network && self->options.cache_locally) remember(*self, targets[key], *seen[key].record);
  }
  for (const DHTID& key : keys) {
    const auto& record = seen[index.at(key)].record;
    results.push_back(record ? decode(*self, key, *record) : std::nullopt);
  }
  co_return results;
}

template <class State>
awaitable<std::optional<Found>> get_one(std::shared_ptr<State> self, DHTID key, GetOptions options) {
  auto found = co_await get_all(std::move(self), std::vector{key}, options);
  co_return std::move(found.front());
}

}  // namespace skep::inline v0::dht::detail
