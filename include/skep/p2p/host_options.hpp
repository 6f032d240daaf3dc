// What a host is told when it is made: where it listens, who it is, and its limits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "skep/core/time.hpp"
#include "skep/p2p/identity.hpp"
#include "skep/p2p/standing.hpp"
#include "skep/p2p/yamux.hpp"

namespace skep::inline v0::p2p {

/// Bounds of what peers may cost a host, and of how long it waits for them.
struct HostLimits {
  std::size_t max_connections = 4096;                ///< in all; more inbound ones are closed at once
  std::size_t max_connections_per_peer = 8;          ///< more inbound ones are closed after the handshake
  std::size_t max_upgrades = 256;                    ///< inbound handshakes at a time
  std::size_t max_stream_message = 8 * 1024 * 1024;  ///< one message of a streaming call
  std::size_t request_quota = 256 * 1024 * 1024;     ///< bytes of unanswered requests that one connection may hold
  yamux::Limits streams{};                           ///< of one connection
  StandingOptions standing{};                        ///< of a peer by its requests, of an address by its connections
  Duration short_connection = 1s;                    ///< an inbound one that ends sooner was made for nothing
  Duration upgrade_timeout = 15s;                    ///< security and multiplexer of a connection
  Duration dial_timeout = 15s;                       ///< one address, upgrade included
  Duration connect_timeout = 60s;                    ///< one peer: all its addresses, and asking others for them
  Duration negotiation_timeout = 10s;                ///< the protocol of an inbound stream
  Duration request_timeout = 60s;                    ///< for a request to arrive whole, and for an answer to be taken
  Duration stream_timeout = 60s;                     ///< one wait of a streaming call's handler
  Duration identify_timeout = 30s;
  Duration routing_timeout = 10s;       ///< one question to a peer's routing table
  Duration ping_idle_timeout = 60s;     ///< between two pings on an inbound stream
  Duration routing_idle_timeout = 60s;  ///< between two questions on an inbound stream
  Duration keepalive = 30s;             ///< silence on a connection before the peer is pinged
  Duration pong_timeout = 10s;          ///< then the connection is closed
  Duration dial_stagger = 250ms;        ///< head start of one address over the next
};

struct HostOptions {
  /// Multiaddresses to listen on, "/ip4/0.0.0.0/tcp/0"; port 0 lets the kernel choose. Empty: only dials.
  std::vector<std::string> listen{};
  /// What others are told instead of the addresses listened on.
  std::vector<std::string> announce{};
  /// Who this host is; otherwise `identity_path`, otherwise a fresh Ed25519 identity.
  std::optional<Identity> identity{};
  /// A key file; made when it does not exist.
  std::filesystem::path identity_path{};
  /// Answers peer-routing questions and is found by others (kad server mode).
  bool serve_routing = true;
  std::string agent = "skep/0.1";
  HostLimits limits{};
  /// Seed of `random()`, for tests; otherwise from the operating system.
  std::optional<std::uint64_t> seed{};
};

}  // namespace skep::inline v0::p2p
