// Protocol: the three calls between DHT nodes (ping, store, find), both sides, and what each contact teaches.
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/event.hpp"
#include "skep/async/scope.hpp"
#include "skep/async/semaphore.hpp"
#include "skep/codec/dht_messages.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/log.hpp"
#include "skep/core/remove_where.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/answer_times.hpp"
#include "skep/dht/authorizer.hpp"
#include "skep/dht/give.hpp"
#include "skep/dht/local_node.hpp"
#include "skep/dht/options.hpp"
#include "skep/dht/searches.hpp"
#include "skep/dht/traversal.hpp"
#include "skep/dht/validator.hpp"
#include "skep/p2p/network.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::dht {

/// What a node answered to a ping.
struct Pong {
  std::optional<DHTID> node_id;  ///< none: a client, which has no place in the DHT
  WallTime time;                 ///< its wall clock; 0: it does not tell
  bool available = false;        ///< it could call us back
};

/// A node with its network (Hivemind's DHTProtocol). Held by shared_ptr: every coroutine keeps it. Lives on the
/// network's executor.
template <p2p::Network N, RecordValidator V>
class Protocol : public LocalNode<V>, public std::enable_shared_from_this<Protocol<N, V>> {
 public:
  using Pointer = std::shared_ptr<Protocol>;
  static constexpr std::size_t max_handovers = 4;       // at a time
  static constexpr std::size_t handover_records = 256;  // in one request

  Protocol(N network, NodeOptions chosen, V validate)
      : LocalNode<V>(chosen.node_id ? *chosen.node_id : DHTID::random(network.random()), network.self(),
                     std::move(chosen), std::move(validate)),
        net(std::move(network)),
        answer_times(this->options.wait_timeout),
        refresh_news(net.executor()),
        children(net.executor(), "dht") {
    if (const auto most = this->options.parallel_rpc) turns.emplace(net.executor(), *most);
  }

  /// Offers the three calls to others; a client does not.
  void serve() {
    if (this->options.client_mode) return;
    const auto offer = [this](const char* method, awaitable<p2p::Payload> (*answer)(Pointer, p2p::Request)) {
      net.handle(method, [weak = this->weak_from_this(), answer](p2p::Request request) -> awaitable<p2p::Payload> {
        auto self = weak.lock();
        if (!self || self->closed) throw Error(errc::closed, "this DHT node is closed");
        if (!self->options.authorizer) return answer(std::move(self), std::move(request));
        return authorized_answer(self->net, self->options.authorizer, std::bind_front(answer, self), std::move(request),
                                 self->options.wait_timeout);
      });
    };
    offer("DHTProtocol.rpc_ping", on_ping);
    offer("DHTProtocol.rpc_store", on_store);
    offer("DHTProtocol.rpc_find", on_find);
  }
  void close() {
    if (std::exchange(closed, true)) return;
    if (!this->options.client_mode) {
      for (const char* method : {"DHTProtocol.rpc_ping", "DHTProtocol.rpc_store", "DHTProtocol.rpc_find"}) {
        net.remove_handler(method);
      }
    }
    children.cancel();
  }

  /// Waits until one more request may be in flight; it may until the permit is destroyed. `call_store` and `call_find`
  /// leave that to who calls them, `drive` above all: only it can tell a node that is slow from a turn that comes late.
  static awaitable<Semaphore::Permit> turn(Pointer self) {
    if (!self->turns) co_return Semaphore::Permit();
    co_return co_await self->turns->acquire();
  }

  /// Asks a peer who it is; throws what the call throws. The answer enters the routing table.
  static awaitable<Pong> call_ping(Pointer self, p2p::PeerId peer, bool validate) {
    const auto turn = co_await Protocol::turn(self);
    codec::PingRequest request;
    request.peer = self->info();
    request.validate = validate;
    const Bytes bytes = co_await exchange(self, peer, "DHTProtocol.rpc_ping", request.encode());
    const auto response = codec::PingResponse::decode(bytes);
    if (!response)
      throw Error(response.error(), peer.to_string() + " answers a ping with bytes that are no PingResponse");
    const auto node_id = Protocol::id_in(response->peer);
    if (node_id) self->heard(*node_id, peer);
    co_return Pong{node_id, {response->dht_time}, response->available};
  }

