// Arrivals: whether, and when, one more connection from an address may begin its handshake.
#pragma once

#include <algorithm>
#include <asio/ip/address.hpp>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "skep/core/time.hpp"
#include "skep/p2p/standing.hpp"

namespace skep::inline v0::p2p {

/// Handshakes are the dearest thing that a stranger can ask for. An address whose connections come to nothing, again
/// and again, has them one after another, at the pace at which its faults are forgiven; as many peers share an address,
/// those behind it wait in the same line. No address has more than three quarters of all handshakes under way, one that
/// makes trouble not more than an eighth, the line included, and whoever comes beyond that is turned away: others get
/// through beside connections that say nothing. Pure: time is an argument.
class Arrivals {
 public:
  static constexpr Duration longest_line = 2s;  ///< whoever would wait longer is turned away

  /// A connection that was let in, until its handshake is over.
  class Place {
   public:
    Place(std::shared_ptr<Standing> standing, SteadyTime begins) : standing_(std::move(standing)), begins_(begins) {
      ++standing_->arriving;
    }
    Place(Place&&) noexcept = default;
    Place& operator=(Place&&) = delete;
    ~Place() {
      if (standing_) --standing_->arriving;
    }
    [[nodiscard]] SteadyTime begins() const noexcept { return begins_; }

   private:
    std::shared_ptr<Standing> standing_;
    SteadyTime begins_;
  };

  /// @param most  handshakes under way, of all addresses
  Arrivals(const StandingOptions& options, std::size_t most) noexcept : most_(most), table_(options) {}

  /// When this connection may begin; nullopt when it is to be closed.
  [[nodiscard]] std::optional<Place> admit(const asio::ip::address& from, SteadyTime now) {
    auto standing = table_.of(key(from), now);
    if (standing->pause(now) == Duration::zero()) {
      if (standing->arriving >= std::max<std::size_t>(most_ / 4 * 3, 1)) return std::nullopt;
      return Place(std::move(standing), now);
    }
    const SteadyTime turn = standing->next_turn(now);
    if (turn - now > longest_line || standing->arriving >= std::max<std::size_t>(most_ / 8, 1)) return std::nullopt;
    standing->take_turn(turn);
    return Place(std::move(standing), turn);
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

  std::size_t most_;
  StandingTable table_;
};

}  // namespace skep::inline v0::p2p
