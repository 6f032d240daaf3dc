// Node: a member of the DHT that stores, finds, and serves its share.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/event.hpp"
#include "skep/codec/msgpack.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/bootstrap.hpp"
#include "skep/dht/drive.hpp"
#include "skep/dht/key.hpp"
#include "skep/dht/options.hpp"
#include "skep/dht/protocol.hpp"
#include "skep/dht/record.hpp"
#include "skep/dht/traversal.hpp"
#include "skep/dht/validator.hpp"
#include "skep/p2p/network.hpp"

namespace skep::inline v0::p2p {
class Host;
}

namespace skep::inline v0::dht {

/// A node of Hivemind's DHT over any network.
///
/// *Lifetime:* a handle; copies are the same node. When the last one goes the node closes; calls that run keep what
/// they need. *Threads:* the network's executor only. *Cancellation:* every call may be cancelled; requests that it has
/// sent still teach the node what their answers say. *Errors:* calls throw errc::closed after `close`; that nodes of
/// the swarm fail is no error but shows in the result. *Time:* every call ends by its `timeout`.
template <p2p::Network N = p2p::Host, RecordValidator V = AcceptAll>
class Node {
  using State = Protocol<N, V>;
  using Pointer = std::shared_ptr<State>;

 public:
  /// Joins the swarm of `options.initial_peers`, or begins one of its own. Throws errc::unreachable when none of them
  /// answers (each is named with its reason), errc::refused when one cannot call back or its clock is wrong.
  [[nodiscard]] static awaitable<Node> create(N network, NodeOptions options = {}, V validator = {}) {
    auto state = std::make_shared<State>(std::move(network), std::move(options), std::move(validator));
    state->serve();
    Node node(state);
    if (!state->options.initial_peers.empty()) co_await join_swarm(state);
    co_return node;
  }

  /// Stores a regular value under a key at the `num_replicas` nearest nodes, this one included where it is near.
  [[nodiscard]] awaitable<StoreResult> store(msgpack::Value key, msgpack::Value value, WallTime expiration,
                                             StoreOptions options = {}) {
    return store_one(state(), {std::move(key), std::move(value), expiration, {}}, options);
  }
  /// Stores one item of the dictionary under a key. Items expire one by one; a subkey is any value but nil.
  [[nodiscard]] awaitable<StoreResult> store_subkey(msgpack::Value key, msgpack::Value subkey, msgpack::Value value,
                                                    WallTime expiration, StoreOptions options = {}) {
    return store_one(state(), {std::move(key), std::move(value), expiration, std::move(subkey)}, options);
  }
  /// Stores many items at once; items of one key share its search, keys share requests. Results in the items' order.
  [[nodiscard]] awaitable<std::vector<StoreResult>> store_many(std::vector<StoreItem> items,
                                                               StoreOptions options = {}) {
    return store_all(state(), std::move(items), options);
  }

  /// What is stored under a key, or nothing. A dictionary is joined from what the asked replicas hold.
  [[nodiscard]] awaitable<std::optional<Found>> get(msgpack::Value key, GetOptions options = {}) {
    return get_one(state(), key_id(key), options);
  }
  /// The same for many keys at once; results in the keys' order.
  [[nodiscard]] awaitable<std::vector<std::optional<Found>>> get_many(std::vector<std::string> keys,
                                                                      GetOptions options = {}) {
    std::vector<DHTID> ids;
    ids.reserve(keys.size());
    for (auto& key : keys) ids.push_back(key_id(std::move(key)));
    return get_all(state(), std::move(ids), options);
  }
  [[nodiscard]] awaitable<std::vector<std::optional<Found>>> get_many_by_id(std::vector<DHTID> keys,
                                                                            GetOptions options = {}) {
    return get_all(state(), std::move(keys), options);
  }

  /// The nodes nearest to an id, nearest first, this one included unless it is excluded or a client.
  [[nodiscard]] awaitable<std::vector<NodeEntry>> find_nearest(DHTID target, FindOptions options = {}) {
    return search(state(), target, options);
  }

  [[nodiscard]] const DHTID& id() const { return state_->protocol->id; }
  [[nodiscard]] p2p::PeerId peer_id() const { return state_->protocol->net.self(); }
  [[nodiscard]] bool client_mode() const { return state_->protocol->options.client_mode; }
  [[nodiscard]] const NodeOptions& options() const { return state_->protocol->options; }
  [[nodiscard]] N& network() const { return state_->protocol->net; }
  /// The wall clock by which records expire.
  [[nodiscard]] WallTime now() const { return state_->protocol->net.wall_now(); }
  /// How many nodes the routing table holds, and records of others this node.
  [[nodiscard]] std::size_t peer_count() const { return state_->protocol->table.size(); }
  [[nodiscard]] std::size_t record_count() const { return state_->protocol->storage.size(); }
  /// The calls and tables beneath; for tests and for tools that look into a swarm.
  [[nodiscard]] State& protocol() const { return *state_->protocol; }

