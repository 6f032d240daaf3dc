// Penalties: experts and servers that failed are left alone for a while, so that the dead stall nobody twice.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "skep/core/time.hpp"
#include "skep/moe/uid.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::moe {

struct PenaltyOptions {
  Duration first = 3s;       ///< after the first failure; zero: no penalties
  Duration longest = 60s;    ///< each further failure doubles the time up to this
  std::size_t limit = 4096;  ///< experts and servers remembered at most
};

/// Who is to be skipped until when. Not thread-safe; `now` comes from outside.
class PenaltyList {
 public:
  explicit PenaltyList(PenaltyOptions options = {}) : options_(options) {}

  /// One expert failed: it refused, or did not answer in time.
  void expert_failed(const std::string& uid, SteadyTime now) { extend(experts_, uid, now); }
  /// The server itself cannot be reached: all its experts are skipped.
  void server_failed(const p2p::PeerId& peer, SteadyTime now) { extend(servers_, peer, now); }
  /// Others answered in its place before it did: held against it when that happens twice in a row.
  void expert_late(const std::string& uid, SteadyTime now) {
    if (late_.size() >= options_.limit) late_.clear();
    if (!late_.insert(uid).second) expert_failed(uid, now);
  }
  /// An answer came: what was held against the expert and its server is forgotten.
  void answered(const ExpertInfo& expert) {
    experts_.erase(expert.uid);
    servers_.erase(expert.peer_id);
    late_.erase(expert.uid);
  }

  [[nodiscard]] bool skips(const ExpertInfo& expert, SteadyTime now) const {
    return active(experts_, expert.uid, now) || active(servers_, expert.peer_id, now);
  }
  /// Whether anyone at all is skipped.
  [[nodiscard]] bool any(SteadyTime now) const {
    const auto counts = [now](const auto& entry) { return entry.second.until > now; };
    return std::ranges::any_of(experts_, counts) || std::ranges::any_of(servers_, counts);
  }
  void clear() {
    experts_.clear();
    servers_.clear();
    late_.clear();
  }

 private:
  struct Penalty {
    SteadyTime until;
    Duration length{};
  };
  template <class Key>
  using Penalties = std::unordered_map<Key, Penalty>;

  template <class Key>
  void extend(Penalties<Key>& penalties, const Key& key, SteadyTime now) {
    if (options_.first <= 0s) return;
    if (penalties.size() >= options_.limit) {
      std::erase_if(penalties, [now](const auto& entry) { return entry.second.until <= now; });
      if (penalties.size() >= options_.limit) penalties.clear();
    }
    Penalty& penalty = penalties[key];
    if (penalty.until > now) return;  // several calls of one batch failed together
    penalty.length = penalty.length == 0s ? options_.first : std::min(penalty.length * 2, options_.longest);
    penalty.until = deadline_after(now, penalty.length);
  }
  template <class Key>
  [[nodiscard]] static bool active(const Penalties<Key>& penalties, const Key& key, SteadyTime now) {
    const auto found = penalties.find(key);
    return found != penalties.end() && found->second.until > now;
  }

  PenaltyOptions options_;
  Penalties<std::string> experts_;
  Penalties<p2p::PeerId> servers_;
  std::unordered_set<std::string> late_;
};

}  // namespace skep::inline v0::moe