  /// Gives records to a node; the caller has a `turn`. @return which it keeps; nothing when it failed, which is
  /// remembered
  static awaitable<std::optional<NodeAnswer>> call_store(Pointer self, NodeEntry node, std::vector<StoreEntry> entries,
                                                         bool in_cache = false) {
    codec::StoreRequest request;
    request.peer = self->info();
    for (auto& entry : entries) {
      request.keys.push_back(to_bytes(entry.key.bytes()));
      request.subkeys.push_back(std::move(entry.tag));
      request.values.push_back(std::move(entry.value));
      request.expiration_times.push_back(entry.expiration.seconds);
      request.in_cache.push_back(in_cache);
    }
    const auto bytes = co_await call(self, node, "DHTProtocol.rpc_store", request.encode());
    if (!bytes) co_return std::nullopt;
    auto response = codec::StoreResponse::decode(*bytes);
    if (!response || response->store_ok.size() != entries.size()) {
      self->failed(node);
      co_return std::nullopt;
    }
    self->blacklist.succeeded(node.contact);
    self->answered(node, response->peer);
    NodeAnswer answer;
    answer.kept = std::move(response->store_ok);
    co_return answer;
  }

  /// Asks a node about keys; the caller has a `turn`. @return an answer for each; nothing when it failed, which is
  /// remembered
  static awaitable<std::optional<NodeAnswer>> call_find(Pointer self, NodeEntry node, std::vector<DHTID> keys) {
    codec::FindRequest request;
    request.peer = self->info();
    for (const DHTID& key : keys) request.keys.push_back(to_bytes(key.bytes()));
    auto bytes = co_await call(self, node, "DHTProtocol.rpc_find", request.encode());
    if (!bytes) co_return std::nullopt;
    const auto reply = FindReply::read(*bytes);
    if (!reply || reply->results.size() != keys.size()) {
      self->failed(node);
      co_return std::nullopt;
    }
    self->answered(node, reply->peer);
    NodeAnswer found;
    found.from = Protocol::id_in(reply->peer);
    found.answers.reserve(keys.size());
    bool sound = true;
    const WallTime now = self->now();
    for (std::size_t i = 0; i < keys.size(); ++i) {
      found.answers.push_back(self->believe(keys[i], reply->results[i], now));
      sound = sound && found.answers.back().sound;
    }
    found.message = *std::move(bytes);  // moving keeps the bytes where they are
    if (sound) {
      self->blacklist.succeeded(node.contact);
    } else {
      self->blacklist.failed(node.contact, self->net.steady_now());
    }
    co_return found;
  }

  /// A node gave a sign of life: it enters the routing table, and if it is new it gets the records that are now its.
  void heard(const DHTID& node_id, const p2p::PeerId& peer) {
    if (closed || peer == this->self) return;
    const auto result = this->table.heard(node_id, peer, net.steady_now());
    if (result.outcome == decltype(this->table)::Outcome::added && this->storage.size() > 0) {
      children.spawn(hand_over(this->shared_from_this(), {node_id, peer}));
    }
    if (result.ping) children.spawn(probe(this->shared_from_this(), *result.ping));
  }
  void failed(const NodeEntry& node) {
    this->table.silent(node);
    this->blacklist.failed(node.contact, net.steady_now());
  }
  [[nodiscard]] bool banned(const p2p::PeerId& peer) { return this->blacklist.banned(peer, net.steady_now()); }
  /// The wall clock by which records expire: the network's, or the swarm's where that is known to be wrong.
  [[nodiscard]] WallTime now() const { return net.wall_now() + clock_correction; }

  N net;
  AnswerTimes answer_times;
  Searches searches;
  Event refresh_news;       // a record is to be found anew earlier than was known
  bool refreshing = false;  // somebody waits for that
  std::chrono::duration<double> clock_correction{};
  Scope children;
  std::optional<Semaphore> turns;  // as many as requests may be in flight; none: no bound
  SteadyTime next_rejoin{};        // not before this are the initial peers asked again
  bool closed = false;

 private:
  /// One request and its answer, both signed where the swarm is moderated.
  static awaitable<Bytes> exchange(Pointer self, p2p::PeerId peer, const char* method, Bytes request) {
    const p2p::CallOptions limits{.timeout = self->options.wait_timeout};
    const auto& authorizer = self->options.authorizer;
    if (authorizer) {
      co_return co_await authorized_call(self->net, authorizer, std::move(peer), method, std::move(request), limits);
    }
    co_return co_await self->net.call(std::move(peer), method, std::move(request), limits);
  }

  /// One request to one node; its failure is remembered and gives nothing, cancellation is thrown. A request that is
  /// too long is not sent: that is no failure of the node's.
  static awaitable<std::optional<Bytes>> call(Pointer self, NodeEntry node, const char* method, Bytes request) {
    if (request.size() > Protocol::message_limit) {
      log(LogLevel::warning, "dht",
          "a request of " + std::to_string(request.size()) + " bytes to " + method +
              " is too long for a message and was not sent");
      co_return std::nullopt;
    }
    const SteadyTime start = self->net.steady_now();
    try {
      Bytes answer = co_await exchange(self, node.contact, method, std::move(request));
      self->answer_times.add(node.contact, self->net.steady_now() - start);
      co_return answer;
    } catch (const std::exception& error) {
      if (is_cancellation(std::current_exception()) || self->closed) throw;
      self->failed(node);
      if (logging()) log(LogLevel::debug, "dht", error.what());
    }
    co_return std::nullopt;
  }

