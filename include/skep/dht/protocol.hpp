// Protocol: the three calls between DHT nodes (ping, store, find), both sides, and what each contact teaches.
#pragma once

#include <cmath>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/scope.hpp"
#include "skep/codec/dht_messages.hpp"
#include "skep/codec/msgpack.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/log.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/answer_times.hpp"
#include "skep/dht/blacklist.hpp"
#include "skep/dht/options.hpp"
#include "skep/dht/storage.hpp"
#include "skep/dht/traversal.hpp"
#include "skep/dht/validator.hpp"
#include "skep/kademlia/routing_table.hpp"
#include "skep/p2p/network.hpp"

namespace skep::inline v0::dht {

/// A record on its way: the key, the tag that says what the value is, and the value's bytes.
struct StoreEntry {
  DHTID key;
  Bytes tag;  ///< c0: a regular value; empty: a whole dictionary; else the MessagePack bytes of the subkey
  Bytes value;
  WallTime expiration;
};
inline const Bytes& regular_tag() {
  static const Bytes tag{0xc0};
  return tag;
}

/// What a node answered about a key.
struct FindAnswer {
  std::optional<Record> record;
  std::vector<NodeEntry> nearest;
};

/// What a node answered to a ping.
struct Pong {
  std::optional<DHTID> node_id;  ///< none: a client, which has no place in the DHT
  WallTime time;                 ///< its wall clock; 0: it does not tell
  bool available = false;        ///< it could call us back
};

/// The state of a node and its calls (Hivemind's DHTProtocol). Held by shared_ptr: every coroutine keeps it. Lives on
/// the network's executor.
template <p2p::Network N, RecordValidator V>
class Protocol : public std::enable_shared_from_this<Protocol<N, V>> {
 public:
  using Pointer = std::shared_ptr<Protocol>;
  static constexpr std::size_t max_neighbours = 64;              // taken from one answer about one key
  static constexpr std::size_t answer_budget = 3 * 1024 * 1024;  // values beyond it are left out of an answer
  static constexpr std::size_t handover_records = 256;           // in one request

  Protocol(N network, NodeOptions chosen, V validate)
      : net(std::move(network)),
        options(std::move(chosen)),
        validator(std::move(validate)),
        id(options.node_id ? *options.node_id : DHTID::random(net.random())),
        table(id, {options.bucket_size, options.depth_modulo, options.bucket_size}),
        storage(options.storage),
        cache(cache_limits(options)),
        blacklist({.base = options.blacklist_time, .backoff_rate = options.backoff_rate}),
        answer_times(options.wait_timeout),
        children(net.executor(), "dht") {}

  /// Offers the three calls to others; a client does not.
  void serve() {
    if (options.client_mode) return;
    const auto offer = [this](const char* method, awaitable<p2p::Payload> (*answer)(Pointer, p2p::Request)) {
      net.handle(method, [weak = this->weak_from_this(), answer](p2p::Request request) -> awaitable<p2p::Payload> {
        auto self = weak.lock();
        if (!self || self->closed) throw Error(errc::closed, "this DHT node is closed");
        return answer(std::move(self), std::move(request));
      });
    };
    offer("DHTProtocol.rpc_ping", on_ping);
    offer("DHTProtocol.rpc_store", on_store);
    offer("DHTProtocol.rpc_find", on_find);
  }
  void close() {
    if (std::exchange(closed, true)) return;
    if (!options.client_mode) {
      for (const char* method : {"DHTProtocol.rpc_ping", "DHTProtocol.rpc_store", "DHTProtocol.rpc_find"}) {
        net.remove_handler(method);
      }
    }
    children.cancel();
  }

  /// Asks a peer who it is; throws what the call throws. The answer enters the routing table.
  static awaitable<Pong> call_ping(Pointer self, p2p::PeerId peer, bool validate) {
    codec::PingRequest request;
    request.peer = self->info();
    request.validate = validate;
    const Bytes bytes = co_await self->net.call(peer, "DHTProtocol.rpc_ping", request.encode(), self->call_options());
    const auto response = codec::PingResponse::decode(bytes);
    if (!response)
      throw Error(response.error(), peer.to_string() + " answers a ping with bytes that are no PingResponse");
    const auto node_id = read_id(response->peer);
    if (node_id) self->heard(*node_id, peer);
    co_return Pong{node_id, {response->dht_time}, response->available};
  }

