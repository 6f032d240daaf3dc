// Latency models: how long calls travel between two simulated peers.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <functional>
#include <numbers>
#include <utility>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/core/random.hpp"
#include "skep/core/time.hpp"

namespace skep::inline v0::sim {

/// The two ends of a call: the numbers of its peers, in the order in which they came into the world, from 1.
struct Link {
  std::size_t from = 0;
  std::size_t to = 0;
};

/// Draws the time of a round trip, once for each call: the request takes half of it and the answer the other half.
using Latency = std::function<Duration(Random&, const Link&)>;

[[nodiscard]] inline Latency constant(Duration round_trip) {
  return [round_trip](Random&, const Link&) { return round_trip; };
}

/// A normal distribution, cut at a tenth of its mean.
[[nodiscard]] inline Latency normal(Duration mean, Duration deviation) {
  return [mean, deviation](Random& random, const Link&) {
    const double radius = std::sqrt(-2 * std::log(1 - random.unit()));
    const double draw = radius * std::cos(2 * std::numbers::pi * random.unit());
    const auto time = mean + Duration(static_cast<Duration::rep>(draw * static_cast<double>(deviation.count())));
    return std::max<Duration>(time, mean / 10);
  };
}

/// An exponential distribution: many short ways and a long tail.
[[nodiscard]] inline Latency exponential(Duration mean) {
  return [mean](Random& random, const Link&) {
    const double draw = -std::log(1 - random.unit());
    return Duration(static_cast<Duration::rep>(draw * static_cast<double>(mean.count())));
  };
}

/// Peers in regions, in turn: peer n lives in region n modulo their number. `round_trips[a][b]` is what a call from
/// region a to region b takes; `jitter` of it, at most, comes on top. Throws errc::invalid_argument when it is no
/// square.
[[nodiscard]] inline Latency matrix(std::vector<std::vector<Duration>> round_trips, double jitter = 0) {
  for (const auto& row : round_trips) {
    if (row.size() != round_trips.size() || jitter < 0) {
      throw Error(errc::invalid_argument, "a matrix of latencies has as many columns as rows, and no negative jitter");
    }
  }
  if (round_trips.empty()) throw Error(errc::invalid_argument, "a matrix of latencies has at least one region");
  return [round_trips = std::move(round_trips), jitter](Random& random, const Link& link) {
    const Duration time = round_trips[link.from % round_trips.size()][link.to % round_trips.size()];
    return time + Duration(static_cast<Duration::rep>(jitter * random.unit() * static_cast<double>(time.count())));
  };
}

}  // namespace skep::inline v0::sim
