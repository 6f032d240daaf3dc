// Properties over many seeds: how many are tried, and how one that fails is replayed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include "skep/sim/swarm.hpp"

namespace skep_test {

/// One seed's run of a property.
class Trial {
 public:
  Trial(std::uint64_t number, bool is_replay) : seed(number), replay_(is_replay) {}

  /// A swarm of this seed; one at a time.
  skep::sim::Swarm& swarm(skep::sim::SwarmOptions options) {
    options.seed = seed;
    options.keep_messages = replay_ ? 2000 : 0;
    swarm_ = std::make_unique<skep::sim::Swarm>(std::move(options));
    return *swarm_;
  }
  void expect(bool holds, const std::string& what) {
    if (!holds) failures_.push_back(what);
  }
  void finish() const {
    CHECK(true);
    if (failures_.empty()) return;
    std::string text = "seed " + std::to_string(seed) + ":";
    for (const auto& failure : failures_) text += "\n  " + failure;
    if (replay_) {
      swarm_->print_timeline(std::cout);
    } else {
      text += "\n  SKEP_SIM_SEED=" + std::to_string(seed) + " replays it and prints its last messages";
    }
    FAIL_CHECK(text);
  }

  const std::uint64_t seed;

 private:
  bool replay_;
  std::unique_ptr<skep::sim::Swarm> swarm_;
  std::vector<std::string> failures_;
};

/// Tries a property with SKEP_SIM_SEEDS seeds (50 when it is not set), or with SKEP_SIM_SEED alone.
/// @param share  of the seeds that this property is tried with, where it is costly
template <class Property>
void for_each_seed(Property property, std::size_t share = 1) {
  const auto number = [](const char* name, std::uint64_t otherwise) {
    const char* const text = std::getenv(name);
    return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
  };
  const std::uint64_t only = number("SKEP_SIM_SEED", 0);
  const std::uint64_t first = only > 0 ? only : 1;
  const std::uint64_t last = only > 0 ? only : std::max<std::uint64_t>(1, number("SKEP_SIM_SEEDS", 50) / share);
  for (std::uint64_t seed = first; seed <= last; ++seed) {
    Trial trial(seed, only > 0);
    property(trial);
    trial.finish();
  }
}

}  // namespace skep_test