  /// Gives records to a node. @return whether it keeps each; nothing when it failed, which is remembered
  static awaitable<std::optional<std::vector<bool>>> call_store(Pointer self, NodeEntry node,
                                                                std::vector<StoreEntry> entries,
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
    self->answered(node, response->peer);
    co_return std::move(response->store_ok);
  }

  /// Asks a node about keys. @return an answer for each; nothing when it failed, which is remembered
  static awaitable<std::optional<std::vector<FindAnswer>>> call_find(Pointer self, NodeEntry node,
                                                                     std::vector<DHTID> keys) {
    codec::FindRequest request;
    request.peer = self->info();
    for (const DHTID& key : keys) request.keys.push_back(to_bytes(key.bytes()));
    const auto bytes = co_await call(self, node, "DHTProtocol.rpc_find", request.encode());
    if (!bytes) co_return std::nullopt;
    const auto response = codec::FindResponse::decode(*bytes);
    if (!response || response->results.size() != keys.size()) {
      self->failed(node);
      co_return std::nullopt;
    }
    self->answered(node, response->peer);
    std::vector<FindAnswer> answers;
    bool sound = true;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      auto& answer = answers.emplace_back();
      sound = self->read_record(keys[i], response->results[i], answer.record) && sound;
      answer.nearest = self->read_neighbours(response->results[i]);
    }
    if (!sound) self->blacklist.failed(node.contact, self->net.steady_now());
    co_return answers;
  }

  /// A node gave a sign of life: it enters the routing table, and if it is new it gets the records that are now its.
  void heard(const DHTID& node_id, const p2p::PeerId& peer) {
    if (closed || peer == net.self()) return;
    const auto result = table.heard(node_id, peer);
    if (result.outcome == decltype(table)::Outcome::added && storage.size() > 0) {
      children.spawn(hand_over(this->shared_from_this(), {node_id, peer}));
    }
    if (result.ping) children.spawn(probe(this->shared_from_this(), *result.ping));
  }
  void failed(const NodeEntry& node) {
    table.silent(node.id);
    blacklist.failed(node.contact, net.steady_now());
  }
  [[nodiscard]] bool banned(const p2p::PeerId& peer) { return blacklist.banned(peer, net.steady_now()); }

  /// Keeps a record that somebody, or this node itself, wants kept here.
  bool keep(const StoreEntry& entry, bool in_cache) {
    Storage& to = in_cache ? cache : storage;
    const WallTime now = net.wall_now();
    if (entry.tag.empty()) {
      const auto dictionary = Dictionary::decode(entry.value);
      if (!dictionary) return false;
      for (const auto& [subkey, item] : dictionary->items()) {
        if (!validator.validate({entry.key, subkey, item.value, item.expiration})) return false;
      }
      return to.store(entry.key, *dictionary, now) == StoreOutcome::accepted;
    }
    if (!validator.validate({entry.key, entry.tag, entry.value, entry.expiration})) return false;
    if (entry.tag == regular_tag()) {
      return to.store(entry.key, Item{entry.value, entry.expiration}, now) == StoreOutcome::accepted;
    }
    auto subkey = canonical_subkey(entry.tag);
    if (!subkey || *subkey == regular_tag()) return false;
    return to.store_subkey(entry.key, *std::move(subkey), {entry.value, entry.expiration}, now) ==
           StoreOutcome::accepted;
  }

  N net;
  NodeOptions options;
  V validator;
  DHTID id;
  kademlia::RoutingTable<DHTID, p2p::PeerId> table;
  Storage storage;
  Storage cache;
  Blacklist blacklist;
  AnswerTimes answer_times;
  Scope children;
  bool closed = false;

 private:
  static StorageLimits cache_limits(const NodeOptions& options) {
    StorageLimits limits = options.storage;
    limits.records = options.cache_size;
    return limits;
  }
  [[nodiscard]] p2p::CallOptions call_options() const { return {.timeout = options.wait_timeout}; }
  [[nodiscard]] codec::NodeInfo info() const {
    return options.client_mode ? codec::NodeInfo{} : codec::NodeInfo{to_bytes(id.bytes())};
  }
  static std::optional<DHTID> read_id(const codec::NodeInfo& info) {
    if (info.node_id.empty()) return std::nullopt;
    const auto read = DHTID::from_bytes(info.node_id);
    return read ? std::optional(*read) : std::nullopt;
  }

