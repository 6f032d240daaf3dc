#include "skep/moe/client/mixture_exchange.hpp"

#include "support/experts.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep::moe;
using skep::test::peer;
using Rows = std::vector<std::uint32_t>;

namespace {

CallOutcome failed(const char* sentence, bool overtaken = false) {
  return {.code = make_error_code(skep::errc::timed_out), .sentence = sentence, .overtaken = overtaken};
}

/// e.0 of server 1 for rows 0 and 1, e.1 of server 1 for row 1, e.2 of server 2 in their place.
MixtureExchange exchange() {
  MixtureExchange exchange;
  exchange.add({"e.0", peer(1)}, Rows{0, 1}, {});
  exchange.add({"e.1", peer(1)}, Rows{1}, {});
  exchange.first = 2;
  exchange.add({"e.2", peer(2)}, Rows{0, 1}, {});
  return exchange;
}

}  // namespace

TEST_CASE("what was sent, to whom, and who answered") {
  MixtureExchange two = exchange();
  REQUIRE(two.calls.size() == 3);
  CHECK(two.calls[1].rows == Rows{1});
  CHECK(two.has_asked({"e.1", peer(1)}));
  CHECK_FALSE(two.has_asked({"e.1", peer(2)}));
  two.sent[0].outcome = failed("late", true);
  CHECK(two.answered() == std::vector<bool>{false, true, true});
  CHECK_FALSE(two.silent(peer(1)));
  two.sent[1].outcome = failed("late", true);
  CHECK(two.silent(peer(1)));
  two.sent[2].outcome = failed("late", true);
  CHECK_FALSE(two.silent(peer(2)));  // one late call is bad luck

  MixtureReport report;
  two.report_to(report);
  REQUIRE(report.experts.size() == 3);
  CHECK(report.alive() == 0);
  CHECK(report.experts[0].rows == 2);
  CHECK_FALSE(report.experts[1].stood_in);
  CHECK(report.experts[2].stood_in);
}

TEST_CASE("too few answers: the row is named, and what each of its experts did") {
  MixtureExchange two = exchange();
  two.sent[0].outcome = failed("expert e.0 did not answer");
  two.sent[2].outcome = failed("expert e.2 is unwell");
  const MixtureReport report{.rows = 4, .rows_without = 2};
  const skep::Error error = two.too_few(report, 0, 1);
  CHECK(error.code() == make_error_code(skep::errc::timed_out));
  CHECK(
      std::string(error.what()) ==
      "skep: too few experts answered in the forward pass: 2 of 4 samples have fewer than 1 answers; sample 0: expert "
      "e.0 did not answer; expert e.2 is unwell (allow_zero_outputs goes on without them)");
  CHECK(two.too_few(report, 3, 1).code() == make_error_code(skep::errc::not_found));
}
