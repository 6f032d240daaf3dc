// search: lookups by find requests, the common part of reading, writing and looking around.
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/event.hpp"
#include "skep/core/remove_where.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/bootstrap.hpp"
#include "skep/dht/drive.hpp"
#include "skep/dht/key.hpp"
#include "skep/dht/local_node.hpp"
#include "skep/dht/options.hpp"
#include "skep/dht/record.hpp"
#include "skep/dht/traversal.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::dht::detail {

/// A traversal that starts at the nearest nodes of the routing table; without those that are banned, unless all are.
template <class State>
Traversal start_traversal(State& self, const std::vector<DHTID>& targets, std::size_t width, std::size_t parallelism) {
  TraversalOptions options;
  options.width = width;
  options.parallelism = parallelism;
  options.keys_per_request = std::clamp<std::size_t>(self.options.chunk_size, 1, State::max_find_keys);
  options.packing = self.options.num_replicas;
  options.disjoint_paths = self.options.disjoint_paths;
  Traversal traversal(targets, self.id, options);
  const SteadyTime now = self.net.steady_now();
  for (std::size_t key = 0; key < targets.size(); ++key) {
    auto nearest = self.table.nearest(targets[key], self.options.bucket_size);
    const auto banned = [&](const NodeEntry& node) { return self.blacklist.banned(node.contact, now); };
    if (!std::all_of(nearest.begin(), nearest.end(), banned)) remove_where(nearest, banned);
    traversal.add(key, nearest);
  }
  return traversal;
}

/// Runs it by find requests. `answered(key, node, answer)` is told what a node says about a key; it gives false when
/// the key needs no more nodes to ask.
/// @param news  as in `drive`
template <class State>
awaitable<void> run_finds(std::shared_ptr<State> self, Traversal& traversal, SteadyTime deadline,
                          std::function<bool(std::size_t, const NodeEntry&, FindAnswer&)> answered,
                          std::shared_ptr<Event> news) {
  const auto ask = [&](const Traversal::Request& request) {
    std::vector<DHTID> keys;
    keys.reserve(request.keys.size());
    for (const std::size_t key : request.keys) keys.push_back(traversal.target(key));
    return State::call_find(self, request.node, std::move(keys));
  };
  const auto settle = [&](const Traversal::Request& request, NodeAnswer& found) {
    const SteadyTime now = self->net.steady_now();
    for (std::size_t i = 0; i < request.keys.size(); ++i) {
      FindAnswer& answer = found.answers[i];
      const std::size_t key = request.keys[i];
      const bool goes_on = answered(key, request.node, answer);
      if (goes_on) {
        const auto known = [&](const DHTID& id) { return traversal.knows(key, id); };
        traversal.add(key, self->neighbours(answer.result, now, known), request.node);
      }
      traversal.renamed(key, request.node, found.from);
    }
  };
  co_await drive(self, traversal, deadline, ask, settle, std::move(news));
}

/// The nodes nearest to each of some ids.
template <class State>
awaitable<std::vector<std::vector<NodeEntry>>> search_many(std::shared_ptr<State> self, std::vector<DHTID> targets,
                                                           FindOptions options) {
  const SteadyTime deadline = deadline_after(self->net.steady_now(), options.timeout);
  co_await rejoin_if_alone(self, deadline);
  Traversal traversal = start_traversal(*self, targets, options.k_nearest, self->options.num_workers);
  co_await run_finds(
      self, traversal, deadline, [](std::size_t, const NodeEntry&, FindAnswer&) { return true; },
      std::make_shared<Event>(self->net.executor()));
  std::vector<std::vector<NodeEntry>> found;
  for (std::size_t key = 0; key < targets.size(); ++key) {
    auto& nearest = found.emplace_back(traversal.nearest(key, options.k_nearest));
    if (options.exclude_self || self->options.client_mode) continue;
    const DHTID& target = targets[key];
    const auto place = std::find_if(nearest.begin(), nearest.end(),
                                    [&](const NodeEntry& node) { return (self->id ^ target) < (node.id ^ target); });
    nearest.insert(place, {self->id, self->net.self()});
    nearest.resize(std::min(nearest.size(), options.k_nearest));
  }
  co_return found;
}

template <class State>
awaitable<std::vector<NodeEntry>> search_one(std::shared_ptr<State> self, DHTID target, FindOptions options) {
  auto found = co_await search_many(std::move(self), std::vector{target}, options);
  co_return std::move(found.front());
}

/// Greets one of the initial peers again: after a partition nobody else remembers the other side.
template <class State>
awaitable<void> greet_again(std::shared_ptr<State> self) {
  const auto& peers = self->options.initial_peers;
  if (peers.empty()) co_return;
  const p2p::PeerId peer = peers[self->net.random().below(peers.size())];
  try {
    (void)co_await State::call_ping(self, peer, false);
  } catch (const std::exception&) {  // it may be gone by now
    if (is_cancellation(std::current_exception())) throw;
  }
}

/// Searches the parts of the routing table that were silent for long and this node's own neighbourhood, which thereby
/// hears of it, over and over.
template <class State>
awaitable<void> refresh_buckets(std::shared_ptr<State> self, Duration period) {
  for (;;) {
    co_await self->net.sleep_until(deadline_after(self->net.steady_now(), period));
    co_await greet_again(self);
    auto targets = self->table.quiet(self->net.steady_now() - period, self->net.random());
    targets.push_back(self->id);
    FindOptions options;
    options.k_nearest = self->options.bucket_size;
    co_await search_many(self, std::move(targets), options);
  }
}

}  // namespace skep::inline v0::dht::detail