  /// One request to one node; its failure is remembered and gives nothing, cancellation is thrown.
  static awaitable<std::optional<Bytes>> call(Pointer self, NodeEntry node, const char* method, Bytes request) {
    const SteadyTime start = self->net.steady_now();
    try {
      Bytes answer = co_await self->net.call(node.contact, method, std::move(request), self->call_options());
      self->answer_times.add(self->net.steady_now() - start);
      co_return answer;
    } catch (const std::exception& error) {
      if (is_cancellation(std::current_exception()) || self->closed) throw;
      self->failed(node);
      if (logging()) log(LogLevel::debug, "dht", error.what());
    }
    co_return std::nullopt;
  }

  void answered(const NodeEntry& node, const codec::NodeInfo& said) {
    blacklist.succeeded(node.contact);
    const auto node_id = read_id(said);
    if (node_id != node.id) table.silent(node.id);  // it came back under another id, or as a client
    if (node_id) heard(*node_id, node.contact);
  }

  /// @return false when the node gave something that cannot be a record
  bool read_record(const DHTID& key, const codec::FindResult& result, std::optional<Record>& record) {
    using codec::FindResultType;
    if (result.type == FindResultType::not_found) return true;
    const WallTime now = net.wall_now();
    if (result.type == FindResultType::found_regular) {
      if (!std::isfinite(result.expiration_time)) return false;
      Item item{result.value, {result.expiration_time}};
      if (!believable(key, regular_tag(), item)) return false;
      if (now < item.expiration) record = Record(std::move(item));
      return true;
    }
    const auto dictionary = Dictionary::decode(result.value);
    if (!dictionary) return false;
    Dictionary sound;
    bool all = true;
    for (const auto& [subkey, item] : dictionary->items()) {
      if (item.expiration <= now) continue;
      if (!believable(key, subkey, item)) {
        all = false;
      } else {
        sound.store(subkey, item);
      }
    }
    if (!sound.empty()) record = Record(std::move(sound));
    return all;
  }
  bool believable(const DHTID& key, BytesView subkey, const Item& item) {
    const RecordView view{key, subkey, item.value, item.expiration};
    return validator.validate(view) && msgpack::decode(validator.strip(view, item.value)).has_value();
  }

  std::vector<NodeEntry> read_neighbours(const codec::FindResult& result) {
    std::vector<NodeEntry> out;
    const std::size_t count = std::min(result.nearest_node_ids.size(), result.nearest_peer_ids.size());
    for (std::size_t i = 0; i < std::min(count, max_neighbours); ++i) {
      const auto node_id = DHTID::from_bytes(result.nearest_node_ids[i]);
      auto peer = p2p::PeerId::from_bytes(result.nearest_peer_ids[i]);
      if (!node_id || !peer || *node_id == id || *peer == net.self() || banned(*peer)) continue;
      out.push_back({*node_id, *std::move(peer)});
    }
    return out;
  }

  /// Asks a node whose place in the table is in question.
  static awaitable<void> probe(Pointer self, NodeEntry node) {
    try {
      const Pong pong = co_await call_ping(self, node.contact, false);
      if (pong.node_id == node.id) co_return;  // call_ping has said that it was heard
    } catch (const std::exception&) {
      if (is_cancellation(std::current_exception())) throw;
    }
    self->table.silent(node.id);
  }

  /// Pushes the records for which the newcomer is now responsible and this node is the nearest of those who knew them.
  static awaitable<void> hand_over(Pointer self, NodeEntry newcomer) {
    std::vector<StoreEntry> records;
    const WallTime now = self->net.wall_now();
    self->storage.for_each(now, [&](const DHTID& key, const Record& record) {
      const auto near = self->table.nearest(key, self->options.num_replicas, newcomer.id);
      const bool wanted =
          near.empty() || ((newcomer.id ^ key) < (near.back().id ^ key) && (self->id ^ key) < (near.front().id ^ key));
      if (!wanted) return;
      if (const Item* const item = record.value()) {
        records.push_back({key, regular_tag(), item->value, item->expiration});
      } else {
        records.push_back({key, {}, record.dictionary()->encode(now), record.expiration()});
      }
    });
    for (std::size_t next = 0; next < records.size();) {
      std::vector<StoreEntry> some;
      for (std::size_t bytes = 0; next < records.size() && some.size() < handover_records && bytes < answer_budget;) {
        bytes += records[next].value.size();
        some.push_back(std::move(records[next++]));
      }
      const auto kept = co_await call_store(self, newcomer, std::move(some));
      if (!kept) co_return;
    }
  }

