// Latency models: how long messages travel between two simulated peers.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <numbers>

#include "skep/core/random.hpp"
#include "skep/core/time.hpp"

namespace skep::inline v0::sim {

/// Draws the time of one round trip; a message takes half of it. Called once for each message.
using Latency = std::function<Duration(Random&)>;

[[nodiscard]] inline Latency constant(Duration round_trip) {
  return [round_trip](Random&) { return round_trip; };
}

/// A normal distribution, cut at a tenth of its mean.
[[nodiscard]] inline Latency normal(Duration mean, Duration deviation) {
  return [mean, deviation](Random& random) {
    const double radius = std::sqrt(-2 * std::log(1 - random.unit()));
    const double draw = radius * std::cos(2 * std::numbers::pi * random.unit());
    const auto time = mean + Duration(static_cast<Duration::rep>(draw * static_cast<double>(deviation.count())));
    return std::max<Duration>(time, mean / 10);
  };
}

}  // namespace skep::inline v0::sim
