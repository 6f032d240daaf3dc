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

/// The same with a background, and a memory that knows some prefixes.
struct PatientTable : SlowTable {
  explicit PatientTable(Executor on) : SlowTable(on), background(on) {}
  void spawn(awaitable<void> work) { background.spawn(std::move(work)); }
  moe::PrefixRecords get_known(const std::vector<std::string>& prefixes) {
    moe::PrefixRecords found;
    for (const auto& prefix : prefixes) {
      const auto entry = known.find(prefix);
      found.push_back(entry == known.end() ? std::nullopt : std::optional(entry->second));
    }
    return found;
  }

  Scope background;
  std::map<std::string, Records> known;
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

CO_TEST_CASE("B6.9, H-25: a batch is one search, its answer is a list per sample") {
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

CO_TEST_CASE("B6.3 the initial beam below a prefix with coordinates") {
  Table table;
  for (const char* uid : {"ffn.0.1.0", "ffn.0.3.1", "ffn.0.4.0", "ffn.0.9.0", "ffn.5.5.0"}) table.declare(uid);
  const MoEBeamSearcher searcher(table, "ffn.0.", {6, 2});
  const auto beam = co_await searcher.get_initial_beam({0, 1, 2, 3, 4, 5}, 2);
  REQUIRE(beam.size() == 2);
  CHECK(beam[0].score == 4);
  CHECK(beam[0].prefix == "ffn.0.4.");
  CHECK(beam[0].successors == std::map<int, UidEndpoint>{{0, {"ffn.0.4.0", peer(1)}}});
  CHECK(beam[1].score == 3);
  CHECK(beam[1].prefix == "ffn.0.3.");
  const MoEBeamSearcher last(table, "ffn.0.", {6});
  check_error([&] { (void)last.get_initial_beam({0, 1, 2, 3, 4, 5}, 2); }, errc::invalid_argument,
              "the one dimension of the grid under \"ffn.0.\" holds experts");
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

TEST_CASE(
    "B6.11 what a store cannot do is refused with a sentence: a store that only reads takes no negative entries") {
  check_error([] { MoEBeamSearcher(Table{}, "ffn.", {4}, {.cache_time = 5s}); }, errc::invalid_argument, "no clock");
  check_error([] { MoEBeamSearcher(Table{}, "ffn.", {4}, {.negative_caching = true}); }, errc::invalid_argument,
              "this key-value store only reads (it has no mark_missing), so a searcher cannot leave negative entries");
  check_error([] { MoEBeamSearcher(Table{}, "ffn.", {4}, {.prefetch = 1}); }, errc::invalid_argument, "no background");
  check_error([] { MoEBeamSearcher(Table{}, "ffn.", {4}, {.near_tie = 0}); }, errc::invalid_argument,
              "cannot prefer the faster");
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

CO_TEST_CASE(
    "B6.10 when the time budget is over a search answers from what is at hand, and what it asked for is cached") {
  const auto executor = co_await asio::this_coro::executor;
  PatientTable table(executor);
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) table.declare("e." + std::to_string(i) + "." + std::to_string(j));
  }
  table.known["e.0."] = table.records["e.0."];
  table.hold.reset();
  const MoEBeamSearcher searcher(table, "e.", {2, 2}, {.cache_time = 60s});
  const std::vector<std::vector<float>> scores{{1, 2}, {1, 2}};
  const auto partial = co_await searcher.find_best_experts(scores, 2, {.time_budget = 10ms});
  CHECK(partial.partial);
  CHECK(uids(partial) == Uids{"e.0.1", "e.0.0"});
  CHECK(table.waiting == 1);
  CHECK(table.cancelled == 0);
  const auto nothing = co_await searcher.find_best_experts(scores, 2, {.time_budget = 0s});
  CHECK(nothing.partial);
  CHECK(table.waiting == 1);  // no time to ask anybody

  table.hold.set();
  co_await table.background.join();
  const auto whole = co_await searcher.find_best_experts(scores, 2, {.time_budget = 0s});
  CHECK_FALSE(whole.partial);
  CHECK(uids(whole) == Uids{"e.1.1", "e.0.1"});
  CHECK(table.calls == 1);

  const auto stored = co_await MoEBeamSearcher(table, "e.", {2, 2}).find_best_experts(scores, 2, {.time_budget = 60s});
  CHECK_FALSE(stored.partial);
  CHECK(uids(stored) == Uids{"e.1.1", "e.0.1"});
}

CO_TEST_CASE("without a background the time budget cancels the lookup and gives what is cached") {
  SlowTable table(co_await asio::this_coro::executor);
  table.declare("e.0.0");
  const MoEBeamSearcher searcher(table, "e.", {2, 1}, {.cache_time = 60s});
  const std::vector<std::vector<float>> scores{{2, 1}, {0}};
  co_await searcher.find_best_experts(scores, 1);
  table.hold.reset();
  const auto best = co_await searcher.find_best_experts(scores, 2, {.time_budget = 5ms});
  CHECK(best.partial);
  CHECK(uids(best) == Uids{"e.0.0"});
  CHECK(table.cancelled == 1);
  table.now += 61s;  // what was read is no longer believed, but better than nothing
  const auto old = co_await searcher.find_best_experts(scores, 2, {.time_budget = 0s});
  CHECK(old.partial);
  CHECK(uids(old) == Uids{"e.0.0"});
}

CO_TEST_CASE("only the rows that lack a prefix are partial") {
  SlowTable table(co_await asio::this_coro::executor);
  table.declare("e.0.0");
  const MoEBeamSearcher searcher(table, "e.", {2, 1}, {.cache_time = 60s});
  const std::vector<std::vector<float>> first{{2, 1}, {0}};
  co_await searcher.find_best_experts(first, 1);
  const std::vector<std::vector<std::vector<float>>> batch{{{2, 1}, {1, 2}}, {{0}, {0}}};
  const auto best = co_await searcher.batch_find_best_experts(batch, 1, {.time_budget = 0s});
  REQUIRE(best.size() == 2);
  CHECK_FALSE(best[0].partial);
  CHECK(best[1].partial);
}

CO_TEST_CASE("prefetch reads the next-best prefixes in the background, once, and searches need not wait for them") {
  PatientTable table(co_await asio::this_coro::executor);
  for (int i = 0; i < 8; ++i) table.declare("e." + std::to_string(i) + ".0");
  const MoEBeamSearcher searcher(table, "e.", {8, 1}, {.cache_time = 60s, .prefetch = 3});
  const std::vector<std::vector<float>> scores{{0, 1, 2, 3, 4, 5, 6, 7}, {0}};
  const auto best = co_await searcher.find_best_experts(scores, 2);
  CHECK(uids(best) == Uids{"e.7.0", "e.6.0"});
  co_await table.background.join();
  CHECK(table.asked == std::map<std::string, int>{{"e.7.", 1}, {"e.6.", 1}, {"e.5.", 1}, {"e.4.", 1}, {"e.3.", 1}});
  CHECK(table.calls == 2);
  const std::vector<std::vector<float>> others{{0, 0, 0, 9, 9, 0, 0, 0}, {0}};
  auto search = searcher.begin({0, 0, 0, 9, 9, 0, 0, 0, 0}, 1, 2);
  CHECK(search.advance().empty());
}

CO_TEST_CASE("B6.17, H-8: cancelling a search in the initial beam cancels its lookup and nothing else happens") {
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
