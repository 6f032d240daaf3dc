// Suite pool: a TaskPool's overhead beside a bare ring between two threads, its latency beside the policies of other
// servers, and what it does when four times as much comes as it can compute.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <asio/co_spawn.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <memory>
#include <new>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/moe/task_pool.hpp"
#include "support/batch_policies.hpp"
#include "support/row.hpp"
#include "support/stats.hpp"

namespace {
std::size_t& allocations() {
  static thread_local std::size_t count = 0;
  return count;
}
}  // namespace

void* operator new(std::size_t size) {
  ++allocations();
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

using namespace skep;
using namespace skep::bench;
using Batch = std::vector<int>;
using Traits = moe::BatchTraits<Batch>;
using Clock = std::chrono::steady_clock;

constexpr std::size_t callers = 512;

double microseconds_since(SteadyTime start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

const std::vector<int>& all_cores() {
  static const std::vector<int> cores = allowed_cores();  // before one was chosen
  return cores;
}

/// This thread on one core and those that `make` starts on another, where there are two.
template <class Make>
auto on_other_core(Make make) {
  const std::vector<int>& cores = all_cores();
  if (cores.size() > 1) pin_to(cores[1]);
  auto made = make();
  if (cores.size() > 1) pin_to(cores[0]);
  return made;
}

/// A pool with its thread on the other core.
template <class Process>
auto make_pool(Process process, moe::TaskPoolOptions options) {
  return on_other_core(
      [&] { return std::make_unique<moe::TaskPool<Process>>(std::move(process), std::move(options)); });
}

/// One producer, one consumer, no lock.
template <class T>
class Ring {
 public:
  bool push(T& value) {
    const std::size_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_.load(std::memory_order_acquire) == slots_.size()) return false;
    slots_[tail % slots_.size()] = std::move(value);
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }
  bool pop(T& value) {
    const std::size_t head = head_.load(std::memory_order_relaxed);
    if (head == tail_.load(std::memory_order_acquire)) return false;
    value = std::move(slots_[head % slots_.size()]);
    head_.store(head + 1, std::memory_order_release);
    return true;
  }

 private:
  std::array<T, 1024> slots_;
  alignas(64) std::atomic<std::size_t> head_ = 0;
  alignas(64) std::atomic<std::size_t> tail_ = 0;
};

/// The same hand-over without a pool: batches of one go through a ring to another thread, which joins what is there,
/// splits it again and sends the parts back.
class BareRing {
 public:
  BareRing() : thread_(on_other_core([this] { return std::thread([this] { serve(); }); })) {}
  ~BareRing() {
    stop_ = true;
    thread_.join();
  }
  BareRing(const BareRing&) = delete;
  BareRing& operator=(const BareRing&) = delete;

  /// Tasks a microsecond.
  double run(double duration) {
    const SteadyTime start = Clock::now();
    std::size_t sent = 0, received = 0;
    Batch batch;
    bool more = true;
    while (more || received < sent) {
      for (; more && sent - received < callers; ++sent) {
        batch = Batch{static_cast<int>(sent)};
        there_.push(batch);
      }
      while (back_.pop(batch)) ++received;
      more = microseconds_since(start) < duration;
    }
    return static_cast<double>(received) / microseconds_since(start);
  }

 private:
  void serve() {
    std::vector<Batch> parts;
    std::vector<std::size_t> sizes;
    while (!stop_) {
      for (Batch part; there_.pop(part);) {
        sizes.push_back(part.size());
        parts.push_back(std::move(part));
      }
      if (parts.empty()) continue;
      for (Batch& part : Traits::split(Traits::join(parts), sizes)) back_.push(part);
      parts.clear();
      sizes.clear();
    }
  }

  Ring<Batch> there_, back_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

/// Callers that submit again as soon as they have their result, for so long; tasks a microsecond.
template <class Pool>
double run_closed(const Pool& pool, std::size_t count, double duration) {
  asio::io_context io(1);
  const SteadyTime start = Clock::now();
  bool more = true;
  std::size_t done = 0;
  const auto caller = [&](int id) -> awaitable<void> {
    while (more) {
      Batch batch{id};
      (void)co_await pool.submit_task(std::move(batch));
      if (++done % 64 == 0) more = microseconds_since(start) < duration;
    }
  };
  for (std::size_t i = 0; i < count; ++i) {
    asio::co_spawn(io, caller(static_cast<int>(i)), [](const std::exception_ptr& thrown) {
      if (thrown) std::rethrow_exception(thrown);
    });
  }
  io.run();
  return static_cast<double>(done) / microseconds_since(start);
}

void measure_hand_over(Table& table, bool quick) {
  const double duration = quick ? 1e5 : 3e5;
  const auto pool = make_pool([](Batch batch) { return batch; }, {});
  double allocated = 0;
  const auto series = interleave(quick ? 5 : 15, {
                                                     [&](Series& to) {
                                                       const std::size_t before = allocations();
                                                       const std::size_t tasks = pool->statistics().tasks;
                                                       to.add(run_closed(*pool, callers, duration));
                                                       allocated =
                                                           static_cast<double>(allocations() - before) /
                                                           static_cast<double>(pool->statistics().tasks - tasks);
                                                     },
                                                     [&](Series& to) {
                                                       BareRing ring;
                                                       to.add(ring.run(duration));
                                                     },
                                                 });
  const auto text = [](double rate) { return std::to_string(rate).substr(0, 4) + " M/s"; };
  table.print({.name = "pool tasks/s, no-op, two threads",
               .skep = text(series[0].p50()),
               .limit = text(series[1].p50()),
               .ratio = median_over_rounds(
                   series[0].rounds(), [&](std::size_t i) { return series[0].median_of(i) / series[1].median_of(i); }),
               .direction = Goal::at_least,
               .goal = 0.3});
  constexpr double most = 5;
  table.print({.name = "pool allocations a task, caller",
               .skep = std::to_string(allocated).substr(0, 4),
               .limit = std::to_string(most).substr(0, 4),
               .ratio = allocated / most,
               .goal = 1});
}

/// A function that takes fixed + each * n of processor time, and notes when it did.
class Busy {
 public:
  explicit Busy(Service service) : service_(service) { spans_->reserve(1 << 16); }

  Batch operator()(Batch batch) {
    const SteadyTime begin = Clock::now();
    const double wanted = service_.of(batch.size());
    while (microseconds_since(begin) < wanted) {
    }
    spans_->push_back({begin, Clock::now()});
    return batch;
  }
  struct Span {
    SteadyTime begin, end;
  };
  [[nodiscard]] const std::shared_ptr<std::vector<Span>>& spans() const { return spans_; }

 private:
  Service service_;
  std::shared_ptr<std::vector<Span>> spans_ = std::make_shared<std::vector<Span>>();
};

/// How much of a wait was not computing of this or of earlier batches, for waits in order of their begins.
class Overhead {
 public:
  explicit Overhead(const std::vector<Busy::Span>& spans) : spans_(spans) {}

  double operator()(SteadyTime begin, SteadyTime end) {
    while (first_ < spans_.size() && spans_[first_].end <= begin) ++first_;
    Duration left = end - begin;
    for (std::size_t i = first_; i < spans_.size() && spans_[i].begin < end; ++i) {
      left -= std::min(end, spans_[i].end) - std::max(begin, spans_[i].begin);
    }
    return std::chrono::duration<double, std::micro>(left).count();
  }

 private:
  const std::vector<Busy::Span>& spans_;
  std::size_t first_ = 0;
};

/// What callers that come at the given times saw, in microseconds.
struct Seen {
  std::vector<double> latency;   // from when a task was due
  std::vector<double> overhead;  // from its submission, without the time in which anything was computed
};
Seen run_open(const Service& service, const std::vector<double>& arrivals) {
  Busy busy(service);
  const auto spans = busy.spans();
  struct Task {
    SteadyTime due, submitted, done;
  };
  std::vector<Task> tasks(arrivals.size());
  asio::io_context io(1);
  {
    const auto pool = make_pool(std::move(busy), {.max_batch_size = service.most, .max_queued = 1 << 20});
    const auto work = asio::make_work_guard(io);
    std::size_t left = tasks.size();
    const auto caller = [&](Task& task) -> awaitable<void> {
      Batch batch{1};
      task.submitted = Clock::now();
      (void)co_await pool->submit_task(std::move(batch));
      task.done = Clock::now();
      --left;
    };
    const SteadyTime start = Clock::now() + 1ms;
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      tasks[i].due =
          start + std::chrono::duration_cast<Duration>(std::chrono::duration<double, std::micro>(arrivals[i]));
      while (Clock::now() < tasks[i].due) io.poll();
      asio::co_spawn(io, caller(tasks[i]), [](const std::exception_ptr& thrown) {
        if (thrown) std::rethrow_exception(thrown);
      });
      io.poll();
    }
    while (left > 0) io.poll();
  }
  Seen seen;
  Overhead overhead(*spans);
  for (const Task& task : tasks) {
    seen.latency.push_back(std::chrono::duration<double, std::micro>(task.done - task.due).count());
    seen.overhead.push_back(overhead(task.submitted, task.done));
  }
  return seen;
}

/// The latencies under a policy that costs nothing, on the core and by the clock that the pool has: `simulate`, but
/// what else the machine does to who computes is in it as well.
std::vector<double> act_out(const Policy& policy, const Service& service, const std::vector<double>& arrivals) {
  std::vector<double> latencies;
  const auto serve = [&] {
    const SteadyTime start = Clock::now();
    Waiting waiting{arrivals, 0, 0, 0};
    while (waiting.first < arrivals.size()) {
      const Choice batch = policy.choose(waiting, service);
      while (microseconds_since(start) < batch.start) {
      }
      waiting.previous = microseconds_since(start);
      Busy{service}(Batch(batch.count));
      waiting.free = microseconds_since(start);
      for (std::size_t i = 0; i < batch.count; ++i) latencies.push_back(waiting.free - arrivals[waiting.first + i]);
      waiting.first += batch.count;
    }
  };
  on_other_core([&] { return std::make_unique<std::thread>(serve); })->join();
  return latencies;
}

void measure_latency(Table& table, bool quick) {
  const Service service{.fixed = 1000, .each = 10, .most = 64};
  const double duration = quick ? 5e5 : 2e6;
  const int rounds = quick ? 5 : 9;
  const std::vector<Policy> policies{wait_for_full("wait 10 ms", 10'000), wait_for_full("wait 100 ms", 100'000),
                                     wait_for_full("wait 1 ms", 1000),    preferred("preferred 32", 32),
                                     preferred("preferred 16", 16),       fixed_size("size 64", 64),
                                     fixed_size("size 32", 32),           fixed_size("size 16", 16),
                                     closed_ahead("Hivemind's")};

  std::vector<double> added, p99, best, ratio, ideal;
  const Policy* best_policy = nullptr;
  for (int round = 0; round < rounds; ++round) {
    const auto seed = static_cast<unsigned>(round);
    added.push_back(quantile(run_open(service, poisson(0.6 * service.capacity(), duration, seed)).overhead, 0.99));
    const auto arrivals = poisson(0.9 * service.capacity(), duration, seed + 100);
    p99.push_back(quantile(run_open(service, arrivals).latency, 0.99));
    double least = 0;
    for (const Policy& policy : policies) {
      const double its = quantile(simulate(policy, service, arrivals), 0.99);
      if (least == 0 || its < least) {
        least = its;
        best_policy = &policy;
      }
    }
    ideal.push_back(least);
    best.push_back(quantile(act_out(*best_policy, service, arrivals), 0.99));
    ratio.push_back(p99.back() / best.back());
  }
  table.print({.name = "pool added p99, 60 % load",
               .skep = time_text(median(added)),
               .limit = time_text(60),
               .ratio = median(added) / 60,
               .goal = 1});
  table.print({.name = "pool p99, 90 % load, / " + best_policy->name,
               .skep = time_text(median(p99)),
               .peer = time_text(median(best)),
               .limit = time_text(median(ideal)),
               .ratio = median(ratio),
               .goal = 1.3});
}

std::size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::size_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

/// Callers that come at their own random times, whatever the pool does.
struct Overload {
  std::size_t offered = 0, busy = 0;
  std::vector<double> latency;  // of the accepted
  double rate = 0;              // of those, a microsecond
  double memory = 0;            // at the end, relative to that after the first third
};
template <class Pool>
Overload run_overload(const Pool& pool, double per_caller, double duration) {
  asio::io_context io(1);
  Overload seen;
  std::size_t early = 0;
  seen.latency.reserve(static_cast<std::size_t>(duration * per_caller * callers));
  const SteadyTime start = Clock::now();
  const auto caller = [&](unsigned seed) -> awaitable<void> {
    std::mt19937_64 random(seed);
    std::exponential_distribution<double> gap(per_caller);
    asio::steady_timer timer(io);
    for (double due = gap(random); due < duration; due += gap(random)) {
      timer.expires_at(start + std::chrono::duration_cast<Duration>(std::chrono::duration<double, std::micro>(due)));
      co_await timer.async_wait(use_awaitable);
      ++seen.offered;
      const SteadyTime begin = Clock::now();
      Batch batch{1};
      try {
        (void)co_await pool.submit_task(std::move(batch));
        seen.latency.push_back(microseconds_since(begin));
      } catch (const Error& error) {
        if (error.code() != errc::busy) throw;
        ++seen.busy;
      }
      if (early == 0 && due > duration / 3) early = resident_bytes();
    }
  };
  for (unsigned i = 0; i < callers; ++i) {
    asio::co_spawn(io, caller(i), [](const std::exception_ptr& thrown) {
      if (thrown) std::rethrow_exception(thrown);
    });
  }
  io.run();
  seen.rate = static_cast<double>(seen.latency.size()) / microseconds_since(start);
  seen.memory = static_cast<double>(resident_bytes()) / static_cast<double>(std::max<std::size_t>(early, 1));
  return seen;
}

void measure_overload(Table& table, bool quick) {
  const Service service{.fixed = 4000, .each = 40, .most = 16};
  const double duration = quick ? 4e6 : 20e6;
  const auto pool =
      make_pool(Busy(service), {.max_batch_size = service.most, .max_queued = 2 * service.most, .name = "overloaded"});
  // the peak: as many callers as keep every batch full, and no more
  std::vector<double> latencies;
  const double peak = run_closed(*pool, 2 * service.most, duration / 5);
  const auto at_peak = run_overload(*pool, service.capacity() / callers, duration / 5);
  const auto seen = run_overload(*pool, 4 * service.capacity() / callers, duration);
  const auto rate = [](double per_microsecond) {
    return std::to_string(static_cast<int>(per_microsecond * 1e6)) + "/s";
  };
  table.print({.name = "pool goodput, overload 4 x",
               .skep = rate(seen.rate),
               .limit = rate(peak),
               .ratio = seen.rate / peak,
               .direction = Goal::at_least,
               .goal = 0.9});
  const double p99 = quantile(seen.latency, 0.99);
  const double before = quantile(at_peak.latency, 0.99);
  table.print({.name = "pool p99 of the accepted, 4 x / 1 x",
               .skep = time_text(p99),
               .limit = time_text(before),
               .ratio = p99 / before,
               .goal = 3});
  table.print({.name = "pool memory, end / first third",
               .skep = std::to_string(resident_bytes() / 1024 / 1024) + " MiB",
               .ratio = seen.memory,
               .goal = 1.05});
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string_view> arguments(argv + 1, argv + argc);
  try {
    const bool quick = std::ranges::count(arguments, "--quick") > 0;
    const auto wanted = [&](std::string_view part) {  // all parts, or those that are named
      return arguments.size() == (quick ? 1U : 0U) || std::ranges::count(arguments, part) > 0;
    };
    Table table;
    if (wanted("hand-over")) measure_hand_over(table, quick);
    if (wanted("latency")) measure_latency(table, quick);
    if (wanted("overload")) measure_overload(table, quick);
    return 0;
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "pool_bench: %s\n", failure.what());
    return 1;
  }
}