  /// Stops serving and ends what runs in the background. Idempotent; does not wait.
  void close() { state_->protocol->close(); }
  /// Completes when the background has ended; call `close` before.
  [[nodiscard]] awaitable<void> join() { return join_children(state_->protocol); }

 private:
  struct Owner {  // what the handles share
    explicit Owner(Pointer p) : protocol(std::move(p)) {}
    Owner(const Owner&) = delete;
    Owner& operator=(const Owner&) = delete;
    ~Owner() { protocol->close(); }
    Pointer protocol;
  };

  explicit Node(Pointer protocol) : state_(std::make_shared<Owner>(std::move(protocol))) {}

  Pointer state() const {
    if (state_->protocol->closed) throw Error(errc::closed, "the DHT node is closed");
    return state_->protocol;
  }

  static awaitable<void> join_children(Pointer self) { co_await self->children.join(); }

  static awaitable<void> join_swarm(Pointer self) {
    const SteadyTime start = self->net.steady_now();
    const SteadyTime deadline = deadline_after(start, self->options.bootstrap_timeout);
    co_await detail::greet_all(self, start, deadline);
    const auto known = std::make_shared<Event>(self->net.executor());
    self->children.spawn(look_around(self, known));  // goes on when the time to wait for it is over
    co_await detail::wait_until(self->net, *known, deadline);
  }
  static awaitable<void> look_around(Pointer self, std::shared_ptr<Event> done) {
    FindOptions options;
    options.k_nearest = self->options.bucket_size;
    co_await search(self, self->id, options);
    done->set();
  }

  /// A traversal that starts at the nearest nodes of the routing table, without those that are banned.
  static Traversal start(State& self, const std::vector<DHTID>& targets, std::size_t width, std::size_t parallelism) {
    TraversalOptions options;
    options.width = width;
    options.parallelism = parallelism;
    options.keys_per_request = self.options.chunk_size;
    options.packing = self.options.num_replicas;
    Traversal traversal(targets, self.id, options);
    for (std::size_t key = 0; key < targets.size(); ++key) {
      auto nearest = self.table.nearest(targets[key], self.options.bucket_size);
      std::erase_if(nearest, [&](const NodeEntry& node) { return self.banned(node.contact); });
      traversal.add(key, nearest);
    }
    return traversal;
  }

  /// Runs it by find requests; `found(key, record)` is called for each record that an answer holds.
  static awaitable<void> find(Pointer self, Traversal& traversal, SteadyTime deadline,
                              std::function<void(std::size_t, Record)> found) {
    const auto ask = [&](const Traversal::Request& request) {
      std::vector<DHTID> keys;
      for (const std::size_t key : request.keys) keys.push_back(traversal.target(key));
      return State::call_find(self, request.node, std::move(keys));
    };
    const auto settle = [&](const Traversal::Request& request, std::vector<FindAnswer> answers) {
      for (std::size_t i = 0; i < request.keys.size(); ++i) {
        traversal.add(request.keys[i], answers[i].nearest);
        if (answers[i].record) found(request.keys[i], *std::move(answers[i].record));
      }
    };
    co_await detail::drive<std::vector<FindAnswer>>(self, traversal, deadline, ask, settle);
  }

  static awaitable<std::vector<NodeEntry>> search(Pointer self, DHTID target, FindOptions options) {
    Traversal traversal = start(*self, {target}, options.k_nearest, self->options.num_workers);
    const SteadyTime deadline = deadline_after(self->net.steady_now(), options.timeout);
    co_await find(self, traversal, deadline, [](std::size_t, Record) {});
    auto nearest = traversal.nearest(0, options.k_nearest);
    if (!options.exclude_self && !self->options.client_mode) {
      const auto place = std::find_if(nearest.begin(), nearest.end(),
                                      [&](const NodeEntry& node) { return (self->id ^ target) < (node.id ^ target); });
      nearest.insert(place, {self->id, self->net.self()});
      nearest.resize(std::min(nearest.size(), options.k_nearest));
    }
    co_return nearest;
  }

  // ---- get

