// ExpectedDelays: how long each server is expected to take, from what it publishes and from what was measured.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "skep/core/time.hpp"
#include "skep/moe/uid.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::moe {

/// A server's delay is what was learned of it last: the wait that it publishes, or an average of answer times in which
/// the newest counts a quarter. Any thread.
class ExpectedDelays {
 public:
  /// @param limit  servers remembered at most; what has expired goes first, then everything
  explicit ExpectedDelays(std::size_t limit = 4096) : limit_(limit) {}

  /// A server says how long a request waits there. Repeating what is known changes nothing.
  void published(const p2p::PeerId& peer, Duration wait, SteadyTime until, SteadyTime now) {
    const std::scoped_lock lock(mutex_);
    Entry& entry = entry_of(peer, now);
    if (until <= entry.published_until) return;
    entry.published_until = until;
    entry.until = until;
    entry.delay = std::max(wait, Duration{});
  }
  /// An answer took so long; believed for a minute.
  void measured(const p2p::PeerId& peer, Duration took, SteadyTime now) {
    const std::scoped_lock lock(mutex_);
    Entry& entry = entry_of(peer, now);
    entry.delay = entry.until > now ? entry.delay + (took - entry.delay) / 4 : took;
    entry.until = deadline_after(now, 60s);
    entry.times.add(took);
    all_.add(took);
  }

  /// Zero when nothing is known.
  [[nodiscard]] Duration of(const p2p::PeerId& peer, SteadyTime now) const {
    const std::scoped_lock lock(mutex_);
    const auto found = servers_.find(peer);
    return found == servers_.end() || found->second.until <= now ? Duration{} : found->second.delay;
  }
  /// After how long an answer is late: the average of the server's answer times and four times their deviation from it,
  /// as TCP waits before it sends again (RFC 6298). Of all servers together when this one was not measured yet, and
  /// unlimited when none was.
  [[nodiscard]] Duration patience(const p2p::PeerId& peer) const {
    const std::scoped_lock lock(mutex_);
    const auto found = servers_.find(peer);
    const Times& times = found == servers_.end() || found->second.times.count == 0 ? all_ : found->second.times;
    return times.count == 0 ? unlimited : times.average + 4 * times.deviation;
  }

 private:
  struct Times {
    void add(Duration took) {
      deviation = count == 0 ? took / 2 : deviation + (std::chrono::abs(took - average) - deviation) / 4;
      average = count == 0 ? took : average + (took - average) / 8;
      ++count;
    }
    std::size_t count = 0;
    Duration average{};
    Duration deviation{};
  };
  struct Entry {
    Duration delay{};
    SteadyTime until{};
    SteadyTime published_until{};
    Times times;  // as measured
  };

  Entry& entry_of(const p2p::PeerId& peer, SteadyTime now) {
    if (servers_.size() >= limit_ && !servers_.contains(peer)) {
      std::erase_if(servers_, [now](const auto& server) { return server.second.until <= now; });
      if (servers_.size() >= limit_) servers_.clear();
    }
    return servers_[peer];
  }

  std::size_t limit_;
  mutable std::mutex mutex_;
  std::unordered_map<p2p::PeerId, Entry> servers_;
  Times all_;
};

}  // namespace skep::inline v0::moe
