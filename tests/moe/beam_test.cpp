#include "skep/moe/beam.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "skep/core/random.hpp"
#include "support/experts.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;
using moe::BeamQuery;
using moe::BeamSearch;
using moe::ExpertChoice;
using test::peer;
using test::Table;

namespace {

ExpertChoice search(Table& table, BeamQuery query) {
  BeamSearch beam(std::move(query));
  while (!beam.advance().empty()) {
    ++table.calls;
    std::vector<std::shared_ptr<const moe::Successors>> found;
    for (const auto& prefix : beam.missing()) {
      const auto records = table.find(prefix);
      found.push_back(records ? std::make_shared<const moe::Successors>(prefix, *records) : nullptr);
    }
    beam.learn(found);
  }
  return std::move(beam).take();
}

std::vector<std::string> uids(const ExpertChoice& choice, std::size_t row) {
  std::vector<std::string> names;
  for (const auto expert : choice.row(row)) names.push_back(choice.experts[expert].uid);
  return names;
}

using Uids = std::vector<std::string>;

}  // namespace

TEST_CASE("B6.6 two dimensions: the sums of scores decide, only the beam's prefixes are looked up") {
  Table table;
  for (int i = 0; i < 8; ++i) {
    for (int j = 0; j < 8; ++j) table.declare("ffn." + std::to_string(i) + "." + std::to_string(j));
  }
  const ExpertChoice choice = search(
      table,
      {.grid = {"ffn.", {8, 8}}, .scores = {0, 1, 2, 3, 4, 5, 6, 7, 0, 10, 20, 30, 40, 50, 60, 70}, .beam_size = 3});
  CHECK(uids(choice, 0) == Uids{"ffn.7.7", "ffn.6.7", "ffn.5.7"});
  CHECK(std::vector(choice.scores) == std::vector<float>{77, 76, 75});
  CHECK(choice.experts.at(choice.row(0)[0]).peer_id == peer(1));
  CHECK(table.asked.size() == 3);  // B6.19: no misses, so as many as the beam is wide, in one call
  CHECK(table.calls == 1);
}

TEST_CASE("B6.19 first-dimension misses and the beam are looked up, then at most the beam per dimension") {
  Table table;
  for (int i = 0; i < 32; i += 3) {
    for (int j = 0; j < 32; ++j) table.declare("e." + std::to_string(i) + "." + std::to_string(j) + ".1");
  }
  std::vector<float> scores;
  for (int i = 0; i < 32 * 2 + 2; ++i) scores.push_back(static_cast<float>(i % 32));
  const ExpertChoice choice = search(table, {.grid = {"e.", {32, 32, 2}}, .scores = scores, .beam_size = 4});
  CHECK(uids(choice, 0).front() == "e.30.31.1");
  int first = 0;
  int second = 0;
  for (const auto& [prefix, times] : table.asked) {
    CHECK(times == 1);
    ++(moe::coordinates_of(prefix)->size() == 1 ? first : second);
  }
  CHECK(first == 7 + 4);  // 31, 29, 28, 26, 25, 23, 22 are missing before 30, 27, 24, 21 fill the beam
  CHECK(second == 4);
}

TEST_CASE("num_workers looks ahead in the first dimension and changes nothing else") {
  Table table;
  table.declare("e.0.0");
  table.declare("e.1.0");
  std::vector<float> scores(65, 0);
  for (std::size_t i = 0; i < 64; ++i) scores[i] = static_cast<float>(i);
  const BeamQuery query{.grid = {"e.", {64, 1}}, .scores = scores, .beam_size = 1};
  Table patient = table;
  CHECK(uids(search(patient, query), 0) == Uids{"e.1.0"});
  CHECK(patient.calls == 63);
  BeamQuery ahead = query;
  ahead.num_workers = 16;
  Table eager = table;
  CHECK(uids(search(eager, ahead), 0) == Uids{"e.1.0"});
  CHECK(eager.calls == 4);
}

