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
}

TEST_CASE("a report counts who answered") {
  moe::MixtureReport report;
  report.experts.push_back({.expert = {"e.0", test::peer(1)}});
  report.experts.push_back({.expert = {"e.1", test::peer(1)}, .code = make_error_code(errc::timed_out)});
  CHECK(report.alive() == 1);
}
