// Traffic: what peers asked of the experts of a server and what became of it, counted where requests come in.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace skep::inline v0::moe {

namespace detail {
template <class Count>
struct TrafficOf {
  Count info{};          ///< calls of rpc_info
  Count forward{};       ///< requests that were computed or are being computed
  Count backward{};      ///< the same
  Count bytes_in{};      ///< of the tensors of these requests, as they came over the wire or larger
  Count bytes_out{};     ///< of the tensors of the answers, uncompressed
  Count failed{};        ///< answered with what the module threw
  Count invalid{};       ///< refused: malformed, does not fit the schema, too large, or no such expert
  Count busy{};          ///< refused: the queue or the peer's quota is full
  Count expired{};       ///< not computed in the time that their callers or this server gave them
  Count unauthorized{};  ///< refused by `authorize`
  Count leaving{};       ///< refused: the server is shutting down
};
}  // namespace detail

/// What was asked of one expert since the server began.
using ExpertTraffic = detail::TrafficOf<std::uint64_t>;

/// The counters behind it. *Threads:* any.
using TrafficCounters = detail::TrafficOf<std::atomic<std::uint64_t>>;

/// A snapshot of counters.
[[nodiscard]] inline ExpertTraffic snapshot(const TrafficCounters& now) noexcept {
  return {now.info,    now.forward, now.backward, now.bytes_in,     now.bytes_out, now.failed,
          now.invalid, now.busy,    now.expired,  now.unauthorized, now.leaving};
}

/// The counters of all experts of a server. *Threads:* any.
class ServerTraffic {
 public:
  explicit ServerTraffic(const std::vector<std::string>& uids = {}) {
    for (const std::string& uid : uids) experts_.try_emplace(uid);
  }

  /// Of this expert; what is asked of experts that are not here counts together.
  [[nodiscard]] TrafficCounters& of(std::string_view uid) noexcept {
    const auto found = experts_.find(uid);
    return found == experts_.end() ? others_ : found->second;
  }
  [[nodiscard]] ExpertTraffic others() const noexcept { return snapshot(others_); }
  [[nodiscard]] std::map<std::string, ExpertTraffic> snapshots() const {
    std::map<std::string, ExpertTraffic> all;
    for (const auto& [uid, counters] : experts_) all.emplace(uid, snapshot(counters));
    return all;
  }

 private:
  std::map<std::string, TrafficCounters, std::less<>> experts_;  // the keys never change, so that any thread may read
  TrafficCounters others_;
};

}  // namespace skep::inline v0::moe