TEST_CASE("B6.9, H-25: a batch looks every prefix up once, however many samples need it") {
  Table table;
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 16; ++j) table.declare("ffn." + std::to_string(i) + "." + std::to_string(j));
  }
  Random random(5);
  BeamQuery query{.grid = {"ffn.", {16, 16}}, .rows = 200, .beam_size = 4};
  for (std::size_t i = 0; i < query.rows * 32; ++i) query.scores.push_back(static_cast<float>(random.unit()));
  const ExpertChoice choice = search(table, query);
  REQUIRE(choice.rows() == 200);
  for (const auto& [prefix, times] : table.asked) CHECK(times == 1);
  CHECK(table.calls == 1);

  std::set<std::string> unique;
  for (const auto& expert : choice.experts) CHECK(unique.insert(expert.uid).second);
  for (std::size_t row = 0; row < choice.rows(); ++row) {  // each row as if searched alone
    BeamQuery alone{.grid = {"ffn.", {16, 16}}, .beam_size = 4};
    alone.scores.assign(query.scores.begin() + static_cast<std::ptrdiff_t>(row * 32),
                        query.scores.begin() + static_cast<std::ptrdiff_t>(row * 32 + 32));
    CHECK(uids(choice, row) == uids(search(table, alone), 0));
  }
}

TEST_CASE("one dimension: flat experts") {
  Table table;
  table.declare("expert.3");
  table.declare("expert.10");
  table.declare("expert.2.7");  // two coordinates: not an expert of this grid
  const BeamQuery query{.grid = {"expert.", {16}}, .scores = std::vector<float>(16, 1.0F), .beam_size = 4};
  CHECK(uids(search(table, query), 0) == Uids{"expert.10", "expert.3"});  // equal scores: by uid
}

TEST_CASE("B6.7 a prefix that contains coordinates searches the grid below it") {
  Table table;
  for (int i = 0; i < 4; ++i) {
    table.declare("ffn.1." + std::to_string(i));
    for (int j = 0; j < 4; ++j) table.declare("deep.1." + std::to_string(i) + "." + std::to_string(j));
  }
  CHECK(uids(search(table, {.grid = {"ffn.1.", {4}}, .scores = {1, 4, 3, 2}, .beam_size = 2}), 0) ==
        Uids{"ffn.1.1", "ffn.1.2"});
  CHECK(uids(search(table, {.grid = {"deep.1.", {4, 4}}, .scores = {1, 4, 3, 2, 0, 9, 0, 7}, .beam_size = 2}), 0) ==
        Uids{"deep.1.1.1", "deep.1.2.1"});
}

TEST_CASE("B6.7 experts outside the grid are not chosen") {
  Table table;
  table.declare("ffn.0.9");
  table.declare("ffn.9.0");
  table.declare("ffn.1.1.1");
  table.declare("ffn.2");
  table.declare("ffn.3.1");
  const BeamQuery query{.grid = {"ffn.", {4, 4}}, .scores = std::vector<float>(8, 1.0F), .beam_size = 8};
  CHECK(uids(search(table, query), 0) == Uids{"ffn.3.1"});
}

TEST_CASE("B6.16, H-8: an empty grid gives an empty list in any number of dimensions") {
  for (std::size_t dimensions = 1; dimensions <= 5; ++dimensions) {
    Table table;
    const BeamQuery query{.grid = {"ffn.", std::vector<int>(dimensions, 3)},
                          .scores = std::vector<float>(2 * 3 * dimensions, 1.0F),
                          .rows = 2,
                          .beam_size = 4};
    const ExpertChoice choice = search(table, query);
    CHECK(choice.rows() == 2);
    CHECK(choice.experts.empty());
    CHECK(choice.row(0).empty());
    CHECK(choice.row(1).empty());
  }
  Table table;
  CHECK(search(table, {.grid = {"ffn.", {3}}, .rows = 0}).rows() == 0);
}

