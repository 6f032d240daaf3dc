// A thousand DHT nodes in one process and in virtual time: the code that runs on sockets, on a network that one
// chooses. The same seed gives the same run, to the last message.
//   virtual_swarm [NODES [SEED]]
#include <cstdlib>
#include <exception>
#include <iostream>
#include <skep/sim/swarm.hpp>
#include <stdexcept>

namespace {

using namespace std::chrono_literals;

void run(std::size_t nodes, std::uint64_t seed) {
  // Round trips as between three regions of a cloud; a tenth of the nodes dies once all have joined.
  skep::sim::Swarm swarm({.nodes = nodes, .latency = skep::sim::normal(92ms, 32ms), .dead = 0.1, .seed = seed});

  swarm.run([](auto& node) -> skep::awaitable<void> { co_await node.store("k", 1, node.now() + 1h); });
  std::cout << "one node stores:\n" << swarm.report() << "\n\n";

  swarm.forget_the_past();
  const auto read = [](auto& node) -> skep::awaitable<void> {
    const auto found = co_await node.get("k");
    if (!found) throw std::runtime_error("the key was not found");
  };
  swarm.run(read, 200);
  std::cout << "two hundred others read:\n" << swarm.report() << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 1000, argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 7);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "virtual_swarm: " << error.what() << '\n';
    return 1;
  }
}
