// A swarm of DHT nodes on real sockets in one process and on one thread, for the suite dht.
#pragma once

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <chrono>
#include <cstddef>
#include <exception>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/dht.hpp"

namespace skep::bench {

inline constexpr std::string_view echo_method = "Echo.rpc_say";

/// How often the DHT's methods were called, by all nodes.
struct Calls {
  std::size_t find = 0;
  std::size_t store = 0;
  std::size_t ping = 0;
};

/// A host that counts its calls. All hosts of the swarm share the counters.
class CountingHost : public p2p::Host {
 public:
  CountingHost(asio::io_context& io, p2p::HostOptions options, Calls& calls)
      : Host(io, std::move(options)), calls_(&calls) {}

  [[nodiscard]] awaitable<Bytes> call(p2p::PeerId peer, std::string method, p2p::Payload body,
                                      p2p::CallOptions options = {}) {
    if (method == "DHTProtocol.rpc_find") ++calls_->find;
    if (method == "DHTProtocol.rpc_store") ++calls_->store;
    if (method == "DHTProtocol.rpc_ping") ++calls_->ping;
    return Host::call(std::move(peer), std::move(method), std::move(body), options);
  }

 private:
  Calls* calls_;
};

using Node = dht::Node<CountingHost>;

/// How the nodes get to know each other.
enum class Acquaintance {
  join,    ///< as in life: each joins through the first, with all handshakes; then everybody pings everybody
  nobody,  ///< tables are filled by hand with what long life would have put there; connections are made when needed
};

/// Nodes that cache nothing.
class Swarm {
 public:
  explicit Swarm(Acquaintance how) : how_(how) {}
  ~Swarm() {
    for (Node& node : nodes) {
      node.close();
      CountingHost(node.network()).close();
    }
  }
  Swarm(const Swarm&) = delete;
  Swarm& operator=(const Swarm&) = delete;

  void run(awaitable<void> body) {
    std::exception_ptr failure;
    asio::co_spawn(io, std::move(body), [&](std::exception_ptr thrown) {
      failure = thrown;
      io.stop();
    });
    io.restart();
    io.run();
    if (failure) std::rethrow_exception(failure);
  }

  void add(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) run(add_one());
  }
  void meet() {
    if (how_ == Acquaintance::nobody) return introduce_all();
    for (const Node& node : nodes) run(ping_all(node));
  }
  /// Opens the connections of one node to all others.
  void connect(std::size_t from) { run(echo_all(nodes[from])); }

  asio::io_context io{1};
  Calls calls;
  std::vector<Node> nodes;

 private:
  awaitable<void> add_one() {
    CountingHost host(io, {.listen = {"/ip4/127.0.0.1/tcp/0"}}, calls);
    host.handle(std::string(echo_method),
                [](p2p::Request request) -> awaitable<p2p::Payload> { co_return std::move(request.body); });
    dht::NodeOptions options;
    options.cache_locally = false;
    options.cache_nearest = 0;
    options.cache_on_store = false;
    if (!nodes.empty() && how_ == Acquaintance::join) {
      const p2p::PeerId first = nodes.front().peer_id();
      host.add_address(first, nodes.front().network().addresses().front());
      options.initial_peers.push_back(first);
    }
    nodes.push_back(co_await Node::create(host, options));
  }
  awaitable<void> ping_all(Node node) {
    for (Node& other : nodes) {
      if (other.peer_id() == node.peer_id()) continue;
      CountingHost host = node.network();
      host.add_address(other.peer_id(), other.network().addresses().front());
      (void)co_await node.protocol().call_ping(node.protocol().shared_from_this(), other.peer_id(), false);
    }
  }
  awaitable<void> echo_all(Node node) {
    for (Node& other : nodes) {
      if (other.peer_id() == node.peer_id()) continue;
      CountingHost host = node.network();
      host.add_address(other.peer_id(), other.network().addresses().front());
      (void)co_await host.call(other.peer_id(), std::string(echo_method), Bytes(64, 1));
    }
  }
  void introduce_all() {
    for (Node& node : nodes) {
      const SteadyTime now = node.network().steady_now();
      for (const Node& other : nodes) node.protocol().table.heard(other.id(), other.peer_id(), now);
    }
  }

  Acquaintance how_;
};

}  // namespace skep::bench
