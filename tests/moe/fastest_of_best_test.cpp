#include "skep/moe/fastest_of_best.hpp"

#include <string>

// doctest comes last
#include <doctest/doctest.h>

using namespace skep;
using moe::RatedExpert;

TEST_CASE("H-25: ties and near ties go to the faster expert, a better score beyond them to nobody else") {
  struct Row {
    const char* what;
    std::vector<RatedExpert> experts;  // named by uid
    std::size_t count;
    float near_tie;
    std::string chosen;
  };
  const std::vector<Row> table{
      {"nothing to choose from", {}, 3, 1, ""},
      {"scores alone", {{1, 0s, "a"}, {3, 0s, "b"}, {2, 0s, "c"}}, 2, 0, "bc"},
      {"a tie: the faster", {{1, 9ms, "a"}, {1, 2ms, "b"}}, 1, 0, "b"},
      {"a tie, equally fast: by uid", {{1, 2ms, "b"}, {1, 2ms, "a"}}, 2, 0, "ab"},
      {"a near tie is none", {{1.0F, 9ms, "a"}, {0.9F, 2ms, "b"}}, 1, 0, "a"},
      {"a near tie", {{1.0F, 9ms, "a"}, {0.9F, 2ms, "b"}}, 1, 0.2F, "b"},
      {"who is chosen over leaves no gap", {{1.0F, 9ms, "a"}, {0.9F, 2ms, "b"}, {0.1F, 1ms, "c"}}, 2, 0.2F, "ba"},
      {"the slow one is replaced by the next", {{1.0F, 9s, "a"}, {0.9F, 2ms, "b"}, {0.8F, 3ms, "c"}}, 2, 0.5F, "bc"},
      {"far below stays below, however fast", {{1.0F, 9s, "a"}, {0.0F, 1us, "b"}}, 1, 0.5F, "a"},
      {"ties are counted from the best that is left",
       {{1.0F, 5ms, "a"}, {0.8F, 4ms, "b"}, {0.6F, 3ms, "c"}},
       3,
       0.25F,
       "bac"},
      {"nothing is known: tried", {{1, 1ms, "a"}, {1, 0s, "b"}}, 1, 0, "b"},
      {"without delays near ties change nothing", {{1.0F, 0s, "b"}, {0.9F, 0s, "a"}}, 2, 1, "ba"},
      {"minus infinity ties with itself",
       {{-std::numeric_limits<float>::infinity(), 2ms, "a"}, {-std::numeric_limits<float>::infinity(), 1ms, "b"}},
       2,
       0,
       "ba"},
  };
  for (const Row& row : table) {
    std::string chosen;
    for (const auto& expert : moe::fastest_of_best(row.experts, row.count, row.near_tie)) chosen += expert.uid;
    CHECK_MESSAGE(chosen == row.chosen, row.what);
  }
}
