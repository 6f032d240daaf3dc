// Statistics of a server: a snapshot of its counters, and those of its pools as lines for its log.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "skep/core/time.hpp"
#include "skep/moe/server/traffic.hpp"
#include "skep/moe/task_pool.hpp"

namespace skep::inline v0::moe {

/// The counters of each pool by its name.
using PoolReport = std::map<std::string, PoolStatistics>;

/// What a server has done since it was made.
struct ServerStatistics {
  PoolReport pools;                              ///< batches, samples, waiting and computing; "<uid>_forward", ...
  std::map<std::string, ExpertTraffic> experts;  ///< requests, bytes and refusals, by uid
  ExpertTraffic others = {};                     ///< refusals of requests for no expert of this server
  std::map<std::string, std::uint64_t> updates;  ///< steps of the optimizer, by uid
};

namespace detail {
/// "12.3 batches/s", or below one a second "4.56 s/batch".
[[nodiscard]] inline std::string rate(double count, double seconds, const char* unit, const char* units) {
  char text[64];
  if (count > seconds) {
    std::snprintf(text, sizeof text, "%.1f %s/s", count / seconds, units);
  } else {
    std::snprintf(text, sizeof text, "%.2f s/%s", seconds / count, unit);
  }
  return text;
}
}  // namespace detail

/// What happened between two reports, in Hivemind's words: a line for the server, then one for each pool that computed
/// something.
[[nodiscard]] inline std::vector<std::string> report_lines(const PoolReport& before, const PoolReport& after,
                                                           Duration between) {
  const double seconds = std::chrono::duration<double>(between).count();
  std::size_t all = 0;
  std::vector<std::string> lines(1);
  for (const auto& [name, now] : after) {
    const auto earlier = before.find(name);
    const PoolStatistics then = earlier == before.end() ? PoolStatistics{} : earlier->second;
    const std::size_t batches = now.batches - then.batches;
    const std::size_t samples = now.samples - then.samples;
    if (batches == 0) continue;
    all += batches;
    const auto b = static_cast<double>(batches);
    const auto s = static_cast<double>(samples);
    char average[32];
    std::snprintf(average, sizeof average, "%.1f", s / b);
    lines.push_back(name + ": " + std::to_string(batches) + " batches (" +
                    detail::rate(b, seconds, "batch", "batches") + "), " + std::to_string(samples) + " examples (" +
                    detail::rate(s, seconds, "example", "examples") + "), avg batch size " + average);
  }
  char period[32];
  std::snprintf(period, sizeof period, "%.1f", seconds);
  lines[0] = "Processed " + std::to_string(all) + " batches in last " + period + " seconds:";
  return lines;
}

}  // namespace skep::inline v0::moe
