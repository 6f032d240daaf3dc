// Storage: the records that a node keeps, bounded in number, bytes and lifetime, in total and for each peer.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "skep/core/bytes.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/dictionary.hpp"
#include "skep/dht/key.hpp"
#include "skep/dht/record.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::dht {

/// When full, the record that expires first leaves; a new one that would itself be the first is refused. A peer whose
/// share is used up is refused until something that it brought expires: nobody can drive out what others store.
struct StorageLimits {
  std::size_t records = 100'000;
  std::size_t bytes = 256 * 1024 * 1024;             ///< of keys, values and bookkeeping
  std::size_t record_bytes = 1024 * 1024;            ///< of one record, a dictionary with all its items
  std::chrono::duration<double> lifetime = 24h * 7;  ///< an expiration further ahead is refused
  std::size_t peer_items = 25'000;                   ///< of one peer: regular values, and items of dictionaries
  std::size_t peer_bytes = 64 * 1024 * 1024;         ///< of these
};

/// Names a peer in `Item::source`. Two peers with one number would share a share.
[[nodiscard]] inline std::uint64_t source_of(const p2p::PeerId& peer) noexcept {
  return std::hash<p2p::PeerId>{}(peer) | 1;  // 0 is this node itself
}

enum class StoreOutcome {
  accepted,
  older,       ///< what is there expires later or at the same moment
  expired,     ///< it is over already
  too_long,    ///< it would live too long, or for ever
  too_large,   ///< the record would exceed `record_bytes`
  full,        ///< no record leaves for one that expires before it
  over_share,  ///< the peer who brings it has used up its share
};

/// Records by key (behaviour of Hivemind's DHTLocalStorage). A store that is not accepted changes nothing. Reading and
/// writing cost O(log n), expiry included. Time is an argument.
class Storage {
 public:
  explicit Storage(StorageLimits limits = {}) : limits_(limits) {}

  /// Keeps a regular value if it expires later than what is there.
  StoreOutcome store(const DHTID& key, Item item, WallTime now) {
    expire(now);
    if (const auto bad = check(item.expiration, now); bad != StoreOutcome::accepted) return bad;
    const auto place = records_.find(key);
    if (place != records_.end() && item.expiration <= place->second.record.expiration()) return StoreOutcome::older;
    const WallTime expiration = item.expiration;
    const std::uint64_t source = item.source;
    const std::size_t bytes = record_overhead + item.value.size();
    return put(place, key, Record(std::move(item)), bytes, expiration, source);
  }

  /// Keeps a value under a subkey, by the subkey's own expiration; the key becomes a dictionary unless a regular value
  /// is there that expires later or at the same moment.
  /// @param subkey  its canonical MessagePack bytes
  StoreOutcome store_subkey(const DHTID& key, Bytes subkey, Item item, WallTime now) {
    expire(now);
    if (const auto bad = check(item.expiration, now); bad != StoreOutcome::accepted) return bad;
    const auto place = records_.find(key);
    Dictionary* const dictionary = place == records_.end() ? nullptr : place->second.record.dictionary();
    if (!dictionary) {
      if (place != records_.end() && item.expiration <= place->second.record.expiration()) return StoreOutcome::older;
      const WallTime expiration = item.expiration;
      const std::uint64_t source = item.source;
      const std::size_t bytes = record_overhead + item_bytes(subkey, item);
      Dictionary fresh;
      fresh.store(std::move(subkey), std::move(item));
      return put(place, key, Record(std::move(fresh)), bytes, expiration, source);
    }
    const std::size_t added = item_bytes(subkey, item);
    if (place->second.bytes + added > limits_.record_bytes && place->second.soonest <= now) {
      drop_expired_items(place, now);
    }
    const Item* const there = dictionary->find(subkey);
    if (there && item.expiration <= there->expiration) return StoreOutcome::older;
    const std::size_t taken = there ? item_bytes(subkey, *there) : 0;
    if (!has_share(item.source, added, there && there->source == item.source ? taken : 0)) {
      return StoreOutcome::over_share;
    }
    const std::size_t after = place->second.bytes + added - taken;
    if (after > limits_.record_bytes) return StoreOutcome::too_large;
    const WallTime expiration = std::max(dictionary->latest(), item.expiration);
    if (!make_room(key, place->second.bytes, after, expiration)) return StoreOutcome::full;
    if (there) give_back(there->source, taken);
    charge(item.source, added);
    place->second.soonest = std::min(place->second.soonest, item.expiration);
    dictionary->store(std::move(subkey), std::move(item));
    account(place, after, expiration);
    return StoreOutcome::accepted;
  }

