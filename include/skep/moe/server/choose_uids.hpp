// Which uids a server's experts get: those that are given, those that have checkpoints, free ones of a pattern.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/core/error.hpp"
#include "skep/core/log.hpp"
#include "skep/core/random.hpp"
#include "skep/moe/declare.hpp"
#include "skep/moe/server/server_options.hpp"
#include "skep/moe/server/uid_pattern.hpp"

namespace skep::inline v0::moe {

namespace detail {

/// "a, b, c".
[[nodiscard]] inline std::string listed(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : ", ") + word;
  return all;
}

}  // namespace detail

/// The saved uids that each group takes before others are drawn: of several groups that draw, each takes those of its
/// pattern; a single one takes all. Uids that a group gives by name are nobody else's.
/// Throws errc::invalid_argument when there are more than a group wants.
[[nodiscard]] inline std::vector<std::vector<std::string>> saved_uids(const std::vector<ExpertGroup>& groups,
                                                                      const std::vector<std::string>& located) {
  std::set<std::string> left(located.begin(), located.end());
  std::size_t drawing = 0;
  for (const ExpertGroup& group : groups) {
    if (group.num_experts > 0) ++drawing;
    for (const std::string& uid : group.expert_uids) left.erase(uid);
  }
  std::vector<std::vector<std::string>> taken(groups.size());
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const ExpertGroup& group = groups[i];
    if (group.num_experts == 0) continue;
    const UidPattern pattern = UidSampler::pattern_of(group.expert_pattern, group.num_experts);
    std::erase_if(left, [&](const std::string& uid) {
      if (drawing > 1 && !pattern.includes(uid)) return false;
      taken[i].push_back(uid);
      return true;
    });
    if (taken[i].size() <= group.num_experts) continue;
    throw Error(errc::invalid_argument, "there are checkpoints of " + std::to_string(taken[i].size()) + " experts (" +
                                            detail::listed(taken[i]) + "), more than the " +
                                            std::to_string(group.num_experts) +
                                            " that are to be served: raise num_experts, or move some away");
  }
  return taken;
}

/// So many uids of a pattern that nobody serves and that are not in `taken`, fewer with a warning when no more are
/// found. Two servers that choose at the same time may choose the same.
/// Throws errc::invalid_argument for a wrong pattern.
template <ExpertDirectory Node>
[[nodiscard]] awaitable<std::vector<std::string>> free_uids(Node node, std::string pattern, std::size_t wanted,
                                                            std::set<std::string> taken, std::uint64_t seed) {
  UidSampler sampler = pattern.empty() ? UidSampler::without_pattern(wanted + taken.size())
                                       : UidSampler(UidPattern(pattern), wanted + taken.size(), Random(seed));
  log(LogLevel::info, "server",
      "Generating " + std::to_string(wanted) + " expert uids from pattern " + sampler.pattern().text());
  std::vector<std::string> free;
  std::size_t attempts = 0;
  while (free.size() < wanted) {
    auto drawn = sampler.draw(wanted - free.size());
    if (drawn.empty()) break;
    attempts += drawn.size();
    std::erase_if(drawn, [&taken](const std::string& uid) { return taken.contains(uid); });
    const auto served = co_await get_experts(node, drawn);
    for (std::size_t i = 0; i < drawn.size(); ++i) {
      if (!served[i]) free.push_back(std::move(drawn[i]));
    }
  }
  if (free.size() < wanted) {
    log(LogLevel::warning, "server",
        "Found only " + std::to_string(free.size()) + " out of " + std::to_string(wanted) + " free expert uids after " +
            std::to_string(attempts) + " attempts");
  }
  co_return free;
}

}  // namespace skep::inline v0::moe
