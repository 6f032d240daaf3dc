#include "skep/moe/score_ranking.hpp"

#include <algorithm>
#include <functional>
#include <numeric>
#include <vector>

#include "skep/core/random.hpp"

#include <doctest/doctest.h>

using namespace skep;
using moe::Coordinate;
using moe::Score;
using moe::ScoreRanking;

namespace {

template <class First = std::less<>>
std::vector<Coordinate> best(const std::vector<Score>& scores, std::size_t count, First first = {}) {
  ScoreRanking ranking;
  const std::size_t ranked = ranking.rank(scores.data(), scores.size(), count, first);
  std::vector<Coordinate> out;
  for (std::size_t place = 0; place < ranked; ++place) {
    CHECK(ranking[place].score == scores[static_cast<std::size_t>(ranking[place].coordinate)]);
    out.push_back(ranking[place].coordinate);
  }
  return out;
}

}  // namespace

TEST_CASE("the best come in order, equal ones as the caller says") {
  const std::vector<Score> scores{1, 5, 3, 5, 2};
  CHECK(best(scores, 3) == std::vector<Coordinate>{1, 3, 2});
  CHECK(best(scores, 3, std::greater<>()) == std::vector<Coordinate>{3, 1, 2});
  CHECK(best(scores, 1) == std::vector<Coordinate>{1});
}

TEST_CASE("more than there are means all, and none is none") {
  CHECK(best({2, 1}, 9) == std::vector<Coordinate>{0, 1});
  CHECK(best({2, 1}, 0).empty());
  CHECK(best({}, 3).empty());
}

TEST_CASE("a ranking equals the front of a whole sort, whatever the scores, infinite ones and ties among them") {
  Random random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<Score> scores(1 + random.below(300));
    for (Score& score : scores) score = static_cast<Score>(random.below(20));
    if (round % 3 == 0) scores[random.below(scores.size())] = -std::numeric_limits<Score>::infinity();
    std::vector<Coordinate> sorted(scores.size());
    std::iota(sorted.begin(), sorted.end(), 0);
    std::stable_sort(sorted.begin(), sorted.end(), [&](Coordinate a, Coordinate b) {
      return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
    });
    sorted.resize(std::min<std::size_t>(sorted.size(), 1 + random.below(12)));
    CHECK(best(scores, sorted.size()) == sorted);
  }
}
