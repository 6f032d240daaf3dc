// LocalNode: what a node of the DHT knows and holds, and every decision about records and neighbours.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "skep/codec/dht_messages.hpp"
#include "skep/codec/msgpack.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/blacklist.hpp"
#include "skep/dht/find_reply.hpp"
#include "skep/dht/options.hpp"
#include "skep/dht/record.hpp"
#include "skep/dht/refresh_queue.hpp"
#include "skep/dht/storage.hpp"
#include "skep/dht/traversal.hpp"
#include "skep/dht/validator.hpp"
#include "skep/kademlia/routing_table.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::dht {

/// A record on its way: the key, the tag that says what the value is, and the value's bytes.
struct StoreEntry {
  DHTID key;
  Bytes tag;  ///< c0: a regular value; empty: a whole dictionary; else the MessagePack bytes of the subkey
  Bytes value;
  WallTime expiration;
};
[[nodiscard]] inline const Bytes& regular_tag() {
  static const Bytes tag{0xc0};
  return tag;
}

/// A record on its way to somebody who shall keep it, too; a dictionary goes whole.
[[nodiscard]] inline StoreEntry as_entry(const DHTID& key, const Record& record, WallTime now) {
  if (const Item* const item = record.value()) return {key, regular_tag(), item->value, item->expiration};
  return {key, {}, record.dictionary()->encode(now), record.expiration()};
}

/// What is believed of a node's answer about a key.
struct FindAnswer {
  std::optional<Record> record;
  FindResultView result;  ///< in which the neighbours are
  bool sound = true;      ///< false: it gave something that can be no record
};

/// What a node answered: to a find, what is believed of it about each key; to a store, which records it keeps.
struct NodeAnswer {
  Bytes message;              ///< into which the answers point
  std::optional<DHTID> from;  ///< the id by which the node goes; none: a client
  std::vector<FindAnswer> answers;
  codec::Bools kept;
};

/// The tables of a node and what it decides by them. Pure: no network, time is an argument, bytes of others do not
/// throw.
template <RecordValidator V>
class LocalNode {
 public:
  static constexpr std::size_t answer_budget = 3 * 1024 * 1024;              // bytes of records in one store request
  static constexpr std::size_t message_limit = 4 * 1024 * 1024 - 64 * 1024;  // a unary call takes 4 MiB in all
  static constexpr std::size_t max_find_keys = 1024;                         // in one request; Hivemind sends 16
  /// In a large swarm most callers are not in the table: a ping for each call would double the calls.
  static constexpr Duration trusted_for = 2min;

  LocalNode(DHTID node_id, p2p::PeerId peer, NodeOptions chosen, V validate)
      : id(node_id),
        self(std::move(peer)),
        options(std::move(chosen)),
        validator(std::move(validate)),
        table(id, {options.bucket_size, options.depth_modulo, options.bucket_size, trusted_for}),
        storage(options.storage),
        cache(cache_limits(options)),
        refreshes(options.cache_size),
        blacklist({.base = options.blacklist_time, .backoff_rate = options.backoff_rate}) {}

  /// How this node introduces itself; a client does not.
  [[nodiscard]] codec::NodeInfo info() const {
    return options.client_mode ? codec::NodeInfo{} : codec::NodeInfo{to_bytes(id.bytes())};
  }

  /// Readers of a dictionary ask as many of its replicas as a store must reach: then one of them has every item.
  [[nodiscard]] std::size_t majority() const noexcept { return options.num_replicas / 2 + 1; }

  /// Keeps a record that somebody, or this node itself, wants kept here. @return whether it did
  /// @param source  who brings it, as in `Item`
  bool keep(StoreEntry entry, bool in_cache, WallTime now, std::uint64_t source = 0) {
    Storage& to = in_cache ? cache : storage;
    if (entry.tag.empty()) {
      const auto dictionary = Dictionary::decode(entry.value, source);
      if (!dictionary) return false;
      for (const auto& [subkey, item] : dictionary->items()) {
        if (!validator.validate({entry.key, subkey, item.value, item.expiration})) return false;
      }
      return to.store(entry.key, *dictionary, now) == StoreOutcome::accepted;
    }
    const bool regular = entry.tag == regular_tag();
    auto subkey = canonical_subkey(entry.tag);  // by this name it is kept, and so judged
    if (!subkey || regular != (*subkey == regular_tag())) return false;
    if (!validator.validate({entry.key, *subkey, entry.value, entry.expiration})) return false;
    Item item{std::move(entry.value), entry.expiration, source};
    if (regular) return to.store(entry.key, std::move(item), now) == StoreOutcome::accepted;
    return to.store_subkey(entry.key, *std::move(subkey), std::move(item), now) == StoreOutcome::accepted;
  }

