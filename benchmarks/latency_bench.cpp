// Suite latency: whether many trainers keep one core busy however long their messages travel (Learning@home's
// experiment), and whether a batch waits for anybody but those whose answers it needs.
#include <algorithm>
#include <array>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/async/asio_clock.hpp"
#include "skep/async/scope.hpp"
#include "skep/core/random.hpp"
#include "skep/moe/client/dispatch.hpp"
#include "skep/moe/server/layers.hpp"
#include "skep/moe/server/module_backend.hpp"
#include "skep/moe/server/runtime.hpp"
#include "skep/sim/network.hpp"
#include "support/pin.hpp"
#include "support/row.hpp"
#include "support/stats.hpp"

namespace {

using namespace skep;
using namespace skep::bench;
using moe::Tensor;

// ---- trainers

constexpr std::size_t trainers = 2048;
constexpr int blocks = 4;
constexpr std::int64_t width = 64;

Duration exponential(Random& random, Duration mean) {
  return Duration(static_cast<Duration::rep>(-std::log(1 - random.unit()) * static_cast<double>(mean.count())));
}

/// A model of four blocks, each an expert with its pools, and many trainers that pass single rows through it, forward
/// and backward; after each block a message travels.
class Training {
 public:
  explicit Training(Duration mean_delay) : mean_(mean_delay) {
    for (int i = 0; i < blocks; ++i) {
      experts_.push_back(std::make_unique<moe::ModuleBackend<moe::Ffn>>(
          "ffn." + std::to_string(i), moe::BackendOptions{.expert = {.hidden_dim = width},
                                                          .max_batch_size = trainers,
                                                          .max_queued = trainers,
                                                          .scheduler = runtime_.scheduler()}));
    }
    for (std::size_t i = 0; i < trainers; ++i) scope_.spawn(train(Random(i + 1)));
  }

  /// Blocks a second, forward or backward, after every trainer has come into its pace.
  double rate(Duration measured) {
    runtime_.start();
    io_.run_for(std::chrono::duration_cast<std::chrono::steady_clock::duration>(300ms + 2 * 2 * blocks * mean_));
    const std::size_t before = done_;
    const double spent = microseconds([&] { io_.run_for(measured); });
    const std::size_t passed = done_ - before;
    scope_.cancel();
    io_.run_for(1s);
    runtime_.shutdown();
    return static_cast<double>(passed) * 1e6 / spent;
  }

 private:
  awaitable<void> train(Random random) {
    std::array<Tensor, blocks + 1> x;
    const Tensor gradient = at::ones({1, width});
    for (x[0] = at::ones({1, width});;) {
      for (std::size_t i = 0; i < blocks; ++i) {
        x[i + 1] = (co_await experts_[i]->forward_pool().submit_task({{x[i]}})).tensors.front();
        co_await travelled(random);
      }
      for (std::size_t i = blocks; i-- > 0;) {
        co_await experts_[i]->backward_pool().submit_task({{x[i], gradient}});
        co_await travelled(random);
      }
    }
  }
  awaitable<void> travelled(Random& random) {
    ++done_;
    if (mean_ != Duration::zero())
      co_await sleep_until(io_.get_executor(), std::chrono::steady_clock::now() + exponential(random, mean_));
  }

  Duration mean_;
  asio::io_context io_{1};
  moe::Runtime runtime_{{.threads = 1}};
  std::vector<std::unique_ptr<moe::ExpertBackend>> experts_;
  std::size_t done_ = 0;
  Scope scope_{io_.get_executor(), "trainers"};
};

std::string rate_text(double rate) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f k/s", rate / 1e3);
  return text.data();
}

void measure_trainers(Table& table, bool quick) {
  const Duration measured = quick ? 1s : 4s;
  const double busy = Training(Duration::zero()).rate(measured);
  for (const int mean : quick ? std::vector{10, 50, 200} : std::vector{5, 10, 20, 50, 100, 200}) {
    const double rate = Training(std::chrono::milliseconds(mean)).rate(measured);
    const double limit = std::min(busy, static_cast<double>(trainers) / (mean / 1e3));
    table.print({.name = "2048 trainers, delay " + std::to_string(mean) + " ms",
                 .skep = rate_text(rate),
                 .limit = rate_text(limit),
                 .ratio = rate / limit,
                 .direction = Goal::at_least,
                 .goal = 0.95});
  }
}