TEST_CASE("B6.8 an example at a shorter prefix is a candidate, B6.18 unless the search found it gone") {
  Table table;
  table.declare("e.0.0.0");
  table.declare("e.0.1.1");
  // beam 1 follows e.0.1.; the example of e.0. at 0 is still the better expert
  const BeamQuery query{.grid = {"e.", {1, 2, 2}}, .scores = {0, 1, 2, 9, 0}, .beam_size = 1};
  CHECK(uids(search(table, query), 0) == Uids{"e.0.0.0"});

  Table stale = table;
  stale.records.erase("e.0.0.");  // its own dictionary has expired, the shorter one not yet
  BeamQuery wide = query;
  wide.beam_size = 4;
  CHECK(uids(search(stale, wide), 0) == Uids{"e.0.1.1"});
  Table emptied = table;
  emptied.records["e.0.0."] = {{1, {"e.0.0.1", peer(2)}}};
  CHECK(uids(search(emptied, wide), 0) == Uids{"e.0.1.1", "e.0.0.1"});
}

TEST_CASE("skipped experts leave their place to the next best") {
  Table table;
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) {
      table.declare("ffn." + std::to_string(i) + "." + std::to_string(j), peer(static_cast<std::uint8_t>(i)));
    }
  }
  BeamQuery query{.grid = {"ffn.", {4, 4}}, .scores = {4, 3, 2, 1, 0, 0, 0, 9}, .beam_size = 2};
  CHECK(uids(search(table, query), 0) == Uids{"ffn.0.3", "ffn.1.3"});
  query.grid.skip = [](const moe::ExpertInfo& expert) { return expert.peer_id == peer(0); };
  CHECK(uids(search(table, query), 0) == Uids{"ffn.1.3", "ffn.2.3"});
}

TEST_CASE("scores that are not numbers come last and break nothing") {
  Table table;
  for (int i = 0; i < 64; ++i) table.declare("ffn." + std::to_string(i));
  std::vector<float> scores(64, std::nanf(""));
  scores[7] = 1;
  scores[8] = -std::numeric_limits<float>::infinity();
  const auto found = uids(search(table, {.grid = {"ffn.", {64}}, .scores = scores, .beam_size = 3}), 0);
  CHECK(found == Uids{"ffn.7", "ffn.0", "ffn.1"});
}

TEST_CASE("infinite scores are numbers so large that no sum of them is NaN") {
  Table table;
  for (const char* uid : {"ffn.0.0", "ffn.0.1", "ffn.1.0", "ffn.1.1"}) table.declare(uid);
  constexpr float infinity = std::numeric_limits<float>::infinity();
  BeamQuery query{.grid = {"ffn.", {2, 2}}, .scores = {infinity, 0, -infinity, 1}, .beam_size = 4};
  Uids expected{"ffn.0.1", "ffn.1.1", "ffn.0.0", "ffn.1.0"};
  SUBCASE("of two signs") {}
  SUBCASE("of one") {
    query.scores = {infinity, 0, infinity, 0};
    expected = {"ffn.0.0", "ffn.0.1", "ffn.1.0", "ffn.1.1"};
  }
  SUBCASE("of two signs where delays decide between equals") {
    query.grid.delay = [](const moe::ExpertInfo&) -> Duration { return 1ms; };
  }
  const ExpertChoice choice = search(table, query);
  CHECK(uids(choice, 0) == expected);
  for (const float score : choice.scores) CHECK(score < infinity);
}

TEST_CASE("known prefixes are not asked for, as long as they are fresh") {
  Table table;
  table.declare("ffn.0.0");
  table.declare("ffn.1.0");
  moe::PrefixCache cache;
  cache.add({{"ffn.0.", {std::make_shared<const moe::Successors>("ffn.0.", table.records["ffn.0."]), SteadyTime{10s}}},
             {"ffn.1.", {nullptr, SteadyTime{10s}}}},
            SteadyTime{0s});
  const BeamQuery query{.grid = {"ffn.", {2, 1}}, .scores = {0, 1, 0}, .beam_size = 2};
  BeamSearch fresh(query, cache.snapshot(), SteadyTime{9s});
  CHECK(fresh.advance().empty());
  CHECK(uids(std::move(fresh).take(), 0) == Uids{"ffn.0.0"});
  BeamSearch stale(query, cache.snapshot(), SteadyTime{10s});
  CHECK(stale.advance() == Uids{"ffn.1.", "ffn.0."});
  CHECK(stale.advance() == Uids{"ffn.1.", "ffn.0."});  // until they are learned
}

