// Suite beam: declaring experts and searching the best of them in a swarm on loopback, beside one call between two of
// its nodes.
#include <unistd.h>
#include <algorithm>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/dht.hpp"
#include "skep/moe/beam_search.hpp"
#include "skep/moe/declare.hpp"
#include "skep/moe/dht_store.hpp"
#include "support/pin.hpp"
#include "support/row.hpp"
#include "support/stats.hpp"

namespace {

using namespace skep;
using namespace skep::bench;

constexpr std::size_t swarm_size = 32;
constexpr std::string_view echo_method = "Echo.rpc_say";
constexpr double hivemind_declares = 20e6;  // microseconds for 1,024 experts, where it is not measured: its best run

/// On loopback one node is asked for each prefix, others only when that is late: the processor is what is scarce.
constexpr dht::GetOptions reading{.replicas = 1};

using Node = dht::Node<p2p::Host>;
using Searcher = moe::MoEBeamSearcher<moe::DhtStore<Node>>;

/// Nodes in one process on one thread; each holds connections to all others and caches nothing.
struct Swarm {
  Swarm() {
    for (std::size_t i = 0; i < swarm_size; ++i) run(add());
    for (std::size_t i = 0; i < swarm_size; ++i) run(meet_all(nodes[i]));
  }
  Swarm(const Swarm&) = delete;
  Swarm& operator=(const Swarm&) = delete;
  ~Swarm() {
    for (Node& node : nodes) {
      node.close();
      p2p::Host(node.network()).close();
    }
  }

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
    p2p::Host host(io, {.listen = {"/ip4/127.0.0.1/tcp/0"}});
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
      p2p::Host host = node.network();
      host.add_address(other.peer_id(), other.network().addresses().front());
      (void)co_await node.protocol().call_ping(node.protocol().shared_from_this(), other.peer_id(), false);
    }
  }

  asio::io_context io{1};
  std::vector<Node> nodes;
};

double now_in_microseconds() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::vector<std::string> uids_of(const std::string& prefix, int first_row, int rows, int columns) {
  std::vector<std::string> uids;
  for (int i = first_row; i < first_row + rows; ++i) {
    for (int j = 0; j < columns; ++j) uids.push_back(prefix + std::to_string(i) + "." + std::to_string(j));
  }
  return uids;
}

awaitable<void> time_declare(Node node, std::vector<std::string> uids, Series& series) {
  const WallTime expiration = node.now() + 1h;
  const double start = now_in_microseconds();
  const auto declared = co_await moe::declare_experts(node, std::move(uids), expiration);
  series.add(now_in_microseconds() - start);
  for (const auto& record : declared) {
    if (!record.stored) throw std::runtime_error("an expert could not be declared");
  }
}

/// What a search reads, without the records under the uids' own keys.
awaitable<void> declare_prefixes(Node node, std::vector<std::string> uids) {
  auto records = moe::expert_records(uids, node.peer_id(), node.now() + 1h);
  std::erase_if(records, [](const dht::StoreItem& record) { return !record.subkey; });
  for (const auto& stored : co_await node.store_many(std::move(records))) {
    if (!stored) throw std::runtime_error("an expert could not be declared");
  }
}

awaitable<void> time_echoes(Node from, p2p::PeerId to, int count, Series& series) {
  p2p::Host host = from.network();
  for (int i = 0; i < count; ++i) {
    const double start = now_in_microseconds();
    (void)co_await host.call(to, std::string(echo_method), Bytes(64, 1));
    series.add(now_in_microseconds() - start);
  }
}

/// A grid whose experts all live, and scores for searches in it.
struct Case {
  std::string prefix;
  int size;
  std::size_t beam;

  [[nodiscard]] std::string name() const {
    return std::to_string(size) + " x " + std::to_string(size) + ", k " + std::to_string(beam);
  }
};

std::vector<moe::Score> random_scores(Random& random, std::size_t count) {
  std::vector<moe::Score> scores(count);
  for (auto& score : scores) score = static_cast<moe::Score>(random.unit());
  return scores;
}

awaitable<void> time_cold(Node node, const Case& grid, int count, Random& random, Series& series) {
  const auto side = static_cast<std::size_t>(grid.size);
  for (int i = 0; i < count; ++i) {
    std::vector<std::vector<moe::Score>> scores{random_scores(random, side), random_scores(random, side)};
    const double start = now_in_microseconds();
    const Searcher searcher(moe::DhtStore(node, reading), grid.prefix, {grid.size, grid.size});
    const auto best = co_await searcher.find_best_experts(std::move(scores), grid.beam);
    series.add(now_in_microseconds() - start);
    if (best.size() != grid.beam) throw std::runtime_error("a search did not find its experts");
  }
}

/// Fills a searcher's cache with the whole grid, a few prefixes at a time.
awaitable<void> warm(Searcher searcher, const Case& grid) {
  for (int row = 0; row < grid.size; row += 16) {
    std::vector<std::vector<moe::Score>> scores(2, std::vector<moe::Score>(static_cast<std::size_t>(grid.size)));
    std::fill_n(scores[0].begin() + row, 16, 1.0F);
    (void)co_await searcher.find_best_experts(std::move(scores), 16);
  }
}

