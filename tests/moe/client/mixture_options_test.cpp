#include "skep/moe/client/mixture_options.hpp"

#include "support/experts.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;

TEST_CASE("B4 the names and defaults of Hivemind, but for times that are not set") {
  const dht::DHT dht({.client_mode = true});
  const moe::MixtureOptions options{
      .in_features = 64, .grid_size = {4, 4}, .dht = dht, .uid_prefix = "ffn.", .k_best = 4};
  CHECK(options.k_min == 1);
  CHECK(options.forward_timeout == 60s);
  CHECK(options.timeout_after_k_min == unlimited);
  CHECK(options.backward_k_min == 1);
  CHECK(options.backward_timeout == 60s);
  CHECK_FALSE(options.detect_anomalies);
  CHECK_FALSE(options.allow_zero_outputs);
  CHECK_FALSE(options.observer);
  CHECK(options.time_budget == 60s);
  CHECK(options.prefetch == 0);
  CHECK_FALSE(options.near_tie);
  CHECK(options.hedge_after == 100ms);
}

TEST_CASE("B7 a switch mixture hands on what it has in common with the other") {
  const dht::DHT dht({.client_mode = true});
  moe::SwitchMixtureOptions options{.in_features = 64, .grid_size = {4, 4}, .dht = dht, .uid_prefix = "ffn."};
  CHECK(options.k_best == 1);
  CHECK(options.k_min == 0);
  CHECK(options.backward_k_min == 0);
  CHECK(options.allow_zero_outputs);
  CHECK(options.time_budget == 60s);
  CHECK(options.hedge_after == 100ms);
  options.time_budget = 1s;
  options.prefetch = 3;
  options.near_tie = 0.5F;
  options.hedge_after = unlimited;
  const moe::MixtureOptions common = options.mixture();
  CHECK(common.time_budget == 1s);
  CHECK(common.prefetch == 3);
  CHECK(common.near_tie == 0.5F);
  CHECK(common.hedge_after == unlimited);
}

TEST_CASE("a report counts who answered") {
  moe::MixtureReport report;
  report.experts.push_back({.expert = {"e.0", test::peer(1)}});
  report.experts.push_back({.expert = {"e.1", test::peer(1)}, .code = make_error_code(errc::timed_out)});
  CHECK(report.alive() == 1);
}

TEST_CASE("a report says how evenly the rows are spread over the experts") {
  moe::MixtureReport report;
  CHECK(report.load_balance() == 0);
  CHECK(report.entropy() == 0);
  for (const std::size_t rows : {8U, 8U, 8U, 8U})
    report.experts.push_back({.expert = {"e.0", test::peer(1)}, .rows = rows});
  CHECK(report.load_balance() == 1);
  CHECK(report.entropy() == doctest::Approx(2));
  report.experts[0].rows = 16;
  report.experts[1].rows = 0;
  CHECK(report.load_balance() == 0.5);
  CHECK(report.entropy() == doctest::Approx(1.5));
}
