// Blacklist: peers that failed to answer are left alone for a while, longer each time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <unordered_map>
#include <utility>

#include "skep/core/time.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::dht {

struct BlacklistOptions {
  Duration base = 5s;       ///< the first ban; zero bans nobody
  double backoff_rate = 2;  ///< of each further ban
  Duration longest = 1min;
  std::size_t capacity = 4096;  ///< peers remembered; the one whose ban ends first is forgotten
};

/// Bans of base * rate^failures. Time is an argument.
class Blacklist {
 public:
  explicit Blacklist(BlacklistOptions options = {}) : options_(options) {}

  [[nodiscard]] bool banned(const p2p::PeerId& peer, SteadyTime now) const {
    if (bans_.empty()) return false;
    const auto entry = bans_.find(peer);
    return entry != bans_.end() && now < entry->second.until;
  }
  /// Failures of a peer that is banned already do not count.
  void failed(const p2p::PeerId& peer, SteadyTime now) {
    if (options_.base <= Duration::zero()) return;
    Ban& ban = bans_[peer];
    if (now < ban.until) return;
    ban.length = ban.length == Duration::zero() ? options_.base : longer(ban.length);
    ban.until = deadline_after(now, ban.length);
    if (bans_.size() > options_.capacity) forget_one();
  }
  /// The first success clears everything.
  void succeeded(const p2p::PeerId& peer) { bans_.erase(peer); }
  void clear() { bans_.clear(); }
  [[nodiscard]] std::size_t size() const noexcept { return bans_.size(); }

 private:
  struct Ban {
    Duration length{};
    SteadyTime until{};
  };

  Duration longer(Duration length) const {
    const double grown = static_cast<double>(length.count()) * options_.backoff_rate;
    return grown < static_cast<double>(options_.longest.count()) ? Duration(static_cast<Duration::rep>(grown))
                                                                 : options_.longest;
  }
  void forget_one() {
    bans_.erase(std::min_element(bans_.begin(), bans_.end(), [](const auto& a, const auto& b) {
      return std::pair(a.second.until, a.first) < std::pair(b.second.until, b.first);
    }));
  }

  BlacklistOptions options_;
  std::unordered_map<p2p::PeerId, Ban> bans_;
};

}  // namespace skep::inline v0::dht