  /// Answers a store request. @return errc::malformed when its lists differ in length
  [[nodiscard]] Result<codec::StoreResponse> answer(codec::StoreRequest request, const p2p::PeerId& sender,
                                                    WallTime now) {
    const std::size_t count = request.keys.size();
    if (request.subkeys.size() != count || request.values.size() != count || request.in_cache.size() != count ||
        request.expiration_times.size() != count) {
      return errc::malformed;
    }
    codec::StoreResponse response;
    response.peer = info();
    const std::uint64_t source = source_of(sender);
    for (std::size_t i = 0; i < count; ++i) {
      const auto key = DHTID::from_bytes(request.keys[i]);
      response.store_ok.push_back(
          key &&
          keep({*key, std::move(request.subkeys[i]), std::move(request.values[i]), {request.expiration_times[i]}},
               request.in_cache[i], now, source));
    }
    return response;
  }

  /// Answers a find request: for each key the record, if it is here, and always the nearest nodes but the one who asks.
  /// The first record for which there is no room, and those after it, are left out.
  /// @return the response's bytes, at most `message_limit`; errc::malformed for a key that is no id,
  ///         errc::limit_exceeded for more than `max_find_keys`
  [[nodiscard]] Result<Bytes> answer(const codec::FindRequest& request, WallTime now) {
    const std::size_t count = request.keys.size();
    if (count > max_find_keys) return errc::limit_exceeded;
    const auto sender = id_in(request.peer);
    constexpr std::size_t result_size = 32;  // at most, without the record's value and the neighbours
    constexpr std::size_t neighbour_size = 2 + DHTID::bits / 8 + 2 + p2p::PeerId::max_size;
    const std::size_t room_for = (message_limit / std::max<std::size_t>(count, 1) - result_size) / neighbour_size;
    const std::size_t near = std::min({options.bucket_size, table.size(), FindResultView::max_neighbours, room_for});
    std::size_t reserved = count * (result_size + near * neighbour_size);  // of the keys to come
    bool full = false;
    Bytes out;
    out.reserve(reserved + 2 * result_size);
    codec::MessageWriter writer(out);
    for (const Bytes& bytes : request.keys) {
      const auto key = DHTID::from_bytes(bytes);
      if (!key) return errc::malformed;
      writer.message(2, [&](codec::MessageWriter& result) {
        full = full || !write_record(result, *key, now, message_limit - std::min(message_limit, out.size() + reserved));
        write_nearest(result, *key, sender, near);
      });
      reserved -= result_size + near * neighbour_size;
    }
    writer.message(3, [&](codec::MessageWriter& peer) { info().write(peer); });
    return out;
  }

  /// What to believe of another node's answer about a key: records that are valid, readable and not over.
  [[nodiscard]] FindAnswer believe(const DHTID& key, const FindResultView& result, WallTime now) {
    FindAnswer answer{{}, result};
    answer.sound = read_record(key, result, now, answer.record);
    return answer;
  }
  /// The neighbours that an answer names and that may be asked: neither this node nor banned.
  /// @param known  nodes that need not be named again: `known(id)`
  template <class Known>
  [[nodiscard]] std::vector<NodeEntry> neighbours(const FindResultView& result, SteadyTime now, Known known) const {
    std::vector<NodeEntry> nodes;
    result.for_each_neighbour([&](const DHTID& node_id, BytesView peer_id) {
      if (node_id == id || known(node_id)) return;
      auto peer = p2p::PeerId::from_bytes(peer_id);
      if (!peer || *peer == self || blacklist.banned(*peer, now)) return;
      nodes.push_back({node_id, *std::move(peer)});
    });
    return nodes;
  }