  static awaitable<p2p::Payload> on_ping(Pointer self, p2p::Request request) {
    const auto ping = codec::PingRequest::decode(request.body);
    if (!ping) throw Error(ping.error(), "these bytes are no PingRequest");
    codec::PingResponse response;
    response.peer = self->info();
    if (const auto sender = read_id(ping->peer)) {
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
    response.dht_time = self->net.wall_now().seconds;
    co_return response.encode();
  }

  static awaitable<p2p::Payload> on_store(Pointer self, p2p::Request request) {
    auto store = codec::StoreRequest::decode(request.body);
    if (!store) throw Error(store.error(), "these bytes are no StoreRequest");
    const std::size_t count = store->keys.size();
    if (store->subkeys.size() != count || store->values.size() != count || store->in_cache.size() != count ||
        store->expiration_times.size() != count) {
      throw Error(errc::malformed, "the lists of a StoreRequest differ in length");
    }
    codec::StoreResponse response;
    response.peer = self->info();
    for (std::size_t i = 0; i < count; ++i) {
      const auto key = DHTID::from_bytes(store->keys[i]);
      response.store_ok.push_back(
          key &&
          self->keep({*key, std::move(store->subkeys[i]), std::move(store->values[i]), {store->expiration_times[i]}},
                     store->in_cache[i]));
    }
    if (const auto sender = read_id(store->peer)) self->heard(*sender, request.peer);
    co_return response.encode();
  }

  static awaitable<p2p::Payload> on_find(Pointer self, p2p::Request request) {
    const auto find = codec::FindRequest::decode(request.body);
    if (!find) throw Error(find.error(), "these bytes are no FindRequest");
    const auto sender = read_id(find->peer);
    Bytes out;
    codec::MessageWriter writer(out);
    for (const Bytes& bytes : find->keys) {
      const auto key = DHTID::from_bytes(bytes);
      if (!key) throw Error(errc::malformed, "a key of a FindRequest is no id of 160 bits");
      writer.message(2, [&](codec::MessageWriter& result) {
        if (out.size() < answer_budget) self->write_record(result, *key);
        self->write_nearest(result, *key, sender);
      });
    }
    writer.message(3, [&](codec::MessageWriter& peer) { self->info().write(peer); });
    if (sender) self->heard(*sender, request.peer);
    co_return out;
  }

  void write_record(codec::MessageWriter& to, const DHTID& key) {
    const WallTime now = net.wall_now();
    const Record* record = storage.find(key, now);
    std::optional<Record> both;
    if (const Record* const cached = cache.find(key, now)) {
      if (record && record->dictionary() && cached->dictionary()) {
        both = *record;
        both->merge(*cached);
        record = &*both;
      } else if (!record || record->expiration() < cached->expiration()) {
        record = cached;
      }
    }
    if (!record) return;
    const Item* const item = record->value();
    const Bytes dictionary = item ? Bytes() : record->dictionary()->encode(now);
    to.varint(1, static_cast<std::uint64_t>(item ? codec::FindResultType::found_regular
                                                 : codec::FindResultType::found_dictionary));
    to.bytes_unless_default(2, item ? item->value : dictionary);
    to.real_unless_default(3, record->expiration().seconds);
  }

  void write_nearest(codec::MessageWriter& to, const DHTID& key, const std::optional<DHTID>& except) {
    std::vector<const NodeEntry*> nearest;
    table.visit_nearest(key, [&](const NodeEntry& node) {
      if (node.id != except) nearest.push_back(&node);
      return nearest.size() < options.bucket_size;
    });
    for (const NodeEntry* node : nearest) to.bytes(4, node->id.bytes());
    for (const NodeEntry* node : nearest) to.bytes(5, node->contact.bytes());
  }
};

}  // namespace skep::inline v0::dht
