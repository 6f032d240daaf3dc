// Standing: how much trouble a peer or an address has made lately, and how long it is kept waiting for that.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <string>
#include <system_error>
#include <unordered_map>

#include "skep/core/error.hpp"
#include "skep/core/new_shared.hpp"
#include "skep/core/time.hpp"

namespace skep::inline v0::p2p {

/// Whether what a handler fails with says that its caller is to blame: the request was not what it has to be. A server
/// that is busy, leaves or breaks is not the caller's fault, nor is a name that it does not have (any more).
[[nodiscard]] inline bool is_callers_fault(std::error_code code) noexcept {
  return code == skep::errc::invalid_argument || code == skep::errc::malformed || code == skep::errc::truncated ||
         code == skep::errc::limit_exceeded || code == skep::errc::refused;
}
[[nodiscard]] inline bool is_callers_fault(const std::exception& thrown) noexcept {
  const auto* const error = dynamic_cast<const std::system_error*>(&thrown);
  return error != nullptr && is_callers_fault(error->code());
}

/// How much trouble is taken in good part.
struct StandingOptions {
  std::size_t faults = 64;               ///< at a time, without any consequence
  std::size_t forgiven_per_second = 16;  ///< at least 1; whoever keeps to this is never made to wait
  Duration longest_pause = 1s;
};

/// A leaky bucket of faults. Beyond `faults` the pause grows with each, up to the longest; it shrinks as time forgives
/// them, so that the pace of somebody who goes on is `forgiven_per_second`. A request that was served makes up for one.
/// Pure: time is an argument.
class Standing {
 public:
  explicit Standing(const StandingOptions& options) noexcept : options_(options) {}

  void fault(SteadyTime now) noexcept {
    const double most = tolerated() + in_seconds(options_.longest_pause) * per_second();
    faults_ = std::min(left(now) + 1, most);
    counted_ = now;
  }
  void served() noexcept { faults_ = std::max(faults_ - 1, 0.0); }

  /// For how long nothing more is taken from it.
  [[nodiscard]] Duration pause(SteadyTime now) const noexcept {
    const double beyond = std::max(left(now) - tolerated(), 0.0);
    return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(beyond / per_second()));
  }
  /// Nothing was to be forgiven when it was last looked at.
  [[nodiscard]] bool blameless() const noexcept { return faults_ == 0; }
  /// Whether nothing is left to be forgiven.
  [[nodiscard]] bool clear(SteadyTime now) const noexcept { return left(now) == 0; }
  /// When its next turn is in a line that moves at the pace of forgiveness.
  [[nodiscard]] SteadyTime next_turn(SteadyTime now) const noexcept {
    const std::chrono::duration<double> each(1 / per_second());
    return std::max(turn_ + std::chrono::duration_cast<Duration>(each), now);
  }
  void take_turn(SteadyTime turn) noexcept { turn_ = turn; }

  std::size_t arriving = 0;  ///< connections that are being upgraded, or wait for it

 private:
  static double in_seconds(Duration duration) noexcept { return std::chrono::duration<double>(duration).count(); }
  [[nodiscard]] double tolerated() const noexcept { return static_cast<double>(options_.faults); }
  [[nodiscard]] double per_second() const noexcept { return static_cast<double>(options_.forgiven_per_second); }
  [[nodiscard]] double left(SteadyTime now) const noexcept {
    if (blameless()) return 0;
    return std::max(faults_ - in_seconds(now - counted_) * per_second(), 0.0);
  }

  StandingOptions options_;
  double faults_ = 0;
  SteadyTime counted_{};
  SteadyTime turn_{};  // the last one taken
};

/// The standing of many, each remembered as long as somebody holds it or it is not clear. Bounded: beyond `most`, who
/// is clear is forgotten, and if that is not enough whoever is not here.
class StandingTable {
 public:
  explicit StandingTable(const StandingOptions& options, std::size_t most = 4096) noexcept
      : options_(options), most_(most) {}

  /// @param whose  the bytes of a peer id, or of an address
  [[nodiscard]] std::shared_ptr<Standing> of(const std::string& whose, SteadyTime now) {
    if (const auto found = table_.find(whose); found != table_.end()) return found->second;
    if (table_.size() >= most_) make_room(now);
    return table_.emplace(whose, new_shared<Standing>(options_)).first->second;
  }
  [[nodiscard]] std::size_t size() const noexcept { return table_.size(); }

 private:
  void make_room(SteadyTime now) {
    std::erase_if(table_, [now](const auto& one) { return one.second.use_count() == 1 && one.second->clear(now); });
    if (table_.size() < most_) return;
    std::erase_if(table_, [](const auto& one) { return one.second.use_count() == 1; });
  }

  StandingOptions options_;
  std::size_t most_;
  std::unordered_map<std::string, std::shared_ptr<Standing>> table_;
};

}  // namespace skep::inline v0::p2p
