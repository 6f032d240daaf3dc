// Suite sim: how long a search for the best experts takes in large swarms over wide networks (Learning@home's table, in
// virtual time), and what simulating ten thousand nodes costs on this machine.
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/moe/beam_search.hpp"
#include "skep/moe/declare.hpp"
#include "skep/moe/dht_store.hpp"
#include "skep/sim/swarm.hpp"
#include "support/row.hpp"

namespace {

using namespace skep;
using namespace skep::bench;

constexpr int grid = 32;
constexpr std::size_t beam_size = 4;

/// What Learning@home (Ryabinin and Gusev, 2020) measured, and what is to be reached.
struct Size {
  std::size_t nodes;
  double paper;  // ms
  double goal;   // ms
};
constexpr std::array sizes{Size{100, 317, 100}, Size{1'000, 528, 170}, Size{10'000, 764, 215}};

double milliseconds(Duration time) { return std::chrono::duration<double, std::milli>(time).count(); }
std::string text_of(double number) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f", number);
  return text.data();
}

/// A swarm whose first nodes serve a grid of 32 x 32 experts, a row each. Nobody caches, so every search is a cold one.
class Experts {
 public:
  explicit Experts(std::size_t nodes) : swarm_(options(nodes)) {
    swarm_.acquaint(std::min<std::size_t>(nodes - 1, 256));  // tables as after a life of searches, not of a newborn
    for (int row = 0; row < grid; ++row) {
      std::vector<std::string> uids;
      for (int column = 0; column < grid; ++column) {
        uids.push_back("ffn." + std::to_string(row) + "." + std::to_string(column));
      }
      auto& server = swarm_[static_cast<std::size_t>(row)];
      for (const auto& record :
           swarm_.run(moe::declare_experts(server, std::move(uids), server.now() + std::chrono::hours(100)))) {
        if (!record.stored) throw std::runtime_error("an expert could not be declared");
      }
    }
  }

  void kill(double share) { swarm_.kill_share(share); }

  sim::Report search(std::size_t times) {
    swarm_.forget_the_past();
    const auto body = [](auto& node) -> awaitable<void> {
      std::vector<std::vector<moe::Score>> scores(2, std::vector<moe::Score>(grid));
      for (auto& dimension : scores) {
        for (auto& score : dimension) score = static_cast<moe::Score>(node.network().random().unit());
      }
      moe::MoEBeamSearcher searcher(moe::DhtStore(node), "ffn.", {grid, grid});
      const auto best = co_await searcher.find_best_experts(std::move(scores), beam_size);
      if (best.size() != beam_size) throw std::runtime_error("found " + std::to_string(best.size()) + " experts of 4");
    };
    swarm_.run(body, times);
    const auto report = swarm_.report();
    if (report.failures > times / 100) throw std::runtime_error("searches failed: " + report.first_failure);
    return report;
  }

 private:
  static sim::SwarmOptions options(std::size_t nodes) {
    dht::NodeOptions node;
    node.cache_locally = false;
    node.cache_nearest = 0;
    return {.nodes = nodes, .latency = sim::normal(92490us, 32420us), .seed = 7, .node = std::move(node)};
  }

  sim::Swarm swarm_;
};

void print(Table& table, const std::string& name, const sim::Report& report, double paper, double limit, double goal) {
  const double p50 = milliseconds(report.p50());
  table.print({.name = name,
               .skep = text_of(p50) + " ms",
               .peer = text_of(paper) + " ms",
               .limit = text_of(limit) + " ms",
               .ratio = p50 / limit,
               .goal = goal});
}

void measure(Table& table, const Size& size, std::size_t times) {
  const std::string where = ", " + std::to_string(size.nodes);
  Experts experts(size.nodes);
  const auto alive = experts.search(times);
  print(table, "sim top-4" + where + " nodes", alive, size.paper, size.goal, 1);
  table.print({.name = "sim top-4 p99" + where,
               .skep = text_of(milliseconds(alive.p99())) + " ms",
               .limit = text_of(milliseconds(alive.p50())) + " ms",
               .ratio = milliseconds(alive.p99()) / milliseconds(alive.p50()),
               .goal = 2.5});
  const double keys = static_cast<double>(beam_size * times);
  const double calls = static_cast<double>(alive.calls.at("DHTProtocol.rpc_find")) / keys;
  table.print(
      {.name = "sim calls a key" + where, .skep = text_of(calls), .limit = "16", .ratio = calls / 16, .goal = 1});
  experts.kill(0.1);
  const auto dead = experts.search(times);
  print(table, "sim top-4, a tenth dead" + where, dead, size.paper, milliseconds(alive.p50()), 1.25);
  table.print({.name = "sim top-4 p99, a tenth dead" + where,
               .skep = text_of(milliseconds(dead.p99())) + " ms",
               .limit = text_of(milliseconds(dead.p50())) + " ms",
               .ratio = milliseconds(dead.p99()) / milliseconds(dead.p50()),
               .goal = 2.5});
}

/// What the machine pays for a swarm: build it, store, and search.
void cost(Table& table, std::size_t nodes) {
  const auto start = std::chrono::steady_clock::now();
  sim::Swarm swarm({.nodes = nodes, .latency = sim::normal(92490us, 32420us), .seed = 7});
  int next = 0;
  const auto write = [&next](auto& node) -> awaitable<void> {
    const auto stored = co_await node.store("k" + std::to_string(next++), 1, node.now() + 1h);
    if (!stored) throw std::runtime_error("not stored");
  };
  const auto read = [&next](auto& node) -> awaitable<void> {
    const auto found = co_await node.get("k" + std::to_string(next++));
    if (!found) throw std::runtime_error("not found");
  };
  swarm.run(write, 1000);
  next = 0;
  swarm.run(read, 1000);
  const auto report = swarm.report();
  if (report.failures > 0) throw std::runtime_error(report.first_failure);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto processor_seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  const double busy = processor_seconds(used.ru_utime) + processor_seconds(used.ru_stime);
  const double mib = static_cast<double>(used.ru_maxrss) / 1024;
  const std::string where = ", " + std::to_string(nodes) + " nodes";
  table.print({.name = "sim build, store, get" + where,
               .skep = text_of(seconds) + " s",
               .limit = "60 s",
               .ratio = seconds / 60,
               .goal = 1});
  table.print({.name = "sim, of it processor" + where,
               .skep = text_of(busy) + " s",
               .limit = "60 s",
               .ratio = busy / 60,
               .goal = 1});
  table.print({.name = "sim memory" + where,
               .skep = text_of(mib) + " MiB",
               .limit = "2048 MiB",
               .ratio = mib / 2048,
               .goal = 1});
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const bool quick = argc > 1 && std::string_view(argv[1]) == "--quick";
    Table table;
    cost(table, quick ? 1'000 : 10'000);
    for (const Size& size : sizes) {
      if (!quick || size.nodes < 10'000) measure(table, size, quick ? 200 : 1000);
    }
    return 0;
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "sim_bench: %s\n", failure.what());
    return 1;
  }
}
