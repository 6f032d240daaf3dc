#include "skep/moe/beam_search.hpp"

#include <asio/steady_timer.hpp>
#include <chrono>

#include "skep/async/event.hpp"
#include "skep/async/scope.hpp"
#include "support/coroutine.hpp"
#include "support/experts.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;
using moe::ExpertInfo;
using moe::MoEBeamSearcher;
using moe::UidEndpoint;
using test::peer;
using test::Table;

namespace {

template <class Call>
void check_error(Call call, std::error_code code, const std::string& words) {
  try {
    call();
    FAIL("nothing was thrown");
  } catch (const Error& error) {
    CHECK(error.code() == code);
    CHECK_MESSAGE(std::string(error.what()).find(words) != std::string::npos, error.what());
  }
}

std::vector<std::string> uids(const std::vector<ExpertInfo>& experts) {
  std::vector<std::string> names;
  for (const auto& expert : experts) names.push_back(expert.uid);
  return names;
}
using Uids = std::vector<std::string>;

Table full_grid(const std::string& prefix, int rows, int columns) {
  Table table;
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) table.declare(prefix + std::to_string(i) + "." + std::to_string(j));
  }
  return table;
}

/// A store with a clock of its own and answers that never come, on request.
struct SlowTable : Table {
  explicit SlowTable(Executor on) : io(on), hold(on) { hold.set(); }
  SteadyTime steady_now() const { return now; }
  awaitable<std::vector<std::optional<Records>>> get_many(std::vector<std::string> prefixes) {
    ++waiting;
    try {
      co_await hold.wait();
    } catch (...) {
      ++cancelled;
      throw;
    }
    co_return co_await Table::get_many(std::move(prefixes));
  }

  Executor io;
  Event hold;
  SteadyTime now{1000s};
  int waiting = 0;
  int cancelled = 0;
};

}  // namespace

static_assert(moe::KeyValueStore<Table> && moe::KeyValueStore<Table&>);
static_assert(
    std::same_as<decltype(MoEBeamSearcher(std::declval<Table&>(), "ffn.", {32, 32})), MoEBeamSearcher<Table&>>);
static_assert(std::same_as<decltype(MoEBeamSearcher(Table{}, "ffn.", {32, 32})), MoEBeamSearcher<Table>>);

CO_TEST_CASE("B6.6 one search over any awaitable store") {
  Table table = full_grid("ffn.", 32, 32);
  std::vector<std::vector<float>> scores(2, std::vector<float>(32));
  for (std::size_t i = 0; i < 32; ++i) scores[0][i] = scores[1][i] = static_cast<float>(i);
  auto best = co_await MoEBeamSearcher(table, "ffn.", {32, 32}).find_best_experts(scores, 3);
  CHECK(uids(best) == Uids{"ffn.31.31", "ffn.30.31", "ffn.31.30"});
  CHECK(best[0].peer_id == peer(1));
  CHECK(table.asked.size() == 3);
}

CO_TEST_CASE("B6.9 a batch is one search, its answer is a list per sample") {
  Table table = full_grid("ffn.", 4, 4);
  const MoEBeamSearcher searcher(table, "ffn.", {4, 4});
  const std::vector<std::vector<std::vector<float>>> scores{{{1, 0, 0, 0}, {0, 0, 0, 1}}, {{0, 2, 0, 0}, {0, 0, 2, 0}}};
  const auto best = co_await searcher.batch_find_best_experts(scores, 1);
  REQUIRE(best.size() == 2);
  CHECK(uids(best[0]) == Uids{"ffn.0.1"});
  CHECK(uids(best[1]) == Uids{"ffn.3.2"});
  for (const auto& [prefix, times] : table.asked) CHECK(times == 1);
  const std::vector<std::vector<std::vector<float>>> nothing(2);
  const auto none = co_await searcher.batch_find_best_experts(nothing, 1);
  CHECK(none.empty());
}

