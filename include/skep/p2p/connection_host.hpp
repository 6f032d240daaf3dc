// ConnectionHost: what the connections of a host have in common, and what they tell it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <system_error>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/deadline_wheel.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/new_shared.hpp"
#include "skep/core/time.hpp"
#include "skep/p2p/standing.hpp"
#include "skep/p2p/stream_machine.hpp"
#include "skep/p2p/turn.hpp"
#include "skep/p2p/yamux.hpp"

namespace skep::inline v0::p2p {

class Connection;

/// Bytes on the wire over all connections of a host, Noise's own included; the handshakes are not counted.
struct Traffic {
  std::uint64_t received = 0;
  std::uint64_t sent = 0;
};

/// What the connections of a host have in common, and what they tell it. Outlives them.
class ConnectionHost {
 public:
  struct Options {
    yamux::Limits streams{};
    Duration keepalive = 30s;                       ///< silence of the peer before it is asked for a sign of life
    Duration pong_timeout = 10s;                    ///< for that sign
    Duration lazy_delay = 10ms;                     ///< how long small frames wait for company
    std::size_t request_quota = 256 * 1024 * 1024;  ///< bytes of unanswered requests that a connection may hold
    StandingOptions standing{};                     ///< of each peer
  };

  ConnectionHost(Executor executor, Options options)
      : executor_(executor),
        options_(options),
        turn_(new_shared<Turn>(executor)),
        deadlines_(executor),
        standings_(options.standing) {}
  ConnectionHost(const ConnectionHost&) = delete;
  ConnectionHost& operator=(const ConnectionHost&) = delete;

  [[nodiscard]] Turn& turn() noexcept { return *turn_; }
  [[nodiscard]] Deadlines& deadlines() noexcept { return deadlines_; }
  [[nodiscard]] const Executor& executor() const noexcept { return executor_; }
  [[nodiscard]] SteadyTime now() const noexcept { return std::chrono::steady_clock::now(); }
  [[nodiscard]] const Traffic& traffic() const noexcept { return traffic_; }

 protected:
  ~ConnectionHost() = default;

  /// The peer opened a stream: who takes it? Null resets it.
  virtual std::shared_ptr<StreamMachine> accept(Connection& connection) = 0;
  /// The connection ended; it comes once, not from inside a call of the host.
  virtual void closed(Connection& connection, std::error_code why) = 0;

 private:
  friend class Connection;

  Executor executor_;
  Options options_;
  std::shared_ptr<Turn> turn_;
  Deadlines deadlines_;
  Traffic traffic_;
  StandingTable standings_;
  Mux::Batch batch_;  // shared by all connections: used within one call
  Bytes sealed_;
};

}  // namespace skep::inline v0::p2p
