// What is known of the experts under each prefix: parsed once, shared without locks as immutable snapshots.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "skep/core/time.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

/// The entries under one prefix, ordered by coordinate. An entry that contradicts itself is left out: a uid that breaks
/// the rules, that does not lie under prefix and coordinate, or that nobody serves.
class Successors {
 public:
  Successors(std::string_view prefix, std::map<Coordinate, UidEndpoint> found) {
    const auto above = coordinates_of(prefix);
    if (!above) return;
    coordinates_.reserve(found.size());
    rest_.reserve(found.size());
    rest_end_.reserve(found.size());
    experts_.reserve(found.size());
    for (auto& [coordinate, endpoint] : found) {
      if (endpoint.peer_id.empty() || endpoint.uid.ends_with(uid_delimiter)) continue;
      const auto below = coordinates_of(endpoint.uid);
      if (!below || below->empty()) continue;
      if (coordinate == flat_expert) {
        if (prefix.substr(0, prefix.size() - 1) != endpoint.uid) continue;
      } else if (!endpoint.uid.starts_with(prefix) || (*below)[above->size()] != coordinate) {
        continue;
      }
      coordinates_.push_back(coordinate);
      rest_.insert(rest_.end(), below->begin() + static_cast<std::ptrdiff_t>(above->size()), below->end());
      rest_end_.push_back(rest_.size());
      experts_.push_back(std::move(endpoint));
      ends_here_ = ends_here_ && rest_end_.back() == rest_end_.size();
    }
  }

  [[nodiscard]] std::size_t size() const noexcept { return coordinates_.size(); }
  [[nodiscard]] Coordinate coordinate(std::size_t at) const noexcept { return coordinates_[at]; }
  [[nodiscard]] const ExpertInfo& expert(std::size_t at) const noexcept { return experts_[at]; }
  /// Whether all coordinates lie in [0, limit).
  [[nodiscard]] bool within(Coordinate limit) const noexcept {
    return coordinates_.empty() || (coordinates_.front() >= 0 && coordinates_.back() < limit);
  }
  /// Whether these are the coordinates from 0 on without a gap: each stands at its own place.
  [[nodiscard]] bool dense() const noexcept { return within(static_cast<Coordinate>(coordinates_.size())); }
  /// Whether every expert has one coordinate after the prefix.
  [[nodiscard]] bool ends_here() const noexcept { return ends_here_; }
  /// The coordinates of the expert's uid after the prefix; none for a flat expert.
  [[nodiscard]] std::span<const Coordinate> rest(std::size_t at) const noexcept {
    return std::span(rest_).subspan(at == 0 ? 0 : rest_end_[at - 1], rest_end_[at] - (at == 0 ? 0 : rest_end_[at - 1]));
  }
  [[nodiscard]] std::optional<std::size_t> find(Coordinate coordinate) const noexcept {
    const auto place = std::lower_bound(coordinates_.begin(), coordinates_.end(), coordinate);
    if (place == coordinates_.end() || *place != coordinate) return std::nullopt;
    return static_cast<std::size_t>(place - coordinates_.begin());
  }

 private:
  std::vector<Coordinate> coordinates_;
  std::vector<Coordinate> rest_;
  std::vector<std::size_t> rest_end_;
  std::vector<ExpertInfo> experts_;
  bool ends_here_ = true;
};

/// What was found under each of some prefixes, in their order; null where there is nothing.
using FoundSuccessors = std::vector<std::shared_ptr<const Successors>>;

/// What a store said about a prefix, and until when it is believed. Null successors: there was nothing.
struct KnownPrefix {
  std::shared_ptr<const Successors> successors;
  SteadyTime until;
};

/// A snapshot of what is known; never changed once it is shared.
class PrefixTable {
 public:
  /// @return null when the prefix is not known, or no longer
  [[nodiscard]] const KnownPrefix* find(const std::string& prefix, SteadyTime now) const {
    const auto found = prefixes_.find(prefix);
    return found == prefixes_.end() || found->second.until <= now ? nullptr : &found->second;
  }
  [[nodiscard]] std::size_t size() const noexcept { return prefixes_.size(); }

 private:
  friend class PrefixCache;
  std::unordered_map<std::string, KnownPrefix> prefixes_;
};

/// The newest snapshot. Any thread may read and add at any time: readers keep the table they took.
class PrefixCache {
 public:
  /// @param limit  prefixes kept at most; what is no longer believed goes first, then everything
  explicit PrefixCache(std::size_t limit = 65536) : limit_(limit) {}

  [[nodiscard]] std::shared_ptr<const PrefixTable> snapshot() const {
    const std::scoped_lock lock(mutex_);
    return table_;
  }

  /// Publishes a new snapshot with these prefixes in it.
  void add(std::vector<std::pair<std::string, KnownPrefix>> found, SteadyTime now) {
    const std::scoped_lock lock(mutex_);
    auto next = std::make_shared<PrefixTable>();
    for (const auto& entry : table_->prefixes_) {
      if (entry.second.until > now) next->prefixes_.insert(entry);
    }
    if (next->size() + found.size() > limit_) next->prefixes_.clear();
    for (auto& [prefix, known] : found) {
      if (next->size() < limit_) next->prefixes_.insert_or_assign(std::move(prefix), std::move(known));
    }
    table_ = std::move(next);
  }

  void clear() {
    const std::scoped_lock lock(mutex_);
    table_ = std::make_shared<PrefixTable>();
  }

 private:
  std::size_t limit_;
  mutable std::mutex mutex_;
  std::shared_ptr<const PrefixTable> table_ = std::make_shared<PrefixTable>();
};

}  // namespace skep::inline v0::moe