CO_TEST_CASE("B6.3 the initial beam: the best prefixes that have experts, in score order") {
  Table table;
  table.declare("ffn.1.0");
  table.declare("ffn.3.1");
  table.declare("ffn.3.5");  // outside the grid
  table.declare("ffn.4.0");
  table.records["ffn.5."][0] = {"ffn.9.9", peer(1)};  // nothing valid
  const MoEBeamSearcher searcher(table, "ffn.", {6, 2});
  const auto beam = co_await searcher.get_initial_beam({0, 1, 2, 3, 4, 5}, 2);
  REQUIRE(beam.size() == 2);
  CHECK(beam[0].score == 4);
  CHECK(beam[0].prefix == "ffn.4.");
  CHECK(beam[0].successors == std::map<int, UidEndpoint>{{0, {"ffn.4.0", peer(1)}}});
  CHECK(beam[1].prefix == "ffn.3.");
  CHECK(beam[1].successors == std::map<int, UidEndpoint>{{1, {"ffn.3.1", peer(1)}}});
  const auto all = co_await searcher.get_initial_beam({0, 1, 2, 3, 4, 5}, 6);
  CHECK(all.size() == 3);
}

CO_TEST_CASE("B6.5 active successors: a map for every prefix") {
  Table table;
  table.declare("e.1.2.3");
  table.declare("e.1.2.5");
  table.declare("e.2.0");
  const MoEBeamSearcher searcher(table, "e.", {4, 4});
  const std::vector<std::string> prefixes{"e.1.2.", "e.2.", "e.3."};
  const auto active = co_await searcher.get_active_successors(prefixes);
  REQUIRE(active.size() == 3);
  CHECK(active.at("e.1.2.").size() == 2);
  CHECK(active.at("e.2.").at(0).uid == "e.2.0");
  CHECK(active.at("e.3.").empty());
  const auto bounded = co_await searcher.get_active_successors(prefixes, 4);
  CHECK(bounded.at("e.1.2.").size() == 1);
  check_error([&] { (void)searcher.get_active_successors({"e.1"}); }, errc::invalid_argument,
              "\"e.1\" is not an expert prefix");
}

TEST_CASE("B6.1 a missing dot is added, an invalid prefix or grid is refused") {
  CHECK(MoEBeamSearcher(Table{}, "ffn", {4}).uid_prefix() == "ffn.");
  CHECK(MoEBeamSearcher(Table{}, "ffn.", {4}).uid_prefix() == "ffn.");
  CHECK(MoEBeamSearcher(Table{}, "ffn.3", {4}).uid_prefix() == "ffn.3.");
  check_error([] { MoEBeamSearcher(Table{}, "ffn..", {4}); }, errc::invalid_argument,
              "\"ffn..\" is not an expert prefix");
  check_error([] { MoEBeamSearcher(Table{}, "", {4}); }, errc::invalid_argument, "is not an expert prefix");
  check_error([] { MoEBeamSearcher(Table{}, "ffn.x", {4}); }, errc::invalid_argument, "is not an expert prefix");
  check_error([] { MoEBeamSearcher(Table{}, "ffn.", {}); }, errc::invalid_argument, "at least one dimension");
  check_error([] { MoEBeamSearcher(Table{}, "ffn.", {4, 0}); }, errc::invalid_argument, "size 1 or more");
}

TEST_CASE("scores that do not fit the grid are refused with a sentence") {
  const MoEBeamSearcher searcher(Table{}, "ffn.", {4, 2});
  check_error([&] { (void)searcher.find_best_experts({{1, 2, 3, 4}}, 1); }, errc::invalid_argument,
              "scores for 1 dimensions");
  check_error([&] { (void)searcher.find_best_experts({{1, 2, 3, 4}, {1}}, 1); }, errc::invalid_argument,
              "1 scores for dimension 1 of the grid under \"ffn.\", which has 2 coordinates");
  check_error([&] { (void)searcher.find_best_experts({{1, 2, 3, 4}, {1, 2}}, 0); }, errc::invalid_argument,
              "beam_size");
  check_error([&] { (void)searcher.batch_find_best_experts({{{1, 2, 3, 4}}, {}}, 1); }, errc::invalid_argument,
              "dimension 1 has scores for 0 samples");
  check_error([&] { (void)searcher.get_initial_beam({1, 2, 3}, 1); }, errc::invalid_argument,
              "3 scores for dimension 0");
}

TEST_CASE("caching for a store without a clock is refused") {
  check_error([] { MoEBeamSearcher(Table{}, "ffn.", {4}, {.cache_time = 5s}); }, errc::invalid_argument, "no clock");
}

