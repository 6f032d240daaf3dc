// Suite mixture: a training step through 16 experts in 4 other processes beside the experts' own arithmetic on all
// cores, and gradients through remote experts beside those of local ones.
#include <array>
#include <cstdio>
#include <exception>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "skep/dht/dht.hpp"
#include "skep/moe/client/mixture.hpp"
#include "skep/moe/server/layers.hpp"
#include "skep/moe/server/module_backend.hpp"
#include "skep/moe/server/server.hpp"
#include "support/gradient_rows.hpp"
#include "support/peer_process.hpp"
#include "support/row.hpp"
#include "support/stats.hpp"

namespace {

using namespace skep;
using namespace skep::bench;
using moe::Tensor;

constexpr std::int64_t width = 64;
constexpr std::int64_t batch = 256;
constexpr int side = 4;  // of the grid
constexpr std::size_t k_best = 4;
constexpr int servers = 4;

std::string uid(int i, int j) { return "ffn." + std::to_string(i) + "." + std::to_string(j); }

/// One row of the grid, served until the standard input ends.
int serve(int row, std::vector<std::string> initial_peers) {
  dht::DHT dht({.initial_peers = std::move(initial_peers), .host_maddrs = {"/ip4/127.0.0.1/tcp/0"}});
  std::vector<std::string> uids;
  for (int j = 0; j < side; ++j) uids.push_back(uid(row, j));
  moe::Server<moe::Ffn> server(
      dht, {.experts = {{.expert_uids = std::move(uids), .expert = {.hidden_dim = width}}}, .threads = 1});
  server.start();
  std::cout << dht.visible_maddrs().front() << std::endl;
  while (std::cin.get() != std::char_traits<char>::eof()) {
  }
  return 0;
}

/// The arithmetic of a step and nothing else: every expert's forward and backward call for its share of the rows, the
/// experts divided among the cores.
class Ceiling {
 public:
  explicit Ceiling(std::size_t cores) : experts_(cores) {
    for (int e = 0; e < side * side; ++e) {
      experts_[static_cast<std::size_t>(e) % cores].push_back(std::make_unique<moe::ModuleBackend<moe::Ffn>>(
          uid(e / side, e % side), moe::BackendOptions{.expert = {.hidden_dim = width}}));
    }
  }
  void run(int steps) {
    std::vector<std::thread> threads;
    for (auto& share : experts_) {
      threads.emplace_back([&share, steps] {
        const Tensor x = at::randn({batch * static_cast<std::int64_t>(k_best) / (side * side), width});
        const Tensor gradient = at::randn_like(x);
        for (int step = 0; step < steps; ++step) {
          for (auto& expert : share) (void)expert->forward({x});
          for (auto& expert : share) (void)expert->backward({x, gradient});
        }
      });
    }
    for (auto& thread : threads) thread.join();
  }

 private:
  std::vector<std::vector<std::unique_ptr<moe::ModuleBackend<moe::Ffn>>>> experts_;
};

/// The same through the network, with gate, search, dispatch and average.
class Remote {
 public:
  explicit Remote(dht::DHT dht)
      : mixture_({.in_features = width,
                  .grid_size = {side, side},
                  .dht = std::move(dht),
                  .uid_prefix = "ffn.",
                  .k_best = k_best}),
        optimizer_(mixture_->parameters(), torch::optim::AdamOptions(1e-3)) {}
  void run(int steps) {
    for (int step = 0; step < steps; ++step) {
      const Tensor x = at::randn({batch, width});
      optimizer_.zero_grad();
      mixture_(x).square().mean().backward();
      optimizer_.step();
    }
  }

 private:
  moe::RemoteMixtureOfExperts<> mixture_;
  torch::optim::Adam optimizer_;
};

std::string rate(double samples_per_second) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f k/s", samples_per_second / 1000);
  return text.data();
}

void measure(Table& table, bool quick) {
  std::vector<std::unique_ptr<PeerProcess>> processes;
  for (int row = 0; row < servers; ++row) {
    std::vector<std::string> arguments{"serve", std::to_string(row)};
    if (row > 0) arguments.push_back(processes.front()->line());
    processes.push_back(std::make_unique<PeerProcess>(std::move(arguments)));
  }
  dht::DHT dht({.initial_peers = {processes.front()->line()}, .client_mode = true});
  Remote remote(dht);
  Ceiling ceiling(allowed_cores().size());
  const int steps = quick ? 20 : 60;
  const auto per_second = [steps](auto& candidate) {
    return [&candidate, steps](Series& series) {
      series.add(1e6 * static_cast<double>(batch * steps) / microseconds([&] { candidate.run(steps); }));
    };
  };
  const auto series = interleave(quick ? 3 : 9, {per_second(remote), per_second(ceiling)});
  Row row{.name = "mixture step, 256 rows, 16 experts"};
  row.skep = rate(series[0].p50());
  row.limit = rate(series[1].p50());
  row.ratio = median_over_rounds(series[0].rounds(),
                                 [&](std::size_t r) { return series[0].median_of(r) / series[1].median_of(r); });
  row.direction = Goal::at_least;
  row.goal = 0.6;
  table.print(row);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    moe::set_compute_threads(1);
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    if (arguments.size() >= 2 && arguments[0] == "serve") {
      return serve(std::stoi(arguments[1]), {arguments.begin() + 2, arguments.end()});
    }
    Table table;
    measure(table, !arguments.empty() && arguments[0] == "--quick");
    GradientCheck().print(table);
    return 0;
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "mixture_bench: %s\n", failure.what());
    return 1;
  }
}