  /// Keeps the items of a whole dictionary one by one. @return the first outcome that is not `accepted`, if any
  StoreOutcome store(const DHTID& key, const Dictionary& dictionary, WallTime now) {
    StoreOutcome worst = StoreOutcome::accepted;
    for (const auto& [subkey, item] : dictionary.items()) {
      const StoreOutcome outcome = store_subkey(key, subkey, item, now);
      if (worst == StoreOutcome::accepted) worst = outcome;
    }
    return worst;
  }

  /// The record under a key, valid until the next change; null when there is none or it is over. A dictionary may still
  /// hold single items that are over.
  [[nodiscard]] const Record* find(const DHTID& key, WallTime now) {
    expire(now);
    const auto place = records_.find(key);
    return place == records_.end() ? nullptr : &place->second.record;
  }

  /// Shows every valid record, in the order of the keys: `visit(key, record)`.
  template <class Visit>
  void for_each(WallTime now, Visit visit) {
    expire(now);
    for (const auto& [key, kept] : records_) visit(key, kept.record);
  }

  void erase(const DHTID& key) {
    if (const auto place = records_.find(key); place != records_.end()) remove(place);
  }

  [[nodiscard]] std::size_t size() const noexcept { return records_.size(); }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  /// How many values and items of dictionaries a source has here.
  [[nodiscard]] std::size_t items_of(std::uint64_t source) const {
    const auto share = shares_.find(source);
    return share == shares_.end() ? 0 : share->second.items;
  }

 private:
  static constexpr std::size_t record_overhead = 160;  // key, tree nodes, the record itself
  static constexpr std::size_t item_overhead = 96;

  struct Kept {
    Record record;
    std::size_t bytes;
    WallTime indexed;  // under which expiration the index holds it
    WallTime soonest;  // before which no item of a dictionary expires
  };
  using Records = std::map<DHTID, Kept>;
  struct Share {
    std::size_t items = 0;
    std::size_t bytes = 0;
  };

  static std::size_t item_bytes(BytesView subkey, const Item& item) {
    return item_overhead + subkey.size() + item.value.size();
  }
  /// Nobody sees the difference. The item that lives longest stays, so the expiration does not change.
  void drop_expired_items(Records::iterator place, WallTime now) {
    std::size_t bytes = 0;
    place->second.soonest = place->second.indexed;
    for (const auto& [subkey, item] : place->second.record.dictionary()->items()) {
      if (item.expiration > now) {
        place->second.soonest = std::min(place->second.soonest, item.expiration);
        continue;
      }
      bytes += item_bytes(subkey, item);
      give_back(item.source, item_bytes(subkey, item));
    }
    place->second.record.dictionary()->drop_expired(now);
    account(place, place->second.bytes - bytes, place->second.indexed);
  }

  StoreOutcome check(WallTime expiration, WallTime now) const {
    if (!std::isfinite(expiration.seconds)) return StoreOutcome::too_long;
    if (expiration <= now) return StoreOutcome::expired;
    return now + limits_.lifetime < expiration ? StoreOutcome::too_long : StoreOutcome::accepted;
  }

  void expire(WallTime now) {
    while (!by_expiration_.empty() && by_expiration_.begin()->first <= now) {
      remove(records_.find(by_expiration_.begin()->second));
    }
  }