CO_TEST_CASE("a cached search needs no lookup until its time is over, a new expert is seen then") {
  SlowTable table(co_await asio::this_coro::executor);
  table.declare("ffn.1.0");
  const MoEBeamSearcher searcher(table, "ffn.", {2, 2}, {.cache_time = 5s, .missing_cache_time = 1s});
  const std::vector<std::vector<float>> scores{{1, 0}, {1, 0}};
  const auto cold = co_await searcher.find_best_experts(scores, 2);
  CHECK(uids(cold) == Uids{"ffn.1.0"});
  CHECK(table.calls == 1);
  table.now += 999ms;
  auto cached = searcher.begin({1, 0, 1, 0}, 1, 2);
  CHECK(cached.advance().empty());  // on any thread, without the store
  CHECK(std::move(cached).take().experts.size() == 1);
  CHECK(table.calls == 1);

  table.now += 1ms;
  auto begun = searcher.begin({1, 0, 1, 0}, 1, 2);  // what it misses is looked up by finish
  CHECK(begun.advance() == Uids{"ffn.0."});
  const auto finished = co_await searcher.finish(std::move(begun));
  CHECK(finished.experts.size() == 1);
  CHECK(table.calls == 2);

  table.declare("ffn.0.0");
  table.now += 1s;
  const auto fresh = co_await searcher.find_best_experts(scores, 2);
  CHECK(uids(fresh) == Uids{"ffn.0.0", "ffn.1.0"});
  CHECK(table.asked == std::map<std::string, int>{{"ffn.0.", 3}, {"ffn.1.", 1}});
}

CO_TEST_CASE("without a cache every search sees the store as it is") {
  Table table;
  const MoEBeamSearcher searcher(table, "ffn.", {2});
  const std::vector<std::vector<float>> scores{{1, 0}};
  const auto before = co_await searcher.find_best_experts(scores, 1);
  CHECK(before.empty());
  table.declare("ffn.1");
  const auto after = co_await searcher.find_best_experts(scores, 1);
  CHECK(uids(after) == Uids{"ffn.1"});
}

CO_TEST_CASE("a search that takes too long throws, its lookup is cancelled") {
  SlowTable table(co_await asio::this_coro::executor);
  table.hold.reset();
  const MoEBeamSearcher searcher(table, "ffn.", {2, 2, 2});
  const std::vector<std::vector<float>> scores(3, std::vector<float>(2));
  std::error_code code;
  try {
    co_await searcher.find_best_experts(scores, 1, {.timeout = 10ms});
  } catch (const Error& error) {
    code = error.code();
    CHECK(std::string(error.what()) == "skep: the search for experts did not finish within 10 ms");
  }
  CHECK(code == make_error_code(errc::timed_out));
  CHECK(table.cancelled == 1);
}

CO_TEST_CASE("B6.17 cancelling a search in the initial beam cancels its lookup and nothing else happens") {
  const auto executor = co_await asio::this_coro::executor;
  SlowTable table(executor);
  table.hold.reset();
  Scope scope(executor);
  bool answered = false;
  std::exception_ptr thrown;
  scope.spawn([&]() -> awaitable<void> {
    try {
      const MoEBeamSearcher searcher(table, "ffn.", {2, 2, 2});
      std::vector<std::vector<float>> scores(3, std::vector<float>(2));
      co_await searcher.find_best_experts(std::move(scores), 1);
      answered = true;
    } catch (...) {
      thrown = std::current_exception();
    }
  });
  while (table.waiting == 0) co_await asio::post(executor, use_awaitable);
  scope.cancel();
  co_await scope.join();
  CHECK_FALSE(answered);
  CHECK(is_cancellation(thrown));
  CHECK(table.cancelled == 1);
}

CO_TEST_CASE("a search outlives its searcher") {
  Table table = full_grid("ffn.", 2, 2);
  const std::vector<std::vector<float>> scores(2, std::vector<float>(2));
  auto search = MoEBeamSearcher(std::move(table), "ffn.", {2, 2}).find_best_experts(scores, 4);
  const auto best = co_await std::move(search);
  CHECK(best.size() == 4);
}