/// On the caller's thread, as a mixture searches: nothing is waited for.
void time_cached(const Searcher& searcher, const Case& grid, std::size_t rows, int count, Random& random,
                 Series& series) {
  for (int i = 0; i < count; ++i) {
    auto scores = random_scores(random, rows * 2 * static_cast<std::size_t>(grid.size));
    const double start = now_in_microseconds();
    auto search = searcher.begin(std::move(scores), rows, grid.beam);
    if (!search.advance().empty()) throw std::runtime_error("a prefix was not cached");
    const auto choice = std::move(search).take();
    series.add((now_in_microseconds() - start) / static_cast<double>(rows));
    if (choice.chosen.size() != rows * grid.beam) throw std::runtime_error("a search did not find its experts");
  }
}

/// What Hivemind takes for the same among as many nodes of its own, in this run on this machine; nothing where its
/// Python is not there.
std::optional<double> measure_hivemind() {
  const char* const python = std::getenv("SKEP_HIVEMIND_PYTHON");
  if (python == nullptr || access(python, X_OK) != 0) return std::nullopt;
  const std::string script = R"(
import hivemind, time
from hivemind.moe.server.dht_handler import declare_experts
from hivemind.utils.timed_storage import get_dht_time
first = hivemind.DHT(start=True, host_maddrs=["/ip4/127.0.0.1/tcp/0"])
peers = [str(address) for address in first.get_visible_maddrs()]
others = [hivemind.DHT(start=True, host_maddrs=["/ip4/127.0.0.1/tcp/0"], initial_peers=peers) for _ in range()" +
                             std::to_string(swarm_size - 1) + R"()]
uids = [f"ffn.{i}.{j}" for i in range(32) for j in range(32)]
start = time.perf_counter()
declare_experts(others[9], uids, get_dht_time() + 3600)
print((time.perf_counter() - start) * 1e6, flush=True)
for dht in [first, *others]:
    dht.shutdown()
)";
  const std::string command = "\"" + std::string(python) + "\" -W ignore -c '" + script + "' 2>/dev/null";
  FILE* const output = popen(command.c_str(), "r");
  if (output == nullptr) return std::nullopt;
  double microseconds = 0;
  const bool read = std::fscanf(output, "%lf", &microseconds) == 1;
  pclose(output);
  return read ? std::optional(microseconds) : std::nullopt;
}

std::string rate_text(double microseconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.0f k/s", 1e3 / microseconds);
  return text;
}

void measure_declare(Table& table, Swarm& swarm, int rounds, std::optional<double> peer) {
  Series series;
  for (int round = 0; round < rounds; ++round) {
    series.begin_round();
    swarm.run(time_declare(swarm.nodes[9], uids_of("new" + std::to_string(round) + ".", 0, 32, 32), series));
  }
  table.print({.name = peer ? "declare 1024 experts" : "declare 1024, against 20 s",
               .skep = time_text(series.p50()),
               .peer = peer ? time_text(*peer) : "-",
               .ratio = peer.value_or(hivemind_declares) / series.p50(),
               .direction = Goal::at_least,
               .goal = 200});
}

void measure(Table& table, bool quick, std::optional<double> peer) {
  Swarm swarm;
  const int rounds = quick ? 3 : 7;
  measure_declare(table, swarm, rounds, peer);
  for (int i = 0; i < static_cast<int>(swarm_size); ++i) {
    Node& node = swarm.nodes[static_cast<std::size_t>(i)];
    swarm.run(declare_prefixes(node, uids_of("small.", i, 1, 32)));
    swarm.run(declare_prefixes(node, uids_of("large.", 8 * i, 8, 256)));
  }

  Random random(1);
  Node& reads = swarm.nodes[3];
  const Node& other = swarm.nodes[9];
  for (const Case& grid :
       {Case{"small.", 32, 4}, Case{"small.", 32, 32}, Case{"large.", 256, 4}, Case{"large.", 256, 32}}) {
    const Searcher searcher(moe::DhtStore(reads, reading), grid.prefix, {grid.size, grid.size}, {.cache_time = 1h});
    swarm.run(warm(searcher, grid));
    const int count = quick ? 20 : 50;
    const auto series =
        interleave(rounds, {
                               [&](Series& to) { swarm.run(time_echoes(reads, other.peer_id(), 5 * count, to)); },
                               [&](Series& to) { swarm.run(time_cold(reads, grid, count, random, to)); },
                               [&](Series& to) { time_cached(searcher, grid, 1, 10 * count, random, to); },
                               [&](Series& to) { time_cached(searcher, grid, 512, 1 + count / 10, random, to); },
                           });
    const Series& echo = series[0];
    const double cold =
        median_over_rounds(echo.rounds(), [&](std::size_t i) { return series[1].median_of(i) / echo.median_of(i); });
    table.print({.name = "cold, " + grid.name(),
                 .skep = time_text(series[1].p50()),
                 .limit = time_text(echo.p50()),
                 .ratio = cold,
                 .goal = 15});
    table.print({.name = "cached, " + grid.name(),
                 .skep = time_text(series[2].p50()),
                 .limit = "8.00 us",
                 .ratio = series[2].p50() / 8,
                 .goal = 1});
    table.print({.name = "batch of 512, " + grid.name(),
                 .skep = rate_text(series[3].p50()),
                 .limit = "150 k/s",
                 .ratio = 1e3 / series[3].p50() / 150,
                 .direction = Goal::at_least,
                 .goal = 1});
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const bool quick = argc > 1 && std::string_view(argv[1]) == "--quick";
    // it may use all cores, and takes a minute
    const auto peer = quick ? std::nullopt : measure_hivemind();
    pin_to(allowed_cores().front());
    Table table;
    measure(table, quick, peer);
    return 0;
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "beam_bench: %s\n", failure.what());
    return 1;
  }
}
