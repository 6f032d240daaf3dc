#include "skep/moe/penalties.hpp"

#include "support/experts.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;
using moe::PenaltyList;
using test::peer;

TEST_CASE("a failed expert is skipped for a while, longer each time, its neighbours are not") {
  PenaltyList list({.first = 2s, .longest = 5s});
  const moe::ExpertInfo failed{"e.0", peer(1)};
  const moe::ExpertInfo neighbour{"e.1", peer(1)};
  const SteadyTime start{100s};
  CHECK_FALSE(list.any(start));
  list.expert_failed("e.0", start);
  CHECK(list.any(start));
  CHECK(list.skips(failed, start + 1999ms));
  CHECK_FALSE(list.skips(neighbour, start));
  CHECK_FALSE(list.skips(failed, start + 2s));
  CHECK_FALSE(list.any(start + 2s));

  list.expert_failed("e.0", start + 2s);
  CHECK(list.skips(failed, start + 5999ms));
  CHECK_FALSE(list.skips(failed, start + 6s));
  list.expert_failed("e.0", start + 6s);
  CHECK_FALSE(list.skips(failed, start + 11s));  // not 8 s: the longest is 5 s
  list.answered(failed);
  list.expert_failed("e.0", start + 20s);
  CHECK_FALSE(list.skips(failed, start + 22s));  // an answer makes it start anew
}

TEST_CASE("an unreachable server takes all its experts with it, once for each time") {
  PenaltyList list({.first = 2s});
  const SteadyTime start{100s};
  for (int calls = 0; calls < 4; ++calls) list.server_failed(peer(1), start);
  CHECK(list.skips({"e.7", peer(1)}, start + 1s));
  CHECK_FALSE(list.skips({"e.7", peer(2)}, start + 1s));
  CHECK_FALSE(list.skips({"e.7", peer(1)}, start + 2s));  // four calls of one batch are one failure
  list.answered({"e.7", peer(1)});
  list.clear();
  CHECK_FALSE(list.any(start));
}

TEST_CASE("an expert in whose place others answered is skipped from the second time in a row on") {
  PenaltyList list({.first = 2s});
  const moe::ExpertInfo slow{"e.0", peer(1)};
  const SteadyTime start{100s};
  list.expert_late("e.0", start);
  CHECK_FALSE(list.skips(slow, start));
  list.answered(slow);
  list.expert_late("e.0", start);
  CHECK_FALSE(list.skips(slow, start));
  list.expert_late("e.0", start);
  CHECK(list.skips(slow, start + 1s));
}

TEST_CASE("penalties can be switched off and are bounded") {
  PenaltyList off({.first = 0s});
  off.expert_failed("e.0", SteadyTime{1s});
  CHECK_FALSE(off.any(SteadyTime{1s}));
  PenaltyList small({.first = 1s, .limit = 3});
  for (int i = 0; i < 100; ++i) small.expert_failed("e." + std::to_string(i), SteadyTime{std::chrono::seconds(i)});
  CHECK(small.skips({"e.99", peer(1)}, SteadyTime{99s}));
}
