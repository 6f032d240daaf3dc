// Traversal: the lookups of many keys at once, packed into few requests.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "skep/core/remove_where.hpp"
#include "skep/dht/key.hpp"
#include "skep/kademlia/disjoint_lookup.hpp"
#include "skep/kademlia/lookup.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::dht {

/// A node of the DHT: its id, which it chose itself, and the peer behind it.
using NodeEntry = kademlia::Entry<DHTID, p2p::PeerId>;

struct TraversalOptions {
  std::size_t width = 5;              ///< a key's search ends when so many of its nearest nodes have answered
  std::size_t parallelism = 4;        ///< requests in flight for one key, slow ones not counted
  std::size_t keys_per_request = 16;  ///< most keys in one request
  std::size_t packing = 5;            ///< among how many of its nearest candidates a key looks for company
  std::size_t max_requests = 256;     ///< for one key
  std::size_t disjoint_paths = 1;     ///< searches for one key that share no node, each `width` wide
};

/// Searches many keys at once. Pure: `next` names requests, their fate comes back. A node that is a good candidate for
/// several keys is asked for all of them in one request (a greedy set cover), so many keys cost few messages. With
/// disjoint paths every key has several searches; a liar on one of them cannot end the others.
class Traversal {
 public:
  struct Request {
    NodeEntry node;
    std::vector<std::size_t> keys;  ///< indices into the targets
  };

  /// @param self  never asked; nothing if this node is itself a candidate
  Traversal(const std::vector<DHTID>& targets, const std::optional<DHTID>& self, TraversalOptions options = {})
      : options_(options), done_(targets.size(), 0) {
    lookups_.reserve(targets.size());
    for (const DHTID& target : targets) {
      lookups_.emplace_back(target, self, options.disjoint_paths,
                            kademlia::NearestAnswered{options.width, options.parallelism, options.max_requests});
    }
  }

  [[nodiscard]] std::size_t size() const noexcept { return lookups_.size(); }
  [[nodiscard]] const DHTID& target(std::size_t key) const noexcept { return lookups_[key].target(); }

  /// Adds candidates for a key from the own routing table.
  void add(std::size_t key, std::span<const NodeEntry> nodes) { lookups_[key].add(nodes); }
  /// Adds what an answer named.
  void add(std::size_t key, std::span<const NodeEntry> nodes, const NodeEntry& named_by) {
    lookups_[key].add(nodes, named_by);
  }

  /// Whether naming a node for a key would change nothing.
  [[nodiscard]] bool knows(std::size_t key, const DHTID& node) const { return lookups_[key].knows(node); }

  /// The requests to send now, counted as in flight.
  [[nodiscard]] std::vector<Request> next() {
    std::vector<Request> requests;
    if (std::count(done_.begin(), done_.end(), 0) == 1) {  // nobody to share with
      const auto key = static_cast<std::size_t>(std::find(done_.begin(), done_.end(), 0) - done_.begin());
      while (auto node = lookups_[key].next()) requests.push_back({*std::move(node), {key}});
      return requests;
    }
    std::vector<Offer> offers;
    std::map<DHTID, std::size_t> offer_of;                    // by node
    std::vector<std::vector<std::size_t>> offers_to(size());  // by key
    std::vector<std::size_t> room(size(), 0);
    for (std::size_t key = 0; key < size(); ++key) {
      if (done_[key] != 0) continue;
      room[key] = lookups_[key].room();
      const auto choices = lookups_[key].choices(std::max(options_.packing, room[key]));
      for (std::size_t rank = 0; rank < choices.size(); ++rank) {
        std::size_t at = offer_of.emplace(choices[rank]->id, offers.size()).first->second;
        while (at < offers.size() && offers[at].node != *choices[rank]) {  // one of them is a liar
          if (offers[at].same_id == 0) offers[at].same_id = offers.size();
          at = offers[at].same_id;
        }
        if (at == offers.size()) offers.push_back({*choices[rank], {}, rank});
        Offer& offer = offers[at];
        offer.rank = std::min(offer.rank, rank);
        offer.keys.push_back(key);
        offers_to[key].push_back(at);
      }
    }
    for (;;) {
      const auto best = std::max_element(offers.begin(), offers.end(), [](const Offer& a, const Offer& b) {
        if (a.keys.size() != b.keys.size()) return a.keys.size() < b.keys.size();
        return a.rank != b.rank ? a.rank > b.rank : b.node.id < a.node.id;
      });
      if (best == offers.end() || best->keys.empty()) return requests;
      Request request{best->node, {}};
      auto keys = best->keys;
      keys.resize(std::min(keys.size(), options_.keys_per_request));
      for (const std::size_t key : keys) {
        withdraw(*best, key);
        if (!lookups_[key].ask(request.node)) continue;  // it has just been asked under another id
        request.keys.push_back(key);
        if (--room[key] > 0) continue;
        for (const std::size_t offer : offers_to[key]) withdraw(offers[offer], key);
      }
      if (!request.keys.empty()) requests.push_back(std::move(request));
    }
  }

  /// A request was answered; `add` what the answer named.
  void answered(const Request& request) {
    for (const std::size_t key : request.keys) lookups_[key].answered(request.node);
  }
  /// For a key, the id under which a node has answered, if it is not the one under which others name it.
  void renamed(std::size_t key, const NodeEntry& node, const std::optional<DHTID>& as) {
    lookups_[key].renamed(node, as);
  }
  void failed(const Request& request) {
    for (const std::size_t key : request.keys) lookups_[key].failed(request.node);
  }
  /// A request takes longer than most: others are asked beside it.
  void hedge(const Request& request) {
    for (const std::size_t key : request.keys) lookups_[key].hedge(request.node);
  }
  /// A request takes longer than usual: the search may end without it.
  void slow(const Request& request) {
    for (const std::size_t key : request.keys) lookups_[key].slow(request.node);
  }

  /// A key needs no more answers.
  void finish(std::size_t key) { done_[key] = 1; }
  /// Asks more nodes at once for a key.
  void widen(std::size_t key, std::size_t parallelism) { lookups_[key].set_parallelism(parallelism); }

  /// Nothing is left to ask or worth waiting for.
  [[nodiscard]] bool finished() {
    for (std::size_t key = 0; key < size(); ++key) {
      if (done_[key] == 0 && !lookups_[key].finished()) return false;
      done_[key] = 1;
    }
    return true;
  }
  [[nodiscard]] bool finished(std::size_t key) const { return done_[key] != 0 || lookups_[key].finished(); }

  /// The nearest nodes that have not failed, nearest first.
  [[nodiscard]] std::vector<NodeEntry> nearest(std::size_t key, std::size_t count) const {
    return lookups_[key].nearest(count);
  }
  [[nodiscard]] std::size_t requests(std::size_t key) const noexcept { return lookups_[key].requests(); }

 private:
  struct Offer {
    NodeEntry node;
    std::vector<std::size_t> keys;  // that could ask it
    std::size_t rank;               // how near it is at best
    std::size_t same_id = 0;        // the next offer under its id, with another contact; 0: none
  };
  static void withdraw(Offer& offer, std::size_t key) {
    remove_where(offer.keys, [key](std::size_t other) { return other == key; });
  }

  TraversalOptions options_;
  std::vector<kademlia::DisjointLookup<DHTID, p2p::PeerId>> lookups_;
  std::vector<std::uint8_t> done_;  // by key
};

}  // namespace skep::inline v0::dht
