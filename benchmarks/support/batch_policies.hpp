// The batching policies of known servers, in a simulator without overhead: what a pool is measured against.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace skep::bench {

/// How long a batch of n takes, in microseconds: fixed + each * n.
struct Service {
  double fixed;
  double each;
  std::size_t most;  ///< tasks in a batch

  [[nodiscard]] double of(std::size_t n) const { return fixed + each * static_cast<double>(n); }
  /// Tasks a microsecond, in batches of the largest size.
  [[nodiscard]] double capacity() const { return static_cast<double>(most) / of(most); }
};

/// Poisson arrivals, in microseconds from the start.
[[nodiscard]] inline std::vector<double> poisson(double per_microsecond, double until, unsigned seed) {
  std::mt19937_64 random(seed);
  std::exponential_distribution<double> gap(per_microsecond);
  std::vector<double> arrivals;
  for (double at = gap(random); at < until; at += gap(random)) arrivals.push_back(at);
  return arrivals;
}

/// What waits when a batch is chosen: tasks from `first` on, of which none is computed; the server is free at `free`
/// and took the batch before at `previous`.
struct Waiting {
  const std::vector<double>& arrivals;
  std::size_t first;
  double free;
  double previous;

  /// Tasks that have come by then.
  [[nodiscard]] std::size_t queued(double at) const {
    return static_cast<std::size_t>(
               std::upper_bound(arrivals.begin() + static_cast<std::ptrdiff_t>(first), arrivals.end(), at) -
               arrivals.begin()) -
           first;
  }
  /// When the n-th of them comes; the last if there are fewer.
  [[nodiscard]] double arrival(std::size_t n) const { return arrivals[std::min(first + n, arrivals.size()) - 1]; }
};
struct Choice {
  double start;
  std::size_t count;
};
struct Policy {
  std::string name;
  std::function<Choice(const Waiting&, const Service&)> choose;
};

/// Waits for a full batch, but not longer than `delay` for the first task: Ray Serve (10 ms), TorchServe (100 ms),
/// Triton's dynamic batcher (0).
[[nodiscard]] inline Policy wait_for_full(std::string name, double delay) {
  return {std::move(name), [delay](const Waiting& waiting, const Service& service) {
            const double full = waiting.arrival(service.most);
            const double start = std::max(waiting.free, std::min(full, waiting.arrival(1) + delay));
            return Choice{start, std::min(waiting.queued(start), service.most)};
          }};
}
/// Takes a preferred size as soon as that many wait, else what there is: Triton's preferred_batch_size.
[[nodiscard]] inline Policy preferred(std::string name, std::size_t size) {
  return {std::move(name), [size](const Waiting& waiting, const Service&) {
            const double start = std::max(waiting.free, waiting.arrival(1));
            return Choice{start, std::min(waiting.queued(start), size)};
          }};
}
/// Always batches of one size.
[[nodiscard]] inline Policy fixed_size(std::string name, std::size_t size) {
  return {std::move(name), [size](const Waiting& waiting, const Service&) {
            const double start = std::max(waiting.free, waiting.arrival(size));
            return Choice{start, std::min(size, waiting.arrivals.size() - waiting.first)};
          }};
}
/// Closes a batch as soon as the one before was taken, then waits for the server with it: Hivemind's TaskPool.
[[nodiscard]] inline Policy closed_ahead(std::string name) {
  return {std::move(name), [](const Waiting& waiting, const Service& service) {
            const double closed = std::max(waiting.previous, waiting.arrival(1));
            return Choice{std::max(closed, waiting.free), std::min(waiting.queued(closed), service.most)};
          }};
}

/// The latency of every task under a policy.
[[nodiscard]] inline std::vector<double> simulate(const Policy& policy, const Service& service,
                                                  const std::vector<double>& arrivals) {
  std::vector<double> latencies;
  Waiting waiting{arrivals, 0, 0, 0};
  while (waiting.first < arrivals.size()) {
    const Choice batch = policy.choose(waiting, service);
    const double end = batch.start + service.of(batch.count);
    for (std::size_t i = 0; i < batch.count; ++i) latencies.push_back(end - arrivals[waiting.first + i]);
    waiting.first += batch.count;
    waiting.free = end;
    waiting.previous = batch.start;
  }
  return latencies;
}

}  // namespace skep::bench
