// Searches: the keys that are looked for in the swarm right now, and who waits for them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "skep/async/event.hpp"
#include "skep/core/remove_where.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/key.hpp"
#include "skep/dht/record.hpp"
#include "skep/dht/traversal.hpp"

namespace skep::inline v0::dht {

/// Longer than any record lives: who asks for that wants all that the nearest nodes know.
inline constexpr WallTime latest_time{std::numeric_limits<double>::infinity()};

class SearchBatch;

/// A key that somebody wants, and how fresh.
struct Wanted {
  DHTID key;
  WallTime sufficient;   ///< a record that lives so long is enough
  std::size_t replicas;  ///< of a dictionary from so many nodes
  bool use_cache = true;
};

/// What one get call waits for: several keys, each in its place.
class Reader {
 public:
  Reader(const Executor& executor, std::size_t places) : done(executor), records(places), searches_(places) {}

  /// Gives up the keys that are not there yet and keeps what is known of them; their searches end unless others wait.
  inline void leave();

  [[nodiscard]] bool is_pending() const noexcept { return pending_ != 0; }

  Event done;                                  ///< nothing is pending any more
  std::vector<std::optional<Record>> records;  ///< what was found, or nothing
  bool interrupted = false;                    ///< the node was closed before all was found
  bool cancelled = false;                      ///< the caller wants nothing of it any more

 private:
  friend class SearchBatch;
  struct Place {
    std::shared_ptr<SearchBatch> batch;  // null: not pending
    std::size_t key = 0;
  };

  void deliver(std::size_t place, std::optional<Record> record) {
    records[place] = std::move(record);
    searches_[place].batch.reset();
    if (--pending_ == 0) done.set();
  }

  std::vector<Place> searches_;
  std::size_t pending_ = 0;
};

/// The search of one key: what was found so far, and by whom it is awaited. Pure but for waking who waits.
struct KeySearch {
  struct Waiter {
    std::shared_ptr<Reader> reader;
    std::size_t place;
    WallTime sufficient;  ///< as in `Wanted`
    std::size_t replicas;
  };

  /// Adds what a node, or this node itself, has. @return whether it is newer than what was known
  bool take(Record other) {
    ++replicas;
    if (!record) {
      record = std::move(other);
      return true;
    }
    const WallTime before = record->expiration();
    record->merge(std::move(other));
    return before < record->expiration();
  }
  [[nodiscard]] bool enough(WallTime sufficient, std::size_t of_replicas) const {
    return record && record->expiration() >= sufficient && (record->value() || replicas >= of_replicas);
  }
  /// From how many more nodes somebody still wants the dictionary.
  [[nodiscard]] std::size_t missing_replicas() const {
    std::size_t most = 0;
    for (const Waiter& waiter : waiters) most = std::max(most, waiter.replicas);
    return most - std::min(most, replicas);
  }

  std::optional<Record> record;
  std::size_t replicas = 0;  ///< how many nodes gave it
  bool from_network = false;
  bool over = false;
  std::vector<Waiter> waiters;
  std::vector<NodeEntry> lacking;  ///< nodes that were asked and have nothing
};

/// Keys that one call looks for together, so that they share requests; others may join a key.
class SearchBatch : public std::enable_shared_from_this<SearchBatch> {
 public:
  /// @param parallelism  requests in flight for one key
  SearchBatch(const Executor& executor, bool latest, std::size_t parallelism)
      : latest_(latest), parallelism_(parallelism), news_(std::make_shared<Event>(executor)) {}

  std::size_t add(const DHTID& key, KeySearch search) {
    targets_.push_back(key);
    keys_.push_back(std::move(search));
    return keys_.size() - 1;
  }
  void wait(std::size_t key, const std::shared_ptr<Reader>& reader, std::size_t place, const Wanted& wanted) {
    keys_[key].waiters.push_back({reader, place, wanted.sufficient, wanted.replicas});
    reader->searches_[place] = {shared_from_this(), key};
    ++reader->pending_;
  }

  /// Hands the key's record to those for whom it is enough. @return whether anybody still waits
  bool serve(std::size_t key) {
    KeySearch& search = keys_[key];
    remove_where(search.waiters, [&](const KeySearch::Waiter& waiter) {
      if (!search.enough(waiter.sufficient, waiter.replicas)) return false;
      waiter.reader->deliver(waiter.place, search.record);
      return true;
    });
    return !search.waiters.empty();
  }
  /// Nobody else is asked: everybody gets what there is.
  void finish(std::size_t key) {
    KeySearch& search = keys_[key];
    search.over = true;
    if (traversal) traversal->finish(key);
    for (const auto& waiter : std::exchange(search.waiters, {})) waiter.reader->deliver(waiter.place, search.record);
  }
  /// The node was closed.
  void interrupt() {
    for (std::size_t key = 0; key < keys_.size(); ++key) {
      for (const auto& waiter : keys_[key].waiters) waiter.reader->interrupted = true;
      finish(key);
    }
  }
  /// One who waits for a key no longer does. @return what is known of it
  std::optional<Record> leave(std::size_t key, const Reader* reader) {
    KeySearch& search = keys_[key];
    remove_where(search.waiters, [&](const KeySearch::Waiter& waiter) { return waiter.reader.get() == reader; });
    if (!search.waiters.empty()) return search.record;
    search.over = true;
    if (traversal) traversal->finish(key);
    news_->set();
    return search.record;
  }

  [[nodiscard]] const std::vector<DHTID>& targets() const noexcept { return targets_; }
  [[nodiscard]] std::size_t size() const noexcept { return keys_.size(); }
  [[nodiscard]] KeySearch& operator[](std::size_t key) noexcept { return keys_[key]; }
  [[nodiscard]] bool latest() const noexcept { return latest_; }
  [[nodiscard]] std::size_t parallelism() const noexcept { return parallelism_; }
  [[nodiscard]] const std::shared_ptr<Event>& news() const noexcept { return news_; }

  std::optional<Traversal> traversal;  ///< once it has begun

 private:
  bool latest_;
  std::size_t parallelism_;
  std::shared_ptr<Event> news_;  // something has changed that the search itself did not change
  std::vector<DHTID> targets_;
  std::vector<KeySearch> keys_;
};

void Reader::leave() {
  for (std::size_t place = 0; place < searches_.size(); ++place) {
    if (const auto batch = std::exchange(searches_[place].batch, nullptr)) {
      records[place] = batch->leave(searches_[place].key, this);
      --pending_;
    }
  }
  done.set();
}

/// Finds the search of a key that others may join. A key leaves when its search is over, so nothing stays behind.
class Searches {
 public:
  struct Place {
    std::shared_ptr<SearchBatch> batch;
    std::size_t key;
  };

  [[nodiscard]] const Place* find(const DHTID& key) const {
    const auto place = searches_.find(key);
    if (place == searches_.end()) return nullptr;
    return (*place->second.batch)[place->second.key].over ? nullptr : &place->second;
  }
  void add(const DHTID& key, Place place) { searches_.insert_or_assign(key, std::move(place)); }
  /// Forgets a batch that has ended.
  void remove(const SearchBatch& batch) {
    for (const DHTID& key : batch.targets()) {
      const auto place = searches_.find(key);
      if (place != searches_.end() && place->second.batch.get() == &batch) searches_.erase(place);
    }
  }
  [[nodiscard]] std::size_t size() const noexcept { return searches_.size(); }

 private:
  std::unordered_map<DHTID, Place> searches_;
};

}  // namespace skep::inline v0::dht
