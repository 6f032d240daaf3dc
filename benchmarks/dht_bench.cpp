// Suite dht: what storing and finding cost in a swarm on loopback, beside one call between two of its nodes.
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/dht.hpp"
#include "support/pin.hpp"
#include "support/row.hpp"
#include "support/stats.hpp"

namespace {

using namespace skep;
using namespace skep::bench;

constexpr std::size_t swarm_size = 16;
constexpr std::string_view echo_method = "Echo.rpc_say";

/// How often the DHT's methods were called, by all nodes.
struct Calls {
  std::size_t find = 0;
  std::size_t store = 0;
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
    return Host::call(std::move(peer), std::move(method), std::move(body), options);
  }

 private:
  Calls* calls_;
};

using Node = dht::Node<CountingHost>;

/// Nodes in one process on one thread; each holds connections to all others and caches nothing.
struct Swarm {
  Swarm() {
    for (std::size_t i = 0; i < swarm_size; ++i) run(add());
    for (std::size_t i = 0; i < swarm_size; ++i) run(meet_all(nodes[i]));
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

  awaitable<void> add() {
    CountingHost host(io, {.listen = {"/ip4/127.0.0.1/tcp/0"}}, calls);
    host.handle(std::string(echo_method),
                [](p2p::Request request) -> awaitable<p2p::Payload> { co_return std::move(request.body); });
    dht::NodeOptions options;
    options.cache_locally = false;
    if (!nodes.empty()) {
      const p2p::PeerId first = nodes.front().peer_id();
      host.add_address(first, nodes.front().network().addresses().front());
      options.initial_peers.push_back(first);
    }
    nodes.push_back(co_await Node::create(host, options));
  }
  awaitable<void> meet_all(Node node) {
    for (Node& other : nodes) {
      if (other.peer_id() == node.peer_id()) continue;
      CountingHost host = node.network();
      host.add_address(other.peer_id(), other.network().addresses().front());
      (void)co_await node.protocol().call_ping(node.protocol().shared_from_this(), other.peer_id(), false);
    }
  }

  asio::io_context io{1};
  Calls calls;
  std::vector<Node> nodes;
};

double now_in_microseconds() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

awaitable<void> time_echoes(Node from, p2p::PeerId to, int count, Series& series) {
  CountingHost host = from.network();
  for (int i = 0; i < count; ++i) {
    const double start = now_in_microseconds();
    (void)co_await host.call(to, std::string(echo_method), Bytes(64, 1));
    series.add(now_in_microseconds() - start);
  }
}

/// One find request, as a get sends it.
awaitable<void> time_finds(Node from, Node to, std::vector<std::string> keys, Series& series) {
  const auto protocol = from.protocol().shared_from_this();
  const dht::NodeEntry node{to.id(), to.peer_id()};
  for (const auto& key : keys) {
    std::vector<dht::DHTID> target{dht::key_id(key)};
    const double start = now_in_microseconds();
    const auto answer = co_await protocol->call_find(protocol, node, std::move(target));
    series.add(now_in_microseconds() - start);
    if (!answer) throw std::runtime_error("a find failed");
  }
}

awaitable<void> time_stores(Node node, std::vector<std::string> keys, Series& series) {
  for (const auto& key : keys) {
    const WallTime expiration = node.now() + 1h;
    const double start = now_in_microseconds();
    const auto result = co_await node.store(key, 1, expiration);
    series.add(now_in_microseconds() - start);
    if (!result) throw std::runtime_error("a store failed");
  }
}

awaitable<void> time_gets(Node node, std::vector<std::string> keys, dht::GetOptions options, Series& series) {
  for (const auto& key : keys) {
    const double start = now_in_microseconds();
    const auto found = co_await node.get(key, options);
    series.add(now_in_microseconds() - start);
    if (!found) throw std::runtime_error("a key was not found");
  }
}

awaitable<void> time_get_many(Node node, std::vector<std::string> keys, Series& series) {
  const std::size_t count = keys.size();
  const double start = now_in_microseconds();
  const auto found = co_await node.get_many(std::move(keys));
  series.add((now_in_microseconds() - start) / static_cast<double>(count));
  for (const auto& each : found) {
    if (!each) throw std::runtime_error("a key was not found");
  }
}

/// Keys that none of the readers holds: a get must ask.
std::vector<std::string> keys_not_held_by(Swarm& swarm, std::size_t reader, int count, int& next) {
  std::vector<std::string> keys;
  while (static_cast<int>(keys.size()) < count) {
    const std::string key = "key" + std::to_string(next++);
    const auto target = dht::key_id(key);
    std::size_t nearer = 0;
    for (const Node& node : swarm.nodes) nearer += (node.id() ^ target) < (swarm.nodes[reader].id() ^ target);
    if (nearer >= 6) keys.push_back(key);
  }
  return keys;
}

void measure(Table& table, bool quick) {
  Swarm swarm;
  const int rounds = quick ? 5 : 15;
  const int count = quick ? 40 : 100;
  int next = 0;
  constexpr std::size_t reader = 3;
  constexpr std::size_t writer = 9;
  Node& reads = swarm.nodes[reader];
  Node& writes = swarm.nodes[writer];
  Calls storing;
  std::size_t stored = 0;
  std::size_t latest_finds = 0;
  std::size_t latest_gets = 0;
  std::vector<std::string> keys;

  const auto series =
      interleave(rounds, {
                             [&](Series& to) { swarm.run(time_echoes(reads, writes.peer_id(), 5 * count, to)); },
                             [&](Series& to) {
                               keys = keys_not_held_by(swarm, reader, count, next);
                               const Calls before = swarm.calls;
                               swarm.run(time_stores(writes, keys, to));
                               storing.find += swarm.calls.find - before.find;
                               storing.store += swarm.calls.store - before.store;
                               stored += keys.size();
                             },
                             [&](Series& to) { swarm.run(time_gets(reads, keys, {}, to)); },
                             [&](Series& to) {
                               const std::size_t before = swarm.calls.find;
                               swarm.run(time_gets(reads, keys, {.latest = true}, to));
                               latest_finds += swarm.calls.find - before;
                               latest_gets += keys.size();
                             },
                             [&](Series& to) { swarm.run(time_finds(reads, writes, keys, to)); },
                             [&](Series& to) {
                               for (int i = 0; i < 5; ++i) swarm.run(time_get_many(reads, keys, to));
                             },
                         });
  const Series& echo = series[0];
  const Series& find = series[4];
  const auto ratio = [&](const Series& to, double calls, const Series& call) {
    return median_over_rounds(call.rounds(),
                              [&](std::size_t i) { return to.median_of(i) / (calls * call.median_of(i)); });
  };
  const auto per = [](std::size_t calls, std::size_t acts) {
    return static_cast<double>(calls) / static_cast<double>(acts);
  };
  const std::string where = ", " + std::to_string(swarm_size) + " nodes";
  table.print({.name = "dht get" + where,
               .skep = time_text(series[2].p50()),
               .limit = time_text(echo.p50()),
               .ratio = ratio(series[2], 1, echo),
               .goal = 5});
  const double finds_latest = per(latest_finds, latest_gets);
  table.print({.name = "dht get latest" + where,
               .skep = time_text(series[3].p50()),
               .limit = time_text(finds_latest * find.p50()),
               .ratio = ratio(series[3], finds_latest, find),
               .goal = 1.5});
  const double calls_a_store = per(storing.find + storing.store, stored);
  table.print({.name = "dht store" + where,
               .skep = time_text(series[1].p50()),
               .limit = time_text(calls_a_store * find.p50()),
               .ratio = ratio(series[1], calls_a_store, find),
               .goal = 1.2});
  table.print({.name = "dht finds a store" + where,
               .skep = std::to_string(per(storing.find, stored)).substr(0, 4),
               .limit = "6",
               .ratio = per(storing.find, stored) / 6,
               .goal = 1});
  table.print({.name = "dht get_many, a key" + where,
               .skep = time_text(series[5].p50()),
               .limit = time_text(echo.p50()),
               .ratio = ratio(series[5], 1, echo),
               .goal = 1});
  for (Node& node : swarm.nodes) {
    node.close();
    CountingHost(node.network()).close();
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const bool quick = argc > 1 && std::string_view(argv[1]) == "--quick";
    pin_to(allowed_cores().front());
    Table table;
    measure(table, quick);
    return 0;
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "dht_bench: %s\n", failure.what());
    return 1;
  }
}