TEST_CASE("property: a beam that covers the grid finds what exhaustive search finds") {
  Random random(1);
  for (int round = 0; round < 400; ++round) {
    const std::size_t dimensions = 1 + random.below(4);
    std::vector<int> grid;
    for (std::size_t d = 0; d < dimensions; ++d) grid.push_back(1 + static_cast<int>(random.below(5)));
    const std::string prefix = random.below(4) == 0 ? "ffn.2." : "ffn.";
    Table table;
    std::set<std::string> alive;
    for (std::uint64_t n = random.below(40); n > 0; --n) {
      std::string uid = prefix.substr(0, prefix.size() - 1);
      for (const int size : grid) uid += "." + std::to_string(random.below(static_cast<std::uint64_t>(size)));
      table.declare(uid, peer(static_cast<std::uint8_t>(n)));
      alive.insert(uid);
    }
    BeamQuery query{.grid = {prefix, grid}, .rows = 1 + random.below(4), .beam_size = 625};
    std::size_t width = 0;
    for (const int size : grid) width += static_cast<std::size_t>(size);
    const bool ties = random.below(2) == 0;
    for (std::size_t i = 0; i < query.rows * width; ++i) {
      query.scores.push_back(ties ? static_cast<float>(random.below(3)) : static_cast<float>(random.unit()));
    }
    const ExpertChoice choice = search(table, query);
    for (std::size_t row = 0; row < query.rows; ++row) {
      std::vector<std::pair<float, std::string>> brute;
      for (const auto& uid : alive) {
        float score = 0;
        std::size_t column = row * width;
        const auto coordinates = *moe::coordinates_of(uid);
        for (std::size_t d = 0; d < dimensions; ++d) {
          const int coordinate = coordinates[coordinates.size() - dimensions + d];
          score += query.scores[column + static_cast<std::size_t>(coordinate)];
          column += static_cast<std::size_t>(grid[d]);
        }
        brute.emplace_back(-score, uid);
      }
      std::sort(brute.begin(), brute.end());
      Uids expected;
      for (const auto& entry : brute) expected.push_back(entry.second);
      CHECK(uids(choice, row) == expected);
    }
  }
}

TEST_CASE("B6.13, B6.14, H-7: a batch in which prefixes lost their experts finds those that are left") {
  Table table;
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) table.declare("e." + std::to_string(i) + "." + std::to_string(j) + ".0");
  }
  table.records.erase("e.2.2.");  // the short prefixes still speak of them
  table.records["e.2.1."].clear();
  table.records.erase("e.1.");
  BeamQuery query{.grid = {"e.", {3, 3, 1}}, .rows = 2, .beam_size = 9};
  query.scores = {0, 1, 2, 0, 1, 2, 0, /**/ 2, 1, 0, 2, 1, 0, 0};
  const ExpertChoice choice = search(table, query);
  CHECK(uids(choice, 0) == Uids{"e.0.2.0", "e.2.0.0", "e.0.1.0", "e.0.0.0"});
  CHECK(uids(choice, 1) == Uids{"e.0.0.0", "e.0.1.0", "e.0.2.0", "e.2.0.0"});
}

TEST_CASE("H-25: near ties go to the server that is faster") {
  Table table;
  for (int i = 0; i < 4; ++i) table.declare("e.0." + std::to_string(i), peer(static_cast<std::uint8_t>(i)));
  BeamQuery query{.grid = {"e.", {1, 4}}, .scores = {0, 1.0F, 0.95F, 0.9F, 0.1F}, .beam_size = 2, .near_tie = 0.2F};
  CHECK(uids(search(table, query), 0) == Uids{"e.0.0", "e.0.1"});
  std::set<std::string> asked;
  query.grid.delay = [&](const moe::ExpertInfo& expert) -> Duration {
    asked.insert(expert.uid);
    return expert.peer_id == peer(2) ? 1ms : 50ms;
  };
  CHECK(uids(search(table, query), 0) == Uids{"e.0.2", "e.0.0"});
  CHECK(asked == std::set<std::string>{"e.0.0", "e.0.1", "e.0.2"});  // the last one is out of the question
}

