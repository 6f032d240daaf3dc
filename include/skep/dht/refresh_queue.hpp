// RefreshQueue: which cached records are to be found anew, and when.
#pragma once

#include <cstddef>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "skep/core/time.hpp"
#include "skep/dht/key.hpp"

namespace skep::inline v0::dht {

/// Keys by the time when they are due, one entry a key. It knows nothing of expiry: a key that was due long ago is
/// still due. Bounded: when it is full the key that is due last is left out. Time is an argument.
class RefreshQueue {
 public:
  explicit RefreshQueue(std::size_t capacity) : capacity_(capacity) {}

  /// Sets when a key is due, new or instead of what was said before.
  void schedule(const DHTID& key, WallTime due) {
    const auto [place, fresh] = due_.try_emplace(key, due);
    if (!fresh) {
      if (place->second == due) return;
      by_time_.erase({place->second, key});
      place->second = due;
    }
    by_time_.emplace(due, key);
    if (due_.size() > capacity_) forget(std::prev(by_time_.end()));
  }

  /// When the next key is due.
  [[nodiscard]] std::optional<WallTime> next() const {
    return by_time_.empty() ? std::nullopt : std::optional(by_time_.begin()->first);
  }
  /// Takes out what is due, the earliest first, at most `limit` keys.
  [[nodiscard]] std::vector<DHTID> take(WallTime now, std::size_t limit) {
    std::vector<DHTID> keys;
    while (keys.size() < limit && !by_time_.empty() && by_time_.begin()->first <= now) {
      keys.push_back(by_time_.begin()->second);
      forget(by_time_.begin());
    }
    return keys;
  }
  [[nodiscard]] bool contains(const DHTID& key) const { return due_.contains(key); }
  [[nodiscard]] std::size_t size() const noexcept { return due_.size(); }

 private:
  using ByTime = std::set<std::pair<WallTime, DHTID>>;

  void forget(ByTime::iterator entry) {
    due_.erase(entry->second);
    by_time_.erase(entry);
  }

  std::size_t capacity_;
  std::map<DHTID, WallTime> due_;
  ByTime by_time_;
};

}  // namespace skep::inline v0::dht
