// simulated_nodes: a small swarm of DHT nodes in virtual time.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "skep/dht/node.hpp"
#include "skep/sim/network.hpp"

namespace skep::test {

/// Nodes of which all but the first have joined through it.
[[nodiscard]] inline std::vector<dht::Node<sim::Host>> simulated_nodes(sim::World& world, std::size_t size) {
  std::vector<dht::Node<sim::Host>> nodes;
  for (std::size_t i = 0; i < size; ++i) {
    world.run([&]() -> awaitable<void> {
      dht::NodeOptions options;
      if (!nodes.empty()) options.initial_peers = {nodes.front().peer_id()};
      nodes.push_back(co_await dht::Node<sim::Host>::create(sim::Host(world), std::move(options)));
    }());
  }
  return nodes;
}

}  // namespace skep::test
