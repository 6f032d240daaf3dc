// A swarm of DHT nodes in virtual time, for tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "skep/dht/node.hpp"
#include "skep/sim/network.hpp"

namespace skep_test {

using Node = skep::dht::Node<skep::sim::Host>;

struct Swarm {
  explicit Swarm(std::size_t size, skep::sim::WorldOptions options = {}, skep::dht::NodeOptions each = {})
      : world(std::move(options)) {
    for (std::size_t i = 0; i < size; ++i) add(each);
  }

  /// Joins one more node through up to three that are there.
  Node& add(skep::dht::NodeOptions options = {}) {
    for (std::size_t i = 0; i < 3 && !nodes.empty(); ++i) {
      options.initial_peers.push_back(nodes[world.random().below(nodes.size())].peer_id());
    }
    nodes.push_back(world.run(Node::create(skep::sim::Host(world), options)));
    return nodes.back();
  }
  Node& any() { return nodes[world.random().below(nodes.size())]; }
  void kill(Node& node) { world.kill(node.peer_id()); }
  skep::WallTime in(double seconds) { return {world.time().wall_now().seconds + seconds}; }
  template <class T>
  T run(skep::awaitable<T> body) {
    return world.run(std::move(body));
  }

  skep::sim::World world;
  std::vector<Node> nodes;
};

}  // namespace skep_test
