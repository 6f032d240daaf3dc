// Swarm: as many DHT nodes as one likes in one process and in virtual time, running the very code that runs on sockets.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/core/error.hpp"
#include "skep/core/random.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/node.hpp"
#include "skep/dht/options.hpp"
#include "skep/p2p/peer_id.hpp"
#include "skep/sim/latency.hpp"
#include "skep/sim/network.hpp"
#include "skep/sim/report.hpp"
#include "skep/sim/world.hpp"

namespace skep::inline v0::sim {

struct SwarmOptions {
  std::size_t nodes = 100;
  Latency latency = constant(20ms);
  double loss = 0;  ///< of a message, once all have joined
  double dead = 0;  ///< share of the nodes that fall silent once all have joined
  std::uint64_t seed = 1;
  dht::NodeOptions node = {};     ///< of each node; `initial_peers` are chosen by the swarm
  std::size_t keep_messages = 0;  ///< how many of the latest messages `print_timeline` can show
};

/// A swarm of DHT nodes. Same options and same calls, same run: `report().transcript` is equal.
///
/// *Threads:* one, the caller's; nothing happens but in `run`, `run_for` and what joins. *Lifetime:* it owns its nodes.
/// *Errors:* the constructor throws what joining throws.
class Swarm {
 public:
  using Node = dht::Node<Host>;

  explicit Swarm(SwarmOptions options = {})
      : options_(std::move(options)),
        world_({.seed = options_.seed, .latency = options_.latency, .keep_messages = options_.keep_messages}) {
    nodes_.reserve(options_.nodes);
    while (nodes_.size() < options_.nodes) add();
    kill_share(options_.dead);
    world_.set_loss(options_.loss);
    forget_the_past();
  }

  /// Joins one more node through up to three living ones.
  Node& add() { return add(options_.node); }
  Node& add(dht::NodeOptions options) {
    options.initial_peers.clear();
    for (std::size_t i = 0; i < 3 && living_ > 0; ++i) options.initial_peers.push_back(any().peer_id());
    nodes_.push_back(world_.run(Node::create(Host(world_), std::move(options))));
    alive_.push_back(true);
    ++living_;
    return nodes_.back();
  }
  /// Each living node hears of so many others, as it would in a life of searches: a swarm that has just joined knows
  /// few.
  void acquaint(std::size_t others) {
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      for (std::size_t n = 0; alive_[i] && n < others; ++n) {
        const Node& other = any();
        nodes_[i].protocol().table.heard(other.id(), other.peer_id());
      }
    }
  }
  /// A node falls silent, as after a power cut.
  void kill(std::size_t index) {
    if (!alive_[index]) return;
    alive_[index] = false;
    --living_;
    world_.kill(nodes_[index].peer_id());
  }
  /// A share of the living, chosen by the seed. One stays alive.
  void kill_share(double share) {
    auto count = static_cast<std::size_t>(std::lround(share * static_cast<double>(living_)));
    for (; count > 0 && living_ > 1; --count) kill(any_index());
  }
  /// So many nodes die, and as many newcomers join: what an hour does to a real swarm, at once.
  void replace(std::size_t count) {
    for (; count > 0 && living_ > 1; --count) {
      kill(any_index());
      add();
    }
  }
  /// Cuts this share of the nodes, the first ones, off from the rest until `world().heal()`.
  void partition(double share) {
    std::vector<p2p::PeerId> peers;
    const auto count = static_cast<std::size_t>(std::lround(share * static_cast<double>(nodes_.size())));
    peers.reserve(count);
    for (std::size_t i = 0; i < count; ++i) peers.push_back(nodes_[i].peer_id());
    world_.partition(peers);
  }

  [[nodiscard]] std::size_t size() const noexcept { return nodes_.size(); }
  [[nodiscard]] std::size_t living() const noexcept { return living_; }
  [[nodiscard]] bool is_alive(std::size_t index) const { return alive_[index]; }
  [[nodiscard]] Node& operator[](std::size_t index) { return nodes_[index]; }
  [[nodiscard]] World& world() noexcept { return world_; }
  /// A living node, chosen by the seed.
  [[nodiscard]] std::size_t any_index() {
    for (;;) {
      const auto index = static_cast<std::size_t>(world_.random().below(nodes_.size()));
      if (alive_[index]) return index;
    }
  }
  [[nodiscard]] Node& any() { return nodes_[any_index()]; }
  [[nodiscard]] std::vector<Node>& nodes() noexcept { return nodes_; }

  /// Runs a coroutine to its end and gives its value, or throws what it throws.
  template <class T>
  T run(awaitable<T> body) {
    return world_.run(std::move(body));
  }
  /// Runs `body(node)`, which makes a coroutine, so many times, one after another, each with a living node chosen by
  /// the seed. What it throws counts as a failure of that run; `report` tells how long the runs took.
  template <class Body>
    requires std::is_invocable_r_v<awaitable<void>, Body&, Node&>
  void run(Body body, std::size_t times = 1) {
    for (std::size_t i = 0; i < times; ++i) {
      Node& node = any();
      const SteadyTime start = world_.time().now();
      try {
        world_.run(body(node));
      } catch (const std::exception& error) {
        if (failures_++ == 0) first_failure_ = error.what();
      }
      runs_.push_back(world_.time().now() - start);
    }
  }
  /// Lets virtual time pass: what goes on in the background goes on.
  void run_for(Duration span) { world_.time().run_for(span); }

  /// What happened since the swarm stood, or since `forget_the_past`.
  [[nodiscard]] Report report() const {
    const Transcript& transcript = world_.transcript();
    Report report{.nodes = nodes_.size(),
                  .dead = nodes_.size() - living_,
                  .messages = transcript.messages() - messages_before_,
                  .bytes = transcript.bytes() - bytes_before_,
                  .runs = runs_,
                  .failures = failures_,
                  .first_failure = first_failure_,
                  .time = world_.time().now().time_since_epoch(),
                  .transcript = transcript.hash(),
                  .seed = options_.seed};
    for (const auto& [method, count] : transcript.calls()) {
      const auto before = calls_before_.find(method);
      const std::size_t since = count - (before == calls_before_.end() ? 0 : before->second);
      if (since > 0) report.calls.emplace(method, since);
    }
    return report;
  }
  /// Begins the report anew.
  void forget_the_past() {
    messages_before_ = world_.transcript().messages();
    bytes_before_ = world_.transcript().bytes();
    calls_before_ = {world_.transcript().calls().begin(), world_.transcript().calls().end()};
    runs_.clear();
    failures_ = 0;
    first_failure_.clear();
  }
  /// The latest messages, one a line: what a seed that failed did in the end.
  void print_timeline(std::ostream& out) const { world_.transcript().print(out); }

 private:
  SwarmOptions options_;
  World world_;
  std::vector<Node> nodes_;
  std::vector<bool> alive_;
  std::size_t living_ = 0;
  std::vector<Duration> runs_;
  std::size_t failures_ = 0;
  std::string first_failure_;
  std::size_t messages_before_ = 0;
  std::size_t bytes_before_ = 0;
  std::map<std::string, std::size_t> calls_before_;
};

}  // namespace skep::inline v0::sim