  static awaitable<std::optional<Found>> get_one(Pointer self, DHTID key, GetOptions options) {
    auto found = co_await get_all(std::move(self), std::vector{key}, options);
    co_return std::move(found.front());
  }

  static awaitable<std::vector<std::optional<Found>>> get_all(Pointer self, std::vector<DHTID> keys,
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
    const std::size_t quorum = self->options.num_replicas / 2 + 1;
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

    const WallTime now = self->net.wall_now();
    const std::size_t parallelism = options.latest ? self->options.num_workers : 1;
    Traversal traversal = start(*self, targets, self->options.search_width, parallelism);
    for (std::size_t key = 0; key < targets.size(); ++key) {
      if (const Record* const own = self->storage.find(targets[key], now)) take(key, *own);
      if (const Record* const cached = self->cache.find(targets[key], now)) {
        take(key, *cached);
        seen[key].replicas = quorum;  // it was joined when it was cached
      }
      if (enough(key)) traversal.finish(key);
    }
    co_await find(self, traversal, deadline_after(self->net.steady_now(), options.timeout),
                  [&](std::size_t key, Record record) {
                    take(key, std::move(record));
                    seen[key].from_network = true;
                    if (enough(key)) {
                      traversal.finish(key);
                    } else if (!options.latest) {
                      traversal.widen(key, quorum - seen[key].replicas);
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

  static void remember(State& self, const DHTID& key, const Record& record) {
    const WallTime now = self.net.wall_now();
    if (const Item* const item = record.value()) {
      const Record* const own = self.storage.find(key, now);
      if (!own || own->expiration() < item->expiration) self.cache.store(key, *item, now);
    } else {
      self.cache.store(key, *record.dictionary(), now);
    }
  }

  /// The record as its user stored it; nothing when its bytes are no values.
  static std::optional<Found> decode(State& self, const DHTID& key, const Record& record) {
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

  // ---- store

  static awaitable<StoreResult> store_one(Pointer self, StoreItem item, StoreOptions options) {
    std::vector<StoreItem> items;
    items.push_back(std::move(item));
    const auto results = co_await store_all(std::move(self), std::move(items), options);
    co_return results.front();
  }

  static awaitable<std::vector<StoreResult>> store_all(Pointer self, std::vector<StoreItem> items,
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

    // First who the nearest nodes are, for all keys together, then the records to all of them.
    const SteadyTime deadline = deadline_after(self->net.steady_now(), options.timeout);
    const std::size_t replicas = self->options.num_replicas;
    Traversal lookup = start(*self, targets, replicas, self->options.num_workers);
    co_await find(self, lookup, deadline, [](std::size_t, Record) {});

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
    co_await detail::drive<std::vector<bool>>(self, placement, deadline, ask, settle);

    for (std::size_t key = 0; key < targets.size(); ++key) {
      for (const std::size_t item : items_of[key]) {
        results[item].failed = missing[key];
        cache_stored(*self, entries[item], results[item]);
      }
    }
    co_return results;
  }

  static StoreEntry entry_of(State& self, const StoreItem& item) {
    StoreEntry entry{key_id(item.key), item.subkey ? msgpack::encode(*item.subkey) : regular_tag(),
                     msgpack::encode(item.value), item.expiration};
    if (item.subkey && item.subkey->is_nil())
      throw Error(errc::invalid_argument, "nil cannot be a subkey of a DHT record");
    entry.value = self.validator.sign({entry.key, entry.tag, entry.value, entry.expiration});
    return entry;
  }

  /// Gives records to a node, in as many requests as their size takes; or keeps them, if the node is this one.
  static awaitable<std::optional<std::vector<bool>>> give(Pointer self, NodeEntry node,
                                                          std::vector<StoreEntry> records) {
    std::vector<bool> kept;
    if (node.id == self->id) {
      for (const auto& record : records) kept.push_back(self->keep(record, false));
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
  static void cache_stored(State& self, const StoreEntry& entry, const StoreResult& result) {
    const WallTime now = self.net.wall_now();
    const Record* const cached = self.cache.find(entry.key, now);
    const bool regular = entry.tag == regular_tag();
    if (!result) {
      if (cached && regular && cached->expiration() <= entry.expiration) self.cache.erase(entry.key);
    } else if (regular ? self.options.cache_locally : cached != nullptr) {
      self.keep(entry, true);
    }
  }

  static constexpr std::size_t max_keys_per_store = 256;

  std::shared_ptr<Owner> state_;
};

}  // namespace skep::inline v0::dht
