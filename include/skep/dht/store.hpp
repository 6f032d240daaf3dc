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
#include "skep/async/event.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/new_shared.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/drive.hpp"
#include "skep/dht/give.hpp"
#include "skep/dht/key.hpp"
#include "skep/dht/local_node.hpp"
#include "skep/dht/options.hpp"
#include "skep/dht/record.hpp"
#include "skep/dht/refresh.hpp"
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
  if (entry.tag.size() + entry.value.size() > State::answer_budget) {
    throw Error(errc::limit_exceeded,
                "a value of " + std::to_string(entry.tag.size() + entry.value.size()) +
                    " bytes, its subkey counted, is too long for a DHT record, of which nodes send at most " +
                    std::to_string(State::answer_budget));
  }
  return entry;
}

/// What this node stored it may not read from its cache in an older form.
template <class State>
void cache_stored(const std::shared_ptr<State>& self, const StoreEntry& entry, const StoreResult& result) {
  if (!self->options.cache_on_store) return;
  const WallTime now = self->now();
  const Record* const cached = self->cache.find(entry.key, now);
  const bool regular = entry.tag == regular_tag();
  if (!result) {
    if (!cached || !regular || entry.expiration < cached->expiration()) return;
    self->cache.erase(entry.key);  // others know something newer
    return;
  }
  if (!regular && !cached) return;
  self->keep(entry, true, now);
  if (!regular) refresh_at(self, entry.key, now);  // others may have added items meanwhile
}

/// A store on its way: what goes where, and what became of it. Outlives the call when that does not wait for all.
struct Storing {
  explicit Storing(const Executor& executor) : news(std::make_shared<Event>(executor)), answered(executor) {}

  std::vector<DHTID> targets;                      // each key once
  std::vector<std::vector<std::size_t>> items_of;  // by key
  std::vector<StoreEntry> entries;                 // by item
  std::vector<StoreResult> results;                // by item
  std::vector<std::size_t> missing;                // by key: replicas that have not answered yet
  std::size_t unanswered = 0;                      // keys of which no replica has answered yet
  std::optional<Traversal> placement;
  std::shared_ptr<Event> news;
  Event answered;  // every key has an answer, or there will be none
};

/// Whether the routing table is the whole swarm: the nodes nearest to a key name all of it and nobody else. A node
/// whose buckets are not full forgets nobody, so they would say the same about any other key.
template <class State>
awaitable<bool> table_is_swarm(std::shared_ptr<State> self, DHTID target, std::shared_ptr<Event> news,
                               SteadyTime deadline) {
  if (self->table.size() >= self->options.bucket_size) co_return false;
  const std::size_t width = std::min(self->majority(), self->table.size());
  Traversal lookup = start_traversal(*self, {target}, width, width);
  std::size_t agreed = 0;
  bool all_agree = true;
  const auto answered = [&](std::size_t, const NodeEntry& node, FindAnswer& answer) {
    const bool agrees = self->names_whole_table(node.id, answer.result);
    agreed += agrees;
    all_agree = all_agree && agrees;
    return true;
  };
  co_await run_finds(self, lookup, deadline, answered, std::move(news));
  co_return all_agree&& agreed >= width;
}

/// The nodes that are to hold the records of each key, and some more. Of those that are to hold a record a majority is
/// asked: nodes know their own neighbourhood, so when the nearest of them name nobody nearer the others are the right
/// ones, too, and whether they live shows when they get the record. With disjoint paths, where nobody is to be
/// believed, all are asked.
template <class State>
awaitable<std::vector<std::vector<NodeEntry>>> find_places(std::shared_ptr<State> self,
                                                           std::shared_ptr<Storing> storing, std::size_t count,
                                                           SteadyTime deadline) {
  co_await rejoin_if_alone(self, deadline);
  const auto& targets = storing->targets;
  const bool trusting = self->options.disjoint_paths <= 1;
  bool known = false;
  if (trusting && targets.size() > 1) known = co_await table_is_swarm(self, targets.front(), storing->news, deadline);
  std::vector<std::vector<NodeEntry>> places;
  if (known) {
    for (const DHTID& target : targets) places.push_back(self->table.nearest(target, count));
    co_return places;
  }
  const std::size_t width = trusting ? self->majority() : self->options.num_replicas;
  Traversal lookup = start_traversal(*self, targets, width, std::min(width, self->options.num_workers));
  co_await run_finds(
      self, lookup, deadline, [](std::size_t, const NodeEntry&, FindAnswer&) { return true; }, storing->news);
  for (std::size_t key = 0; key < targets.size(); ++key) places.push_back(lookup.nearest(key, count));
  co_return places;
}

