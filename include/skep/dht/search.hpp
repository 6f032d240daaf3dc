// search: lookups by find requests, the common part of reading, writing and looking around.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/bootstrap.hpp"
#include "skep/dht/drive.hpp"
#include "skep/dht/key.hpp"
#include "skep/dht/local_node.hpp"
#include "skep/dht/options.hpp"
#include "skep/dht/record.hpp"
#include "skep/dht/traversal.hpp"

namespace skep::inline v0::dht::detail {

/// A traversal that starts at the nearest nodes of the routing table; without those that are banned, unless all are.
template <class State>
Traversal start_traversal(State& self, const std::vector<DHTID>& targets, std::size_t width, std::size_t parallelism) {
  TraversalOptions options;
  options.width = width;
  options.parallelism = parallelism;
  options.keys_per_request = self.options.chunk_size;
  options.packing = self.options.num_replicas;
  options.disjoint_paths = self.options.disjoint_paths;
  Traversal traversal(targets, self.id, options);
  for (std::size_t key = 0; key < targets.size(); ++key) {
    auto nearest = self.table.nearest(targets[key], self.options.bucket_size);
    const auto banned = [&](const NodeEntry& node) { return self.banned(node.contact); };
    if (!std::all_of(nearest.begin(), nearest.end(), banned)) std::erase_if(nearest, banned);
    traversal.add(key, nearest);
  }
  return traversal;
}

/// Runs it by find requests; `found(key, record)` is called for each record that an answer holds.
template <class State>
awaitable<void> run_finds(std::shared_ptr<State> self, Traversal& traversal, SteadyTime deadline,
                          std::function<void(std::size_t, Record)> found) {
  const auto ask = [&](const Traversal::Request& request) {
    std::vector<DHTID> keys;
    // NOLINTNEXTLINE(performance-inefficient-vector-operation)
    for (const std::size_t key : request.keys) keys.push_back(traversal.target(key));
    return State::call_find(self, request.node, std::move(keys));
  };
  const auto settle = [&](const Traversal::Request& request, std::vector<FindAnswer> answers) {
    for (std::size_t i = 0; i < request.keys.size(); ++i) {
      traversal.add(request.keys[i], answers[i].nearest, request.node.id);
      traversal.renamed(request.keys[i], request.node.id, answers[i].from);
      if (answers[i].record) found(request.keys[i], *std::move(answers[i].record));
    }
  };
  co_await drive<std::vector<FindAnswer>>(self, traversal, deadline, ask, settle);
}

/// The nodes nearest to an id.
template <class State>
awaitable<std::vector<NodeEntry>> search(std::shared_ptr<State> self, DHTID target, FindOptions options) {
  co_await rejoin_if_alone(self);
  Traversal traversal = start_traversal(*self, {target}, options.k_nearest, self->options.num_workers);
  const SteadyTime deadline = deadline_after(self->net.steady_now(), options.timeout);
  co_await run_finds(self, traversal, deadline, [](std::size_t, Record) {});
  auto nearest = traversal.nearest(0, options.k_nearest);
  if (!options.exclude_self && !self->options.client_mode) {
    const auto place = std::find_if(nearest.begin(), nearest.end(),
                                    [&](const NodeEntry& node) { return (self->id ^ target) < (node.id ^ target); });
    nearest.insert(place, {self->id, self->net.self()});
    nearest.resize(std::min(nearest.size(), options.k_nearest));
  }
  co_return nearest;
}

}  // namespace skep::inline v0::dht::detail