  /// Whether a node names all that this node knows and nobody else: then it would say the same about any other key.
  [[nodiscard]] bool names_whole_table(const DHTID& node, const FindResultView& result) const {
    std::size_t named = 0;
    bool all_known = true;
    result.for_each_neighbour([&](const DHTID& neighbour, BytesView) {
      if (neighbour == id) return;
      ++named;
      all_known = all_known && table.find(neighbour) != nullptr;
    });
    return all_known && named + (table.find(node) ? 1 : 0) == table.size();
  }

  /// The keys for whose records a newcomer is now responsible, if this node is the nearest of those that had them.
  [[nodiscard]] std::vector<DHTID> keys_for(const DHTID& newcomer, WallTime now) {
    std::vector<DHTID> keys;
    storage.for_each(now, [&](const DHTID& key, const Record&) {
      const auto near = table.nearest(key, options.num_replicas, newcomer);
      const bool wanted =
          near.empty() || ((newcomer ^ key) < (near.back().id ^ key) && (id ^ key) < (near.front().id ^ key));
      if (wanted) keys.push_back(key);
    });
    return keys;
  }

  /// The id in an introduction, or nothing for a client or for what is no id.
  [[nodiscard]] static std::optional<DHTID> id_in(const codec::NodeInfo& info) {
    if (info.node_id.empty()) return std::nullopt;
    const auto read = DHTID::from_bytes(info.node_id);
    return read ? std::optional(*read) : std::nullopt;
  }

  DHTID id;
  p2p::PeerId self;
  NodeOptions options;
  V validator;
  kademlia::RoutingTable<DHTID, p2p::PeerId> table;
  Storage storage;
  Storage cache;
  RefreshQueue refreshes;
  Blacklist blacklist;

 private:
  static StorageLimits cache_limits(const NodeOptions& options) {
    StorageLimits limits = options.storage;
    limits.records = options.cache_size;
    limits.peer_items = std::min(limits.peer_items, options.cache_size / 4 + 1);  // most is for what this node reads
    return limits;
  }

  /// @return false when it can be no record
  bool read_record(const DHTID& key, const FindResultView& result, WallTime now, std::optional<Record>& record) {
    using codec::FindResultType;
    if (result.type == FindResultType::not_found) return true;
    if (result.type == FindResultType::found_regular) {
      if (!std::isfinite(result.expiration_time)) return false;
      Item item{to_bytes(result.value), {result.expiration_time}};
      if (!believable(key, regular_tag(), item)) return false;
      if (now < item.expiration) record = Record(std::move(item));
      return true;
    }
    auto dictionary = Dictionary::decode(result.value);
    if (!dictionary) return false;
    bool all = true;
    dictionary->keep_if([&](BytesView subkey, const Item& item) {
      if (item.expiration <= now) return false;
      const bool sound = believable(key, subkey, item);
      all = all && sound;
      return sound;
    });
    if (!dictionary->empty()) record = Record(*std::move(dictionary));
    return all;
  }
  bool believable(const DHTID& key, BytesView subkey, const Item& item) {
    const RecordView view{key, subkey, item.value, item.expiration};
    if (!validator.validate(view)) return false;
    if constexpr (std::derived_from<V, LeavesValues>) return msgpack::is_readable(item.value);
    return msgpack::is_readable(validator.strip(view, item.value));
  }

  /// @return false when it would take more than `room`
  bool write_record(codec::MessageWriter& to, const DHTID& key, WallTime now, std::size_t room) {
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
    if (!record) return true;
    const Item* const item = record->value();
    const Bytes dictionary = item ? Bytes() : record->dictionary()->encode(now);
    if ((item ? item->value : dictionary).size() > room) return false;
    to.varint(1, static_cast<std::uint64_t>(item ? codec::FindResultType::found_regular
                                                 : codec::FindResultType::found_dictionary));
    to.bytes_unless_default(2, item ? item->value : dictionary);
    to.real_unless_default(3, record->expiration().seconds);
    return true;
  }

  void write_nearest(codec::MessageWriter& to, const DHTID& key, const std::optional<DHTID>& except,
                     std::size_t count) {
    std::vector<const NodeEntry*> nearest;
    table.visit_nearest(key, [&](const NodeEntry& node) {
      if (node.id != except) nearest.push_back(&node);
      return nearest.size() < count;
    });
    for (const NodeEntry* node : nearest) to.bytes(4, node->id.bytes());
    for (const NodeEntry* node : nearest) to.bytes(5, node->contact.bytes());
  }
};

}  // namespace skep::inline v0::dht
