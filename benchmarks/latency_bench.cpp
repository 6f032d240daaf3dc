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
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/async/deadline_wheel.hpp"
#include "skep/async/event.hpp"
#include "skep/async/scope.hpp"
#include "skep/core/random.hpp"
#include "skep/moe/client/dispatch.hpp"
#include "skep/moe/expected_delays.hpp"
#include "skep/moe/penalties.hpp"
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
/// and backward; after each block a message travels. Messages arrive every millisecond, as many at once as a core reads
/// that was busy with something else; on average they take as long as they should.
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
    network_.close();
    io_.run_for(1s);
    runtime_.shutdown();
    return static_cast<double>(passed) * 1e6 / spent;
  }

 private:
  struct Message final : Deadline {
    explicit Message(const Executor& executor) : arrived(executor) {}
    void expired() noexcept override { arrived.set(); }
    Event arrived;
  };

  awaitable<void> train(Random random) {
    Message message(io_.get_executor());
    std::array<Tensor, blocks + 1> x;
    const Tensor gradient = at::ones({1, width});
    for (x[0] = at::ones({1, width});;) {
      for (std::size_t i = 0; i < blocks; ++i) {
        x[i + 1] = (co_await experts_[i]->forward_pool().submit_task({{x[i]}})).tensors.front();
        co_await travelled(message, random);
      }
      for (std::size_t i = blocks; i-- > 0;) {
        co_await experts_[i]->backward_pool().submit_task({{x[i], gradient}});
        co_await travelled(message, random);
      }
    }
  }
  awaitable<void> travelled(Message& message, Random& random) {
    ++done_;
    if (mean_ == Duration::zero()) co_return;
    message.arrived.reset();
    network_.insert(message, std::chrono::steady_clock::now() + exponential(random, mean_) - tick / 2);
    co_await message.arrived.wait();
  }

  static constexpr Duration tick = 1ms;
  Duration mean_;
  asio::io_context io_{1};
  Deadlines network_{io_.get_executor(), tick};
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

constexpr std::size_t experts = 40, hanging = 4;

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

  [[nodiscard]] moe::ExpertInfo expert(std::size_t i) { return {"e." + std::to_string(i), hosts[i].self()}; }
  [[nodiscard]] moe::ExpertCall call(std::size_t i) {
    return {.expert = expert(i),
            .method = method,
            .messages = {p2p::Payload(Bytes(1))},
            .sink = std::make_shared<Nowhere>(),
            .rows = {0}};
  }
  /// When as many answers can be there as are needed, of those of these experts that answer.
  [[nodiscard]] Duration bound(std::span<const std::size_t> whom, std::size_t needed) const {
    std::vector<Duration> answers;
    for (const std::size_t i : whom) {
      if (i >= hanging) answers.push_back(10ms + waits[i]);
    }
    std::ranges::sort(answers);
    return answers[needed - 1];
  }
  /// One batch of one row, whose answers come after `waits`. @return how long it took
  Duration step(std::vector<moe::ExpertCall> calls, std::size_t needed, moe::Backup backup = {}) {
    const SteadyTime start = world.time().now();
    const auto all = [&]() -> awaitable<void> {
      outcomes = co_await moe::Dispatcher(client).run(
          std::move(calls), {.timeout = 10s, .timeout_after_k_min = Duration::zero(), .k_min = needed},
          std::move(backup));
    };
    world.run(all());
    return world.time().now() - start;
  }

  static constexpr auto method = "ConnectionHandler.rpc_forward";
  sim::World world;
  std::vector<sim::Host> hosts;
  std::vector<Duration> waits = std::vector<Duration>(experts);
  sim::Host client{world};
  std::vector<moe::CallOutcome> outcomes;
};

/// Asks twice as many experts as it needs answers.
struct AskMore {
  static constexpr std::size_t asked = 8, needed = 4;

  [[nodiscard]] Duration bound(const std::vector<std::size_t>& best) const {
    return swarm.bound(std::span(best).first(asked), needed);
  }
  Duration step(const std::vector<std::size_t>& best) {
    std::vector<moe::ExpertCall> calls;
    for (std::size_t i = 0; i < asked; ++i) calls.push_back(swarm.call(best[i]));
    return swarm.step(std::move(calls), needed);
  }

  Swarm swarm;
};

/// Needs every answer and asks for no more, as mixtures do by default: the next best stands in for who is late, and who
/// is late again and again is left alone for a while.
struct Hedge {
  static constexpr std::size_t needed = 4;

  /// Of the best that answer.
  [[nodiscard]] Duration bound(std::vector<std::size_t> best) const {
    std::erase_if(best, [](std::size_t i) { return i < hanging; });
    return swarm.bound(std::span(best).first(needed), needed);
  }
  Duration step(const std::vector<std::size_t>& best) {
    std::vector<moe::ExpertInfo> whom;
    auto next = best.begin();
    const auto more = [&](std::size_t count) {
      std::vector<moe::ExpertCall> calls;
      for (; calls.size() < count && next != best.end(); ++next) {
        if (penalties.skips(swarm.expert(*next), swarm.world.time().now())) continue;
        whom.push_back(swarm.expert(*next));
        calls.push_back(swarm.call(*next));
      }
      return calls;
    };
    const auto instead = [&](std::vector<moe::LostCall> lost) -> awaitable<std::vector<moe::ExpertCall>> {
      co_return more(lost.size());
    };
    const Duration took =
        swarm.step(more(needed), needed, {.calls_instead = instead, .delays = delays, .hedge_after = 100ms});
    for (std::size_t i = 0; i < whom.size(); ++i) {
      if (swarm.outcomes[i].answered()) {
        penalties.answered(whom[i]);
      } else {
        penalties.expert_late(whom[i].uid, swarm.world.time().now());
      }
    }
    return took;
  }

  Swarm swarm;
  moe::PenaltyList penalties;
  std::shared_ptr<moe::ExpectedDelays> delays = std::make_shared<moe::ExpectedDelays>();
};

/// Batches beside the order statistic of the answer times.
template <class Client>
void measure_hanging(Table& table, const std::string& name, bool quick) {
  Client client;
  Random random(7348);
  std::vector<double> took, bound;
  while (took.size() < (quick ? 300 : 2000)) {
    std::vector<std::size_t> best(experts);
    for (std::size_t i = 0; i < experts; ++i) {
      best[i] = i;
      client.swarm.waits[i] = exponential(random, 100ms);
    }
    for (std::size_t i = 0; i < experts; ++i) std::swap(best[i], best[i + random.below(experts - i)]);
    bound.push_back(std::chrono::duration<double, std::micro>(client.bound(best)).count());
    took.push_back(std::chrono::duration<double, std::micro>(client.step(best)).count());
  }
  for (const double share : {0.5, 0.99}) {
    const double ours = quantile(took, share);
    const double least = quantile(bound, share);
    table.print({.name = name + (share < 0.9 ? ", p50" : ", p99"),
                 .skep = time_text(ours),
                 .limit = time_text(least),
                 .ratio = ours / least,
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
    measure_hanging<AskMore>(table, "a tenth hangs, 8 asked for 4", quick);
    measure_hanging<Hedge>(table, "a tenth hangs, 4 asked, hedged", quick);
    return 0;
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "latency_bench: %s\n", failure.what());
    return 1;
  }
}
