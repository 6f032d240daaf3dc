// A walk through a whole swarm, from node to node by the neighbours that each names.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/scope.hpp"
#include "skep/cli/dht_graph.hpp"
#include "skep/codec/dht_messages.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/key.hpp"
#include "skep/dht/traversal.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::cli {

/// What a crawl came to.
struct Crawl {
  std::vector<CrawledNode> nodes;  ///< those that were asked, by their ids
  std::size_t not_asked = 0;       ///< others that were named, when the limit of nodes or of time ended the walk
};

/// Whom a crawl has still to ask. Pure.
class CrawlFrontier {
 public:
  explicit CrawlFrontier(std::size_t max_nodes) : max_nodes_(max_nodes) {}

  void found(const dht::NodeEntry& node) {
    if (known_.contains(node.id)) return;
    if (known_.size() < max_nodes_) {
      known_.insert(node.id);
      waiting_.push_back(node);
    } else if (left_out_.size() < most_left_out) {
      left_out_.insert(node.id);
    }
  }
  /// Up to `count` nodes that were not taken before.
  [[nodiscard]] std::vector<dht::NodeEntry> take(std::size_t count) {
    std::vector<dht::NodeEntry> out;
    while (out.size() < count && !waiting_.empty()) {
      out.push_back(std::move(waiting_.front()));
      waiting_.pop_front();
    }
    return out;
  }
  [[nodiscard]] std::size_t known() const noexcept { return known_.size(); }
  /// How many nodes were named and not taken; above the limit of nodes counted up to 100,000.
  [[nodiscard]] std::size_t not_taken() const noexcept { return waiting_.size() + left_out_.size(); }

 private:
  static constexpr std::size_t most_left_out = 100'000;  // a liar names as many as he likes

  std::size_t max_nodes_;
  std::set<dht::DHTID> known_;
  std::set<dht::DHTID> left_out_;
  std::deque<dht::NodeEntry> waiting_;
};

namespace detail {

/// The ids to ask a node about: its own, and one in each of its larger buckets, so that it names nodes from everywhere.
[[nodiscard]] inline std::vector<dht::DHTID> crawl_targets(const dht::DHTID& node, std::size_t buckets = 15) {
  std::vector<dht::DHTID> out{node};
  for (std::size_t bit = 0; bit < buckets; ++bit) {
    Bytes bytes = to_bytes(node.bytes());
    bytes[bit / 8] ^= static_cast<std::uint8_t>(0x80 >> bit % 8);
    out.push_back(*dht::DHTID::from_bytes(bytes));
  }
  return out;
}

/// The nodes that an answer names, those that can be read.
[[nodiscard]] inline std::vector<dht::NodeEntry> neighbours_in(const codec::FindResult& result) {
  std::vector<dht::NodeEntry> out;
  for (std::size_t i = 0; i < std::min(result.nearest_node_ids.size(), result.nearest_peer_ids.size()); ++i) {
    const auto id = dht::DHTID::from_bytes(result.nearest_node_ids[i]);
    auto peer = p2p::PeerId::from_bytes(result.nearest_peer_ids[i]);
    if (id && peer) out.push_back({*id, *std::move(peer)});
  }
  return out;
}

/// What the visits of a crawl share.
struct CrawlState {
  CrawlFrontier frontier;
  std::vector<CrawledNode> nodes = {};
};

/// Asks one node; what it names goes to the frontier.
template <class Node>
awaitable<void> visit(Node node, dht::NodeEntry whom, Duration limit, std::shared_ptr<CrawlState> state) {
  auto& network = node.network();
  CrawledNode seen{.id = whom.id, .peer = whom.contact.to_string()};
  try {
    (void)co_await network.ping(whom.contact, {.timeout = limit});  // connects
    const Duration round_trip = co_await network.ping(whom.contact, {.timeout = limit});
    codec::FindRequest request;
    for (const auto& target : crawl_targets(whom.id)) request.keys.push_back(to_bytes(target.bytes()));
    const Bytes bytes =
        co_await network.call(whom.contact, "DHTProtocol.rpc_find", request.encode(), {.timeout = limit});
    const auto answer = codec::FindResponse::decode(bytes);
    if (!answer) throw Error(answer.error(), "it answers a search with bytes that are no FindResponse");
    seen.latency = round_trip;
    for (const auto& result : answer->results) {
      const auto named = neighbours_in(result);
      for (const auto& found : named) state->frontier.found(found);
      if (&result != &answer->results.front()) continue;
      for (const auto& near : named) seen.neighbours.push_back(near.id);
    }
  } catch (const std::exception& error) {
    if (is_cancellation(std::current_exception())) throw;
    seen.failure = error.what();
  }
  seen.agent = printable(network.agent(whom.contact), 128);
  for (const auto& address : network.addresses(whom.contact)) seen.addresses.push_back(address.to_string());
  state->nodes.push_back(std::move(seen));
}

}  // namespace detail

/// Asks every node of the swarm that `node` is in for the nodes it knows, until none is new, the limit of nodes is
/// reached or the time is over.
template <class Node>
[[nodiscard]] awaitable<Crawl> walk_swarm(Node node, std::size_t max_nodes, std::size_t parallel, Duration limit) {
  auto& network = node.network();
  const SteadyTime deadline = deadline_after(network.steady_now(), limit);
  const auto state = std::make_shared<detail::CrawlState>(detail::CrawlState{CrawlFrontier(max_nodes)});
  node.protocol().table.visit_nearest(node.id(), [&](const dht::NodeEntry& known) {
    state->frontier.found(known);
    return true;
  });
  for (;;) {
    const Duration left = deadline - network.steady_now();
    if (left <= Duration::zero()) break;
    auto next = state->frontier.take(parallel);
    if (next.empty()) break;
    Scope visits(network.executor(), "crawl");
    for (auto& whom : next) visits.spawn(detail::visit(node, std::move(whom), std::min<Duration>(left, 5s), state));
    co_await visits.join();
  }
  Crawl crawl{std::move(state->nodes), state->frontier.not_taken()};
  std::sort(crawl.nodes.begin(), crawl.nodes.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  co_return crawl;
}

}  // namespace skep::inline v0::cli
