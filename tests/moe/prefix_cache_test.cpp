#include "skep/moe/prefix_cache.hpp"

#include "support/experts.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;
using moe::Successors;
using test::peer;

TEST_CASE("B6.4 entries that contradict themselves are skipped, their neighbours stay") {
  const std::map<int, moe::UidEndpoint> found{
      {-2, {"ffn.3.-2", peer(1)}},   // no such coordinate
      {-1, {"ffn.4", peer(1)}},      // a flat expert of another prefix
      {0, {"ffn.3.0", peer(1)}},     //
      {1, {"ffn.3.2", peer(1)}},     // uid and coordinate differ
      {2, {"ffn.4.2", peer(1)}},     // of another prefix
      {3, {"ffn.3.03", peer(1)}},    // not a uid
      {4, {"ffn.3.4", {}}},          // nobody serves it
      {5, {"ffn.3", peer(1)}},       // shorter than the prefix
      {6, {"ffn.3.6.1.2", peer(2)}}  // an example of what lies deeper
  };
  const Successors successors("ffn.3.", found);
  REQUIRE(successors.size() == 2);
  CHECK(successors.coordinate(0) == 0);
  CHECK(successors.expert(0) == moe::ExpertInfo{"ffn.3.0", peer(1)});
  CHECK(std::vector(successors.rest(0).begin(), successors.rest(0).end()) == std::vector{0});
  CHECK(successors.coordinate(1) == 6);
  CHECK(std::vector(successors.rest(1).begin(), successors.rest(1).end()) == std::vector{6, 1, 2});
  CHECK(successors.find(6) == 1);
  CHECK_FALSE(successors.find(1));
}

TEST_CASE("a flat expert stands under its own prefix") {
  const Successors successors("ffn.3.", {{-1, {"ffn.3", peer(1)}}, {0, {"ffn.3.0", peer(1)}}});
  REQUIRE(successors.size() == 2);
  CHECK(successors.coordinate(0) == moe::flat_expert);
  CHECK(successors.rest(0).empty());
}

TEST_CASE("what a search may skip checking: the range of coordinates, gaps, and where uids end") {
  const moe::Successors dense("e.", {{0, {"e.0", test::peer(1)}}, {1, {"e.1", test::peer(1)}}});
  CHECK((dense.dense() && dense.ends_here() && dense.within(2) && !dense.within(1)));
  const moe::Successors gap("e.", {{0, {"e.0", test::peer(1)}}, {2, {"e.2.5", test::peer(1)}}});
  CHECK((!gap.dense() && !gap.ends_here() && gap.within(3) && !gap.within(2)));
  const moe::Successors flat("e.0.", {{-1, {"e.0", test::peer(1)}}});
  CHECK((!flat.dense() && !flat.ends_here() && !flat.within(9)));
}

TEST_CASE("a prefix is believed until its time is over, a snapshot never changes") {
  moe::PrefixCache cache;
  const auto before = cache.snapshot();
  const SteadyTime now{1000s};
  cache.add({{"ffn.1.", {std::make_shared<const Successors>("ffn.1.", std::map<int, moe::UidEndpoint>{}), now + 5s}},
             {"ffn.2.", {nullptr, now + 1s}}},
            now);
  CHECK(before->size() == 0);
  const auto after = cache.snapshot();
  REQUIRE(after->find("ffn.1.", now + 4s));
  CHECK(after->find("ffn.1.", now + 4s)->successors);
  CHECK(after->find("ffn.1.", now + 5s) == nullptr);
  REQUIRE(after->find("ffn.2.", now));
  CHECK_FALSE(after->find("ffn.2.", now)->successors);
  CHECK(after->find("ffn.3.", now) == nullptr);

  cache.add({{"ffn.3.", {nullptr, now + 9s}}}, now + 2s);
  CHECK(cache.snapshot()->size() == 2);  // ffn.2. is no longer believed
  CHECK(after->size() == 2);
}

TEST_CASE("the number of prefixes kept is bounded") {
  moe::PrefixCache cache(10);
  const SteadyTime now{1s};
  for (int i = 0; i < 100; ++i) {
    cache.add({{"ffn." + std::to_string(i) + ".", {nullptr, now + 60s}}}, now);
    CHECK(cache.snapshot()->size() <= 10);
  }
  CHECK(cache.snapshot()->find("ffn.99.", now));
}
