// BackgroundServer: a whole server in one line, with its DHT, ready when it is constructed.
#pragma once

#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/dht.hpp"
#include "skep/moe/server/server.hpp"

namespace skep::inline v0::moe {

/// Options of a BackgroundServer.
struct BackgroundServerOptions {
  ServerOptions server = {};
  dht::DHTOptions dht = {};
  Duration start_timeout = 60s;
};

/// A server and its DHT that serve from construction to destruction, on threads of their own (Hivemind's
/// background_server):
///
///     skep::moe::BackgroundServer<skep::moe::Ffn> server({.server = {.experts = {{.num_experts = 4}}}});
///     skep::dht::DHT client({.initial_peers = server.visible_maddrs()});
///
/// Throws Error "the server failed to start: ..." with the reason; nothing is left behind then.
/// *Lifetime:* the destructor withdraws the experts, then leaves the DHT. *Threads:* any that may block.
template <class... Experts>
class BackgroundServer {
 public:
  explicit BackgroundServer(BackgroundServerOptions options)
      : dht_(started([&] {
          check(options.server);  // before anything is started
          return dht::DHT(std::move(options.dht));
        })),
        server_(started([&] { return std::make_unique<Server<Experts...>>(dht_, std::move(options.server)); })) {
    started([&] { server_->run_in_background(true, options.start_timeout); });
  }
  BackgroundServer(const BackgroundServer&) = delete;
  BackgroundServer& operator=(const BackgroundServer&) = delete;
  ~BackgroundServer() {
    server_.reset();
    dht_.shutdown();
  }

  [[nodiscard]] p2p::PeerId peer_id() const { return dht_.peer_id(); }
  /// Multiaddresses by which others join.
  [[nodiscard]] std::vector<std::string> visible_maddrs() { return dht_.visible_maddrs(); }
  [[nodiscard]] Server<Experts...>& server() noexcept { return *server_; }
  [[nodiscard]] dht::DHT& dht() noexcept { return dht_; }

 private:
  /// What `act` gives; what it throws is told as a failed start.
  template <class Act>
  static auto started(Act act) {
    try {
      return act();
    } catch (const Error& e) {
      throw Error(e.code(), "the server failed to start: " + std::string(without_prefix(e.what())));
    } catch (const std::exception& e) {
      throw Error(errc::invalid_argument, "the server failed to start: " + std::string(e.what()));
    }
  }

  dht::DHT dht_;
  std::unique_ptr<Server<Experts...>> server_;
};

}  // namespace skep::inline v0::moe
