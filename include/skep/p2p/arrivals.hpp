// Arrivals: whether, and when, one more connection from an address may begin its handshake.
#pragma once

#include <asio/ip/address.hpp>
#include <optional>
#include <string>

#include "skep/core/time.hpp"
#include "skep/p2p/standing.hpp"

namespace skep::inline v0::p2p {

/// Handshakes are the dearest thing that a stranger can ask for. An address whose connections come to nothing, again
/// and again, has them one after another, at the pace at which its faults are forgiven; as many peers share an address,
/// those behind it wait in the same line and are not turned away. Pure: time is an argument.
class Arrivals {
 public:
  static constexpr Duration longest_line = 2s;  ///< whoever would wait longer is turned away

  explicit Arrivals(const StandingOptions& options) noexcept : table_(options) {}

  /// When this connection may begin; nullopt when it is to be closed.
  [[nodiscard]] std::optional<SteadyTime> admit(const asio::ip::address& from, SteadyTime now) {
    const auto standing = table_.of(key(from), now);
    if (standing->pause(now) == Duration::zero()) return now;
    const SteadyTime turn = standing->next_turn(now);
    if (turn - now > longest_line) return std::nullopt;
    standing->take_turn(turn);
    return turn;
  }
  /// A connection came to nothing: its handshake failed, or it ended as soon as it had begun.
  void fault(const asio::ip::address& from, SteadyTime now) { table_.of(key(from), now)->fault(now); }

 private:
  // Whoever has an IPv6 address has the 2^64 beside it.
  [[nodiscard]] static std::string key(const asio::ip::address& address) {
    if (address.is_v4()) {
      const auto bytes = address.to_v4().to_bytes();
      return {bytes.begin(), bytes.end()};
    }
    const auto bytes = address.to_v6().to_bytes();
    return {bytes.begin(), bytes.begin() + 8};
  }

  StandingTable table_;
};

}  // namespace skep::inline v0::p2p