/// Plans who gets what.
template <class State>
awaitable<void> plan(std::shared_ptr<State> self, std::shared_ptr<Storing> storing, StoreOptions options,
                     SteadyTime deadline) {
  const std::size_t replicas = self->options.num_replicas * std::max<std::size_t>(self->options.disjoint_paths, 1);
  auto places = co_await find_places(self, storing, 2 * replicas, deadline);
  TraversalOptions placing;
  placing.width = placing.parallelism = placing.packing = replicas;
  placing.keys_per_request = max_keys_per_store;
  storing->placement.emplace(storing->targets, std::nullopt, placing);
  for (std::size_t key = 0; key < storing->targets.size(); ++key) {
    auto& nodes = places[key];
    if (!options.exclude_self && !self->options.client_mode) nodes.push_back({self->id, self->net.self()});
    storing->missing.push_back(std::min(replicas, nodes.size()));
    storing->unanswered += !nodes.empty();
    storing->placement->add(key, nodes);
  }
}

/// Gives each of them the records that are its; who does not answer is replaced by the next nearest.
template <class State>
awaitable<void> place_all(std::shared_ptr<State> self, std::shared_ptr<Storing> storing, SteadyTime deadline) {
  struct End {
    ~End() { event.set(); }
    Event& event;
  } const end{storing->answered};
  const auto ask = [&](const Traversal::Request& request) {
    std::vector<StoreEntry> records;
    for (const std::size_t key : request.keys) {
      for (const std::size_t item : storing->items_of[key]) records.push_back(storing->entries[item]);
    }
    return give(self, request.node, std::move(records));
  };
  const auto settle = [&](const Traversal::Request& request, const NodeAnswer& answer) {
    std::size_t next = 0;
    for (const std::size_t key : request.keys) {
      storing->missing[key] -= std::min<std::size_t>(storing->missing[key], 1);
      for (const std::size_t item : storing->items_of[key]) {
        StoreResult& result = storing->results[item];
        if (item == storing->items_of[key].front() && result == StoreResult{}) --storing->unanswered;
        ++(answer.kept[next++] != 0 ? result.accepted : result.rejected);
      }
    }
    if (storing->unanswered == 0) storing->answered.set();
  };
  co_await drive(self, *storing->placement, deadline, ask, settle, storing->news);
  for (std::size_t key = 0; key < storing->targets.size(); ++key) {
    for (const std::size_t item : storing->items_of[key]) {
      storing->results[item].failed = storing->missing[key];
      cache_stored(self, storing->entries[item], storing->results[item]);
    }
  }
}

template <class State>
awaitable<std::vector<StoreResult>> store_all(std::shared_ptr<State> self, std::vector<StoreItem> items,
                                              StoreOptions options) {
  const auto storing = new_shared<Storing>(self->net.executor());
  storing->results.resize(items.size());
  std::map<DHTID, std::size_t> index;
  const WallTime now = self->now();
  for (std::size_t i = 0; i < items.size(); ++i) {
    storing->entries.push_back(entry_of(*self, items[i]));
    if (items[i].expiration <= now) continue;  // nobody would keep it
    const auto [place, fresh] = index.emplace(storing->entries[i].key, storing->targets.size());
    if (fresh) {
      storing->targets.push_back(storing->entries[i].key);
      storing->items_of.emplace_back();
    }
    storing->items_of[place->second].push_back(i);
  }
  const SteadyTime deadline = deadline_after(self->net.steady_now(), options.timeout);
  co_await plan(self, storing, options, deadline);
  if (options.await_all_replicas) {
    co_await place_all(self, storing, deadline);
  } else {
    self->children.spawn(place_all(self, storing, deadline));
    co_await wait_until(self->net, storing->answered, deadline);
    if (self->closed) throw Error(errc::closed, "the DHT node was closed");
  }
  co_return storing->results;
}

template <class State>
awaitable<StoreResult> store_one(std::shared_ptr<State> self, StoreItem item, StoreOptions options) {
  std::vector<StoreItem> items;
  items.push_back(std::move(item));
  const auto results = co_await store_all(std::move(self), std::move(items), options);
  co_return results.front();
}

}  // namespace skep::inline v0::dht::detail
