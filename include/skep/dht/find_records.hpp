// find_records: carries out a batch of searches for records, and lets the neighbourhood profit from what was found.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/bootstrap.hpp"
#include "skep/dht/give.hpp"
#include "skep/dht/local_node.hpp"
#include "skep/dht/record.hpp"
#include "skep/dht/search.hpp"
#include "skep/dht/searches.hpp"
#include "skep/dht/traversal.hpp"

namespace skep::inline v0::dht::detail {

/// Keeps what the swarm knows in the local cache, unless it is here anyway.
template <class State>
void remember(State& self, const DHTID& key, const Record& record) {
  const WallTime now = self.now();
  if (const Item* const item = record.value()) {
    const Record* const own = self.storage.find(key, now);
    if (!own || own->expiration() < item->expiration) self.cache.store(key, *item, now);
  } else {
    self.cache.store(key, *record.dictionary(), now);
  }
}

template <class State>
awaitable<void> give_to_cache(std::shared_ptr<State> self, NodeEntry node, std::vector<StoreEntry> entries) {
  const auto turn = co_await State::turn(self);
  (void)co_await give(std::move(self), std::move(node), std::move(entries), true);
}

/// Gives found records to near nodes that did not have them, so that the next reader need not go so far.
template <class State>
void spread(const std::shared_ptr<State>& self, SearchBatch& batch) {
  struct Gift {
    NodeEntry to;
    std::vector<StoreEntry> records;
  };
  std::vector<Gift> gifts;
  std::map<DHTID, std::size_t> gift_of;  // by node
  const WallTime now = self->now();
  for (std::size_t key = 0; key < batch.size(); ++key) {
    KeySearch& search = batch[key];
    if (!search.from_network || search.lacking.empty()) continue;
    const DHTID& target = batch.targets()[key];
    const std::size_t count = std::min(self->options.cache_nearest, search.lacking.size());
    const auto nearer = [&](const NodeEntry& a, const NodeEntry& b) { return (a.id ^ target) < (b.id ^ target); };
    auto next = search.lacking.begin();
    for (std::size_t i = 0; i < count; ++i, ++next) {  // the nearest few of a few
      std::iter_swap(next, std::min_element(next, search.lacking.end(), nearer));
      auto entry = as_entry(target, *search.record, now);
      if (entry.value.size() > State::answer_budget) break;  // joined of many replicas: no request takes it
      std::size_t at = gift_of.emplace(next->id, gifts.size()).first->second;
      if (at < gifts.size() && gifts[at].to != *next) at = gifts.size();  // somebody else under the same id
      if (at == gifts.size()) gifts.push_back({*next, {}});
      gifts[at].records.push_back(std::move(entry));
    }
  }
  for (Gift& gift : gifts) self->children.spawn(give_to_cache(self, std::move(gift.to), std::move(gift.records)));
}

/// Carries out a batch of searches: a regular value ends a key's search, a dictionary is joined from as many replicas
/// as its readers want, and who wants the latest gets what all the nearest nodes know.
template <class State>
awaitable<void> find_records(std::shared_ptr<State> self, std::shared_ptr<SearchBatch> batch) {
  struct End {  // whatever happens, nobody waits for ever
    ~End() {
      state.searches.remove(batch);
      batch.interrupt();
    }
    State& state;
    SearchBatch& batch;
  } const end{*self, *batch};

  co_await rejoin_if_alone(self);
  batch->traversal = start_traversal(*self, batch->targets(), self->options.search_width, batch->parallelism());
  for (std::size_t key = 0; key < batch->size(); ++key) {
    if ((*batch)[key].over) batch->traversal->finish(key);
  }
  const auto close = [&](std::size_t key, bool complete) {
    KeySearch& search = (*batch)[key];
    if (search.from_network && complete && self->options.cache_locally) {
      remember(*self, batch->targets()[key], *search.record);
    }
    batch->finish(key);
  };
  const auto answered = [&](std::size_t key, const NodeEntry& node, FindAnswer& answer) {
    KeySearch& search = (*batch)[key];
    if (search.over) return false;
    if (!answer.record) {
      search.lacking.push_back(node);
      return true;
    }
    search.from_network = search.take(*std::move(answer.record)) || search.from_network;
    if (!batch->serve(key)) {
      close(key, search.enough({}, self->majority()));  // what is cached counts as joined
      return false;
    }
    if (!batch->latest()) batch->traversal->widen(key, std::max(batch->parallelism(), search.missing_replicas()));
    return true;
  };
  co_await run_finds(self, *batch->traversal, SteadyTime::max(), answered, batch->news());
  for (std::size_t key = 0; key < batch->size(); ++key) {
    if (!(*batch)[key].over) close(key, true);
  }
  if (self->options.cache_nearest > 0) spread(self, *batch);
}

}  // namespace skep::inline v0::dht::detail
