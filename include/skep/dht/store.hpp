// store_all: writing many items to the nodes nearest to their keys.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
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
#include "skep/dht/validator.hpp"

namespace skep::inline v0::dht::detail {

inline constexpr std::size_t max_keys_per_store = 256;

/// The item as it travels, its value signed.
template <class State>
StoreEntry entry_of(State& self, const StoreItem& item) {
  StoreEntry entry{key_id(item.key), item.subkey ? msgpack::encode(*item.subkey) : regular_tag(),
                   msgpack::encode(item.value), item.expiration};
  if (entry.tag == regular_tag() && item.subkey) {
    throw Error(errc::invalid_argument, "nil cannot be a subkey of a DHT record");
  }
  check_key(self.validator, msgpack::encode(item.key));
  entry.value = self.validator.sign({entry.key, entry.tag, entry.value, entry.expiration});
  if (entry.value.size() > State::answer_budget) {
    throw Error(errc::limit_exceeded, "a value of " + std::to_string(entry.value.size()) +
                                          " bytes is too long for a DHT record, of which nodes send at most " +
                                          std::to_string(State::answer_budget));
  }
  return entry;
}

/// Gives records to a node, in as many requests as their size takes; or keeps them, if the node is this one.
template <class State>
awaitable<std::optional<std::vector<bool>>> give(std::shared_ptr<State> self, NodeEntry node,
                                                 std::vector<StoreEntry> records) {
  std::vector<bool> kept;
  if (node.id == self->id) {
    for (const auto& record : records) kept.push_back(self->keep(record, false, self->net.wall_now()));
    co_return kept;
  }
  for (std::size_t next = 0; next < records.size();) {
    std::vector<StoreEntry> some;
    for (std::size_t bytes = 0; next < records.size() && (some.empty() || bytes < State::answer_budget); ++next) {
      bytes += records[next].value.size() + 64;
      if (!some.empty() && bytes > State::answer_budget) break;
      some.push_back(std::move(records[next]));
    }
    const auto answer = co_await State::call_store(self, node, std::move(some));
    if (!answer) co_return std::nullopt;
    kept.insert(kept.end(), answer->begin(), answer->end());
  }
  co_return kept;
}

/// What this node stored it may not read from its cache in an older form.
template <class State>
void cache_stored(State& self, const StoreEntry& entry, const StoreResult& result) {
  const WallTime now = self.net.wall_now();
  const Record* const cached = self.cache.find(entry.key, now);
  const bool regular = entry.tag == regular_tag();
  if (!result) {
    if (cached && regular && cached->expiration() <= entry.expiration) self.cache.erase(entry.key);
  } else if (regular ? self.options.cache_locally : cached != nullptr) {
    self.keep(entry, true, now);
  }
}

/// Finds the nearest nodes of all keys, then gives each the records that are its; who does not answer is replaced.
template <class State>
awaitable<std::vector<StoreResult>> store_all(std::shared_ptr<State> self, std::vector<StoreItem> items,
                                              StoreOptions options) {
  std::vector<StoreResult> results(items.size());
  std::vector<DHTID> targets;                      // each key once
  std::vector<std::vector<std::size_t>> items_of;  // by key
  std::vector<StoreEntry> entries;                 // by item
  std::map<DHTID, std::size_t> index;
  const WallTime now = self->net.wall_now();
  for (std::size_t i = 0; i < items.size(); ++i) {
    entries.push_back(entry_of(*self, items[i]));
    if (items[i].expiration <= now) continue;  // nobody would keep it
    const auto [place, fresh] = index.emplace(entries[i].key, targets.size());
    if (fresh) {
      targets.push_back(entries[i].key);
      items_of.emplace_back();
    }
    items_of[place->second].push_back(i);
  }

  co_await rejoin_if_alone(self);

  // First who the nearest nodes are, for all keys together, then the records to all of them.
  const SteadyTime deadline = deadline_after(self->net.steady_now(), options.timeout);
  const std::size_t replicas = self->options.num_replicas * std::max<std::size_t>(self->options.disjoint_paths, 1);
  Traversal lookup = start_traversal(*self, targets, self->options.num_replicas, self->options.num_workers);
  co_await run_finds(self, lookup, deadline, [](std::size_t, Record) {});

  TraversalOptions placing;
  placing.width = placing.parallelism = placing.packing = replicas;
  placing.keys_per_request = max_keys_per_store;
  Traversal placement(targets, std::nullopt, placing);
  std::vector<std::size_t> missing(targets.size());  // replicas that have not answered yet
  for (std::size_t key = 0; key < targets.size(); ++key) {
    auto nodes = lookup.nearest(key, 2 * replicas);
    if (!options.exclude_self && !self->options.client_mode) nodes.push_back({self->id, self->net.self()});
    missing[key] = std::min(replicas, nodes.size());
    placement.add(key, nodes);
  }
  const auto ask = [&](const Traversal::Request& request) {
    std::vector<StoreEntry> records;
    for (const std::size_t key : request.keys) {
      for (const std::size_t item : items_of[key]) records.push_back(entries[item]);
    }
    return give(self, request.node, std::move(records));
  };
  const auto settle = [&](const Traversal::Request& request, std::vector<bool> kept) {
    std::size_t next = 0;
    for (const std::size_t key : request.keys) {
      missing[key] -= std::min<std::size_t>(missing[key], 1);
      for (const std::size_t item : items_of[key]) ++(kept[next++] ? results[item].accepted : results[item].rejected);
    }
  };
  co_await drive<std::vector<bool>>(self, placement, deadline, ask, settle);

  for (std::size_t key = 0; key < targets.size(); ++key) {
    for (const std::size_t item : items_of[key]) {
      results[item].failed = missing[key];
      cache_stored(*self, entries[item], results[item]);
    }
  }
  co_return results;
}

template <class State>
awaitable<StoreResult> store_one(std::shared_ptr<State> self, StoreItem item, StoreOptions options) {
  std::vector<StoreItem> items;
  items.push_back(std::move(item));
  const auto results = co_await store_all(std::move(self), std::move(items), options);
  co_return results.front();
}

}  // namespace skep::inline v0::dht::detail