  void answered(const NodeEntry& node, const codec::NodeInfo& said) {
    const auto node_id = Protocol::id_in(said);
    if (node_id != node.id) this->table.silent(node);  // it came back under another id, or as a client
    if (node_id) heard(*node_id, node.contact);
  }

  /// Asks a node whose place in the table is in question.
  static awaitable<void> probe(Pointer self, NodeEntry node) {
    try {
      const Pong pong = co_await call_ping(self, node.contact, false);
      if (pong.node_id == node.id) co_return;  // call_ping has said that it was heard
    } catch (const std::exception&) {
      if (is_cancellation(std::current_exception())) throw;
    }
    self->table.silent(node);
  }

  /// Pushes the records for which a newcomer is now responsible, one request's at a time. When many come at once, or
  /// one under ever new ids, most get nothing: the records reach them when they are stored again.
  static awaitable<void> hand_over(Pointer self, NodeEntry newcomer) {
    auto& newcomers = self->newcomers_;
    if (newcomers.size() >= max_handovers) co_return;
    if (std::find(newcomers.begin(), newcomers.end(), newcomer.contact) != newcomers.end()) co_return;
    newcomers.push_back(newcomer.contact);
    struct End {
      ~End() {
        remove_where(newcomers, [this](const p2p::PeerId& peer) { return peer == contact; });
      }
      std::vector<p2p::PeerId>& newcomers;
      const p2p::PeerId& contact;
    } const end{newcomers, newcomer.contact};

    const auto keys = self->keys_for(newcomer.id, self->now());
    for (std::size_t next = 0; next < keys.size();) {
      const auto turn = co_await Protocol::turn(self);
      const WallTime now = self->now();
      detail::Parcel parcel(Protocol::answer_budget);
      for (; next < keys.size() && parcel.entries.size() < handover_records; ++next) {
        const Record* const record = self->storage.find(keys[next], now);
        if (!record) continue;  // it has expired meanwhile
        auto entry = as_entry(keys[next], *record, now);
        const bool sendable = entry.value.size() <= Protocol::answer_budget;
        if (sendable && !parcel.take(entry)) break;
      }
      if (parcel.entries.empty() || !co_await call_store(self, newcomer, std::move(parcel.entries))) co_return;
    }
  }

  static awaitable<p2p::Payload> on_ping(Pointer self, p2p::Request request) {
    const auto ping = codec::PingRequest::decode(request.body);
    if (!ping) throw Error(ping.error(), "these bytes are no PingRequest");
    codec::PingResponse response;
    response.peer = self->info();
    if (const auto sender = Protocol::id_in(ping->peer)) {
      bool welcome = true;
      if (ping->validate) {
        welcome = false;
        try {
          const Pong pong = co_await call_ping(self, request.peer, false);
          welcome = pong.node_id == sender;
        } catch (const std::exception&) {
          if (is_cancellation(std::current_exception())) throw;
        }
        response.available = welcome;
      }
      if (welcome) {
        self->heard(*sender, request.peer);
      } else {
        self->table.silent_contact(request.peer);
      }
    }
    response.dht_time = self->now().seconds;
    co_return response.encode();
  }

  static awaitable<p2p::Payload> on_store(Pointer self, p2p::Request request) {
    auto store = codec::StoreRequest::decode(request.body);
    if (!store) throw Error(store.error(), "these bytes are no StoreRequest");
    const auto sender = Protocol::id_in(store->peer);
    const auto response = self->answer(*std::move(store), request.peer, self->now());
    if (!response) throw Error(response.error(), "the lists of a StoreRequest differ in length");
    if (sender) self->heard(*sender, request.peer);
    co_return response->encode();
  }

  static awaitable<p2p::Payload> on_find(Pointer self, p2p::Request request) {
    const auto find = codec::FindRequest::decode(request.body);
    if (!find) throw Error(find.error(), "these bytes are no FindRequest");
    auto response = self->answer(*find, self->now());
    if (!response) {
      throw Error(response.error(), response.error() == errc::limit_exceeded
                                        ? "a FindRequest asks for more than " +
                                              std::to_string(Protocol::max_find_keys) + " keys; ask for them in several"
                                        : "a key of a FindRequest is no id of 160 bits");
    }
    if (const auto sender = Protocol::id_in(find->peer)) self->heard(*sender, request.peer);
    co_return *std::move(response);
  }

  std::vector<p2p::PeerId> newcomers_;  // to whom records are being handed over
};

}  // namespace skep::inline v0::dht
