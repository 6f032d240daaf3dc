// get: reading many keys, from this node's own tables and from the swarm, each key once for all who want it.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/new_shared.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/drive.hpp"
#include "skep/dht/find_records.hpp"
#include "skep/dht/key.hpp"
#include "skep/dht/local_node.hpp"
#include "skep/dht/options.hpp"
#include "skep/dht/record.hpp"
#include "skep/dht/refresh.hpp"
#include "skep/dht/searches.hpp"
#include "skep/dht/validator.hpp"

namespace skep::inline v0::dht::detail {

/// The record as its user stored it; nothing when its bytes are no values.
template <class State>
std::optional<Found> decode(State& self, const DHTID& key, const Record& record) {
  const auto read = [&](BytesView subkey, const Item& item) {
    if constexpr (std::derived_from<decltype(self.validator), LeavesValues>) return msgpack::decode(item.value);
    return msgpack::decode(self.validator.strip({key, subkey, item.value, item.expiration}, item.value));
  };
  if (const Item* const item = record.value()) {
    auto value = read(regular_tag(), *item);
    if (!value) return std::nullopt;
    return Found{*std::move(value), item->expiration};
  }
  Found found{{}, record.expiration(), true};
  const WallTime now = self.now();
  for (const auto& [subkey, item] : record.dictionary()->items()) {
    if (item.expiration <= now) continue;
    auto name = msgpack::decode(subkey);
    auto value = read(subkey, item);
    if (name && value) found.items.push_back({*std::move(name), *std::move(value), item.expiration});
  }
  if (found.items.empty()) return std::nullopt;
  return found;
}

/// What this node itself has of a key.
template <class State>
KeySearch search_at_home(State& self, const Wanted& wanted, WallTime now) {
  KeySearch search;
  if (const Record* const own = self.storage.find(wanted.key, now)) search.take(*own);
  if (const Record* const cached = wanted.use_cache ? self.cache.find(wanted.key, now) : nullptr) {
    search.take(*cached);
    search.replicas = std::max(search.replicas, wanted.replicas);  // it was joined when it was cached
  }
  return search;
}

/// What is known of each key without asking anybody: at home, and by the searches that run.
template <class State>
std::vector<std::optional<Found>> known_records(State& self, const std::vector<DHTID>& keys) {
  std::vector<std::optional<Found>> results;
  results.reserve(keys.size());
  for (const DHTID& key : keys) {
    KeySearch search = search_at_home(self, {key, {}, 1}, self.now());
    if (const auto* const running = self.searches.find(key)) {
      if (const auto& record = (*running->batch)[running->key].record) search.take(*record);
    }
    results.push_back(search.record ? decode(self, key, *search.record) : std::nullopt);
  }
  return results;
}

/// Looks at home, joins searches that run, and begins one for the rest.
template <class State>
std::shared_ptr<Reader> begin_get(const std::shared_ptr<State>& self, const std::vector<Wanted>& wanted,
                                  std::size_t num_workers) {
  const auto reader = new_shared<Reader>(self->net.executor(), wanted.size());
  const bool share = self->options.reuse_get_requests;
  const WallTime now = self->now();
  std::shared_ptr<SearchBatch> batch;
  for (std::size_t place = 0; place < wanted.size(); ++place) {
    const Wanted& want = wanted[place];
    const bool latest = want.sufficient == latest_time;
    KeySearch search = search_at_home(*self, want, now);
    if (search.enough(want.sufficient, want.replicas)) {
      if (want.use_cache) schedule_refresh(self, want.key, now);
      reader->records[place] = std::move(search.record);
      continue;
    }
    // what a search was told before somebody asked for the latest is not good enough for them
    const auto* running = share ? self->searches.find(want.key) : nullptr;
    if (running && latest && (!running->batch->latest() || running->batch->traversal)) running = nullptr;
    if (running) {
      const KeySearch& known = (*running->batch)[running->key];
      if (known.enough(want.sufficient, want.replicas)) {
        reader->records[place] = known.record;
      } else {
        running->batch->wait(running->key, reader, place, want);
      }
      continue;
    }
    if (!batch) {
      if (num_workers == 0) num_workers = latest ? self->options.num_workers : 1;
      batch = new_shared<SearchBatch>(self->net.executor(), latest, num_workers);
    }
    const std::size_t at = batch->add(want.key, std::move(search));
    batch->wait(at, reader, place, want);
    if (share) self->searches.add(want.key, {batch, at});
  }
  if (batch) self->children.spawn(find_records(self, std::move(batch)));
  return reader;
}

/// Waits for what was begun, at most until `deadline`; then what is known by then stands in the reader's records.
template <class State>
awaitable<void> await_records(std::shared_ptr<State> self, std::shared_ptr<Reader> reader, SteadyTime deadline) {
  struct Leave {
    ~Leave() { reader.leave(); }
    Reader& reader;
  } const leave{*reader};
  if (reader->is_pending()) co_await wait_until(self->net, reader->done, deadline);
  if (reader->interrupted) throw Error(errc::closed, "the DHT node was closed");
}

/// What the options of a call mean for each of its keys.
template <class State>
std::vector<Wanted> wants(State& self, const std::vector<DHTID>& keys, const GetOptions& options) {
  WallTime sufficient = std::max(self.now(), options.sufficient_expiration_time);
  if (options.latest) sufficient = latest_time;
  const std::size_t replicas = options.replicas > 0 ? options.replicas : self.majority();
  std::vector<Wanted> wanted;
  wanted.reserve(keys.size());
  for (const DHTID& key : keys) wanted.push_back({key, sufficient, replicas, options.use_cache});
  return wanted;
}

template <class State>
awaitable<std::vector<std::optional<Found>>> get_all(std::shared_ptr<State> self, std::vector<DHTID> keys,
                                                     GetOptions options) {
  const SteadyTime deadline = deadline_after(self->net.steady_now(), options.timeout);
  const auto reader = begin_get(self, wants(*self, keys, options), options.num_workers);
  co_await await_records(self, reader, deadline);
  std::vector<std::optional<Found>> results;
  results.reserve(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    results.push_back(reader->records[i] ? decode(*self, keys[i], *reader->records[i]) : std::nullopt);
  }
  co_return results;
}

template <class State>
awaitable<std::optional<Found>> get_one(std::shared_ptr<State> self, DHTID key, GetOptions options) {
  auto found = co_await get_all(std::move(self), std::vector{key}, options);
  co_return std::move(found.front());
}

}  // namespace skep::inline v0::dht::detail