// ---- batches of which some experts hang, in virtual time

constexpr std::size_t experts = 40, hanging = 4, chosen = 8, needed = 4;

struct Nowhere final : p2p::AnyBodySink {
  std::error_code start(std::size_t size) override {
    bytes.resize(size);
    at = 0;
    return {};
  }
  MutableBytes destination() override { return MutableBytes(bytes).subspan(at); }
  std::error_code filled(std::size_t n) override {
    at += n;
    return {};
  }
  Bytes bytes;
  std::size_t at = 0;
};

/// Experts of which a tenth takes requests and never answers; the others answer after an exponential time.
struct Swarm {
  Swarm() : world({.latency = sim::constant(10ms)}) {
    for (std::size_t i = 0; i < experts; ++i) {
      hosts.emplace_back(world);
      auto& host = hosts.back();
      host.handle(method, [this, i](p2p::Request) -> awaitable<p2p::Payload> {
        auto& time = world.time();
        co_await time.sleep_until(i < hanging ? SteadyTime::max() : time.now() + waits[i]);
        co_return p2p::Payload(Bytes(1));
      });
    }
  }

  /// One batch of one row, whose answers come after `waits`.
  Duration step(const std::vector<std::size_t>& whom) {
    std::vector<moe::ExpertCall> calls;
    for (const std::size_t i : whom) {
      calls.push_back({.expert = {"e." + std::to_string(i), hosts[i].self()},
                       .method = method,
                       .messages = {p2p::Payload(Bytes(1))},
                       .sink = std::make_shared<Nowhere>(),
                       .rows = {0}});
    }
    const SteadyTime start = world.time().now();
    const auto all = [&]() -> awaitable<void> {
      co_await moe::Dispatcher(client).run(
          std::move(calls), {.timeout = 10s, .timeout_after_k_min = Duration::zero(), .k_min = needed}, {});
    };
    world.run(all());
    return world.time().now() - start;
  }

  static constexpr auto method = "ConnectionHandler.rpc_forward";
  sim::World world;
  std::vector<sim::Host> hosts;
  std::vector<Duration> waits = std::vector<Duration>(experts);
  sim::Host client{world};
};

void measure_hanging(Table& table, bool quick) {
  Swarm swarm;
  Random random(7348);
  std::vector<double> took, bound;
  for (int step = 0; step < (quick ? 300 : 2000); ++step) {
    std::vector<std::size_t> whom(experts);
    for (std::size_t i = 0; i < experts; ++i) {
      whom[i] = i;
      swarm.waits[i] = exponential(random, 100ms);
    }
    for (std::size_t i = 0; i < chosen; ++i) std::swap(whom[i], whom[i + random.below(experts - i)]);
    whom.resize(chosen);
    std::vector<Duration> answers;
    for (const std::size_t i : whom) {
      if (i >= hanging) answers.push_back(10ms + swarm.waits[i]);
    }
    std::sort(answers.begin(), answers.end());
    if (answers.size() < needed) continue;
    bound.push_back(std::chrono::duration<double, std::micro>(answers[needed - 1]).count());
    took.push_back(std::chrono::duration<double, std::micro>(swarm.step(whom)).count());
  }
  for (const double share : {0.5, 0.99}) {
    const double ours = quantile(took, share), best = quantile(bound, share);
    table.print({.name = share < 0.9 ? "a tenth of the experts hang, p50" : "a tenth of the experts hang, p99",
                 .skep = time_text(ours),
                 .limit = time_text(best),
                 .ratio = ours / best,
                 .goal = share < 0.9 ? 1.05 : 1.5});
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool quick = argc > 1 && std::string_view(argv[1]) == "--quick";
  try {
    pin_to(allowed_cores().front());
    Table table;
    measure_trainers(table, quick);
    measure_hanging(table, quick);
    return 0;
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "latency_bench: %s\n", failure.what());
    return 1;
  }
}
