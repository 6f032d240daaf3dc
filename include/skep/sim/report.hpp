// Report: what a simulated swarm did, in a few lines.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iomanip>
#include <map>
#include <ostream>
#include <sstream>
#include <string>
#include <vector>

#include "skep/core/time.hpp"

namespace skep::inline v0::sim {

/// The time below which a share of them lies (nearest rank); zero when there are none.
[[nodiscard]] inline Duration quantile(std::vector<Duration> times, double share) {
  if (times.empty()) return {};
  const auto rank = static_cast<std::size_t>(std::lround(share * static_cast<double>(times.size() - 1)));
  const auto at = times.begin() + static_cast<std::ptrdiff_t>(rank);
  std::nth_element(times.begin(), at, times.end());
  return *at;
}

struct Report {
  std::size_t nodes = 0;
  std::size_t dead = 0;
  std::size_t messages = 0;  ///< requests and answers since the swarm stood
  std::size_t bytes = 0;
  std::map<std::string, std::size_t> calls = {};  ///< by method
  std::vector<Duration> runs = {};                ///< how long each run took, in virtual time
  std::size_t failures = 0;                       ///< runs that ended with an exception
  std::string first_failure = {};                 ///< its words
  Duration time{};                                ///< virtual, since the world began
  std::uint64_t transcript = 0;                   ///< equal for equal seeds
  std::uint64_t seed = 0;

  [[nodiscard]] Duration p50() const { return quantile(runs, 0.5); }
  [[nodiscard]] Duration p99() const { return quantile(runs, 0.99); }
};

inline std::ostream& operator<<(std::ostream& out, const Report& report) {
  const auto seconds = [](Duration time) { return std::chrono::duration<double>(time).count(); };
  std::ostringstream text;
  text << report.nodes << " nodes, " << report.dead << " of them dead; " << report.messages << " messages, "
       << report.bytes << " bytes; " << std::fixed << std::setprecision(1) << seconds(report.time)
       << " s of virtual time\n";
  for (const auto& [method, calls] : report.calls) text << "  " << method << ": " << calls << " calls\n";
  if (!report.runs.empty()) {
    text << std::setprecision(0) << report.runs.size() << " runs, " << report.failures << " of them failed; p50 "
         << 1e3 * seconds(report.p50()) << " ms, p99 " << 1e3 * seconds(report.p99()) << " ms\n";
  }
  if (!report.first_failure.empty()) text << "first failure: " << report.first_failure << '\n';
  text << "seed " << report.seed << ", transcript " << std::hex << std::setw(16) << std::setfill('0')
       << report.transcript;
  return out << text.str();
}

}  // namespace skep::inline v0::sim
