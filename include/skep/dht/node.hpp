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
#include "skep/core/new_shared.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/bootstrap.hpp"
#include "skep/dht/drive.hpp"
#include "skep/dht/get.hpp"
#include "skep/dht/key.hpp"
#include "skep/dht/options.hpp"
#include "skep/dht/pending_get.hpp"
#include "skep/dht/protocol.hpp"
#include "skep/dht/search.hpp"
#include "skep/dht/store.hpp"
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
    auto state = new_shared<State>(std::move(network), std::move(options), std::move(validator));
    state->serve();
    Node node(state);
    if (!state->options.initial_peers.empty()) co_await join_swarm(state);
    if (const auto period = state->options.refresh_timeout)
      state->children.spawn(detail::refresh_buckets(state, *period));
    co_return node;
  }

  /// Stores a regular value under a key at the `num_replicas` nearest nodes, this one included where it is near.
  [[nodiscard]] awaitable<StoreResult> store(msgpack::Value key, msgpack::Value value, WallTime expiration,
                                             StoreOptions options = {}) {
    return detail::store_one(state(), {std::move(key), std::move(value), expiration, {}}, options);
  }
  /// Stores one item of the dictionary under a key. Items expire one by one; a subkey is any value but nil.
  [[nodiscard]] awaitable<StoreResult> store_subkey(msgpack::Value key, msgpack::Value subkey, msgpack::Value value,
                                                    WallTime expiration, StoreOptions options = {}) {
    return detail::store_one(state(), {std::move(key), std::move(value), expiration, std::move(subkey)}, options);
  }
  /// Stores many items at once; items of one key share its search, keys share requests. Results in the items' order.
  [[nodiscard]] awaitable<std::vector<StoreResult>> store_many(std::vector<StoreItem> items,
                                                               StoreOptions options = {}) {
    return detail::store_all(state(), std::move(items), options);
  }

  /// What is stored under a key, or nothing. A dictionary is joined from what the asked replicas hold.
  [[nodiscard]] awaitable<std::optional<Found>> get(msgpack::Value key, GetOptions options = {}) {
    return detail::get_one(state(), key_id(key), options);
  }
  /// The same for many keys at once; results in the keys' order.
  [[nodiscard]] awaitable<std::vector<std::optional<Found>>> get_many(std::vector<std::string> keys,
                                                                      GetOptions options = {}) {
    std::vector<DHTID> ids;
    ids.reserve(keys.size());
    for (auto& key : keys) ids.push_back(key_id(std::move(key)));
    return detail::get_all(state(), std::move(ids), options);
  }
  [[nodiscard]] awaitable<std::vector<std::optional<Found>>> get_many_by_id(std::vector<DHTID> keys,
                                                                            GetOptions options = {}) {
    return detail::get_all(state(), std::move(keys), options);
  }

  /// What this node knows of these keys without asking anybody: records that it holds or remembers, and what gets that
  /// run have found so far. Results in the keys' order.
  [[nodiscard]] std::vector<std::optional<Found>> get_known(const std::vector<std::string>& keys) const {
    std::vector<DHTID> ids;
    ids.reserve(keys.size());
    for (const auto& key : keys) ids.push_back(key_id(key));
    return detail::known_records(*state(), ids);
  }

  /// Gets that run beside each other, one for each key, each of which can be given up without the others.
  [[nodiscard]] std::vector<PendingGet<State>> get_many_futures(std::vector<std::string> keys,
                                                                GetOptions options = {}) {
    std::vector<PendingGet<State>> pending;
    for (auto& key : keys) pending.emplace_back(state(), key_id(std::move(key)), options);
    return pending;
  }

  /// The nodes nearest to an id, nearest first, this one included unless it is excluded or a client.
  [[nodiscard]] awaitable<std::vector<NodeEntry>> find_nearest(DHTID target, FindOptions options = {}) const {
    return detail::search_one(state(), target, options);
  }
  /// The same for many ids at once; results in their order.
  [[nodiscard]] awaitable<std::vector<std::vector<NodeEntry>>> find_nearest_nodes(std::vector<DHTID> queries,
                                                                                  FindOptions options = {}) const {
    return detail::search_many(state(), std::move(queries), options);
  }

  [[nodiscard]] const DHTID& id() const { return state_->protocol->id; }
  [[nodiscard]] p2p::PeerId peer_id() const { return state_->protocol->net.self(); }
  [[nodiscard]] bool client_mode() const { return state_->protocol->options.client_mode; }
  [[nodiscard]] const NodeOptions& options() const { return state_->protocol->options; }
  [[nodiscard]] N& network() const { return state_->protocol->net; }
  /// The wall clock by which records expire.
  [[nodiscard]] WallTime now() const { return state_->protocol->now(); }
  /// How many nodes the routing table holds, and records of others this node.
  [[nodiscard]] std::size_t peer_count() const { return state_->protocol->table.size(); }
  [[nodiscard]] std::size_t record_count() const { return state_->protocol->storage.size(); }
  /// The calls and tables beneath; for tests and for tools that look into a swarm.
  [[nodiscard]] State& protocol() const { return *state_->protocol; }

  /// Runs a coroutine in the background until it ends or the node is closed.
  void spawn(awaitable<void> work) { state()->children.spawn(std::move(work)); }
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

  explicit Node(Pointer protocol) : state_(new_shared<Owner>(std::move(protocol))) {}

  Pointer state() const {
    if (state_->protocol->closed) throw Error(errc::closed, "the DHT node is closed");
    return state_->protocol;
  }

  static awaitable<void> join_children(Pointer self) { co_await self->children.join(); }

  static awaitable<void> join_swarm(Pointer self) {
    const SteadyTime start = self->net.steady_now();
    const SteadyTime deadline =
        deadline_after(start, self->options.bootstrap_timeout.value_or(self->options.wait_timeout));
    co_await detail::greet_all(self, start, deadline);
    const auto known = std::make_shared<Event>(self->net.executor());
    self->children.spawn(look_around(self, known));  // goes on when the time to wait for it is over
    co_await detail::wait_until(self->net, *known, deadline);
  }
  static awaitable<void> look_around(Pointer self, std::shared_ptr<Event> done) {
    FindOptions options;
    options.k_nearest = self->options.bucket_size;
    co_await detail::search_one(self, self->id, options);
    done->set();
  }

  std::shared_ptr<Owner> state_;
};

}  // namespace skep::inline v0::dht