TEST_CASE("property: near ties are decided as among all experts") {
  Random random(11);
  for (int round = 0; round < 50; ++round) {
    Table table;
    std::vector<moe::ExpertInfo> experts;
    for (int i = 0; i < 32; ++i) {
      experts.push_back({"e." + std::to_string(i / 8) + "." + std::to_string(i % 8), peer(1)});
      table.declare(experts.back().uid);
    }
    BeamQuery query{.grid = {"e.", {4, 8}}, .beam_size = 4 + random.below(6), .near_tie = 0.3F};
    for (int i = 0; i < 12; ++i) query.scores.push_back(static_cast<float>(random.below(16)) / 10);
    std::map<std::string, Duration> delays;
    for (const auto& expert : experts) delays[expert.uid] = random.below(5) * 1ms;
    query.grid.delay = [&](const moe::ExpertInfo& expert) { return delays.at(expert.uid); };
    std::vector<moe::RatedExpert> rated;
    for (std::uint32_t i = 0; i < experts.size(); ++i) {
      rated.push_back({query.scores[i / 8] + query.scores[4 + i % 8], delays[experts[i].uid], experts[i].uid, i});
    }
    Uids expected;
    for (const auto& chosen : moe::fastest_of_best(rated, query.beam_size, query.near_tie)) {
      expected.emplace_back(chosen.uid);
    }
    CHECK(uids(search(table, query), 0) == expected);
  }
}

TEST_CASE("what was at hand when time was over makes the rows partial that need it") {
  Table table;
  table.declare("e.0.0");
  table.declare("e.1.0");
  BeamSearch beam({.grid = {"e.", {2, 1}}, .scores = {1, 0, 0}, .beam_size = 2});
  REQUIRE(beam.advance() == Uids{"e.0.", "e.1."});
  beam.learn_guesses({std::make_shared<const moe::Successors>("e.0.", table.records["e.0."]), nullptr});
  CHECK(beam.advance().empty());
  const ExpertChoice choice = std::move(beam).take();
  CHECK(choice.is_partial(0));
  CHECK(uids(choice, 0) == Uids{"e.0.0"});
}

TEST_CASE("the likely prefixes are the next-best of every row, those that are known left out") {
  BeamSearch beam({.grid = {"e.", {4, 1}}, .scores = {4, 3, 2, 1, 0, /**/ 1, 2, 3, 4, 0}, .rows = 2, .beam_size = 1});
  REQUIRE(beam.advance() == Uids{"e.0.", "e.3."});
  beam.learn({nullptr, nullptr});
  CHECK(beam.likely(1) == Uids{"e.1."});
  CHECK(beam.likely(9) == Uids{"e.1.", "e.2."});
}

TEST_CASE("property: on a full grid of two dimensions any beam finds the best, where scores are equal, too") {
  Random random(2);
  for (const auto& [rows, columns] : {std::pair(12, 9), std::pair(40, 70)}) {
    Table table;
    for (int i = 0; i < rows; ++i) {
      for (int j = 0; j < columns; ++j) table.declare("ffn." + std::to_string(i) + "." + std::to_string(j));
    }
    for (std::size_t k = 1; k < 20; ++k) {
      BeamQuery query{.grid = {"ffn.", {rows, columns}}, .beam_size = k};
      for (int i = 0; i < rows + columns; ++i) query.scores.push_back(static_cast<float>(random.below(8 * k)));
      std::vector<float> all;
      for (int i = 0; i < rows; ++i) {
        for (int j = 0; j < columns; ++j) {
          all.push_back(query.scores[static_cast<std::size_t>(i)] + query.scores[static_cast<std::size_t>(rows + j)]);
        }
      }
      std::sort(all.rbegin(), all.rend());
      all.resize(k);
      CHECK(search(table, query).scores == all);
    }
  }
}