  /// Lets records that expire before `expiration` leave until `key` can grow from `before` to `after` bytes (0 before:
  /// it is new). Nothing leaves when that would not suffice.
  bool make_room(const DHTID& key, std::size_t before, std::size_t after, WallTime expiration) {
    std::size_t records = records_.size() + (before == 0 ? 1 : 0);
    std::size_t bytes = bytes_ - before + after;
    std::vector<DHTID> leaving;
    for (auto next = by_expiration_.begin(); records > limits_.records || bytes > limits_.bytes; ++next) {
      if (next != by_expiration_.end() && next->second == key) continue;
      if (next == by_expiration_.end() || expiration <= next->first) return false;
      --records;
      bytes -= records_.at(next->second).bytes;
      leaving.push_back(next->second);
    }
    for (const DHTID& id : leaving) remove(records_.find(id));
    return true;
  }

  [[nodiscard]] bool has_share(std::uint64_t source, std::size_t added, std::size_t taken) const {
    if (source == 0) return true;
    const auto place = shares_.find(source);
    const Share share = place == shares_.end() ? Share{} : place->second;
    return share.items + (taken == 0 ? 1 : 0) <= limits_.peer_items &&
           share.bytes + added - taken <= limits_.peer_bytes;
  }
  void charge(std::uint64_t source, std::size_t bytes) {
    if (source == 0) return;
    Share& share = shares_[source];
    ++share.items;
    share.bytes += bytes;
  }
  void give_back(std::uint64_t source, std::size_t bytes) {
    const auto place = shares_.find(source);
    if (place == shares_.end()) return;
    place->second.bytes -= bytes;
    if (--place->second.items == 0) shares_.erase(place);
  }
  /// What each peer has in a record no longer counts towards its share.
  void give_back(const Record& record) {
    if (const Item* const item = record.value()) return give_back(item->source, record_overhead + item->value.size());
    for (const auto& [subkey, item] : record.dictionary()->items()) give_back(item.source, item_bytes(subkey, item));
  }

  /// Sets a whole record, new or in the stead of what `place` holds; it has one item, of `source`.
  StoreOutcome put(Records::iterator place, const DHTID& key, Record record, std::size_t bytes, WallTime expiration,
                   std::uint64_t source) {
    if (bytes > limits_.record_bytes) return StoreOutcome::too_large;
    const bool known = place != records_.end();
    const std::size_t share = record.value() ? bytes : bytes - record_overhead;
    const Item* const there = known ? place->second.record.value() : nullptr;
    if (!has_share(source, share, there && there->source == source ? record_overhead + there->value.size() : 0)) {
      return StoreOutcome::over_share;
    }
    if (!make_room(key, known ? place->second.bytes : 0, bytes, expiration)) return StoreOutcome::full;
    charge(source, share);
    if (known) {
      give_back(place->second.record);
      place->second.record = std::move(record);
      place->second.soonest = expiration;
    } else {
      place = records_.emplace(key, Kept{std::move(record), 0, expiration, expiration}).first;
      by_expiration_.emplace(expiration, key);
    }
    account(place, bytes, expiration);
    return StoreOutcome::accepted;
  }
  void account(Records::iterator place, std::size_t bytes, WallTime expiration) {
    bytes_ = bytes_ - place->second.bytes + bytes;
    place->second.bytes = bytes;
    if (place->second.indexed == expiration) return;
    by_expiration_.erase({place->second.indexed, place->first});
    by_expiration_.emplace(expiration, place->first);
    place->second.indexed = expiration;
  }
  void remove(Records::iterator place) {
    by_expiration_.erase({place->second.indexed, place->first});
    bytes_ -= place->second.bytes;
    give_back(place->second.record);
    records_.erase(place);
  }

  StorageLimits limits_;
  Records records_;
  std::set<std::pair<WallTime, DHTID>> by_expiration_;
  std::size_t bytes_ = 0;
  std::unordered_map<std::uint64_t, Share> shares_;  // of peers that have something here
};

}  // namespace skep::inline v0::dht
