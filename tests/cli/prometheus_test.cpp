#include "skep/cli/prometheus.hpp"

#include <doctest/doctest.h>

#include <string>

using skep::cli::PrometheusText;

TEST_CASE("metrics with help, type, labels and values") {
  PrometheusText text;
  text.single("skep_experts", "gauge", "experts that this server hosts", 16);
  text.begin("skep_wait_seconds", "summary", "time in the queue");
  text.sample({{"expert", "ffn.0"}, {"pass", "forward"}}, 0.25, "_sum");
  text.sample({{"expert", "ffn.0"}, {"pass", "forward"}}, 3, "_count");
  CHECK(text.take() ==
        "# HELP skep_experts experts that this server hosts\n"
        "# TYPE skep_experts gauge\n"
        "skep_experts 16\n"
        "# HELP skep_wait_seconds time in the queue\n"
        "# TYPE skep_wait_seconds summary\n"
        "skep_wait_seconds_sum{expert=\"ffn.0\",pass=\"forward\"} 0.25\n"
        "skep_wait_seconds_count{expert=\"ffn.0\",pass=\"forward\"} 3\n");
  CHECK(text.take().empty());
}

TEST_CASE("what would break the format is escaped") {
  PrometheusText text;
  text.begin("m", "gauge", "a \\ and\nmore \"words\"");
  text.sample({{"l", "\"quoted\" \\ \n"}}, 1);
  CHECK(text.take() ==
        "# HELP m a \\\\ and\\nmore \"words\"\n"
        "# TYPE m gauge\n"
        "m{l=\"\\\"quoted\\\" \\\\ \\n\"} 1\n");
}

TEST_CASE("values of any size keep their digits") {
  struct Case {
    double value;
    const char* text;
  };
  for (const auto& [value, expected] : {Case{0, "0"}, Case{5e9, "5000000000"}, Case{1e18, "1e+18"},
                                        Case{123456789, "123456789"}, Case{0.1, "0.1"}, Case{-2.5, "-2.5"}}) {
    PrometheusText text;
    text.begin("m", "gauge", "h");
    text.sample({}, value);
    CHECK(text.take() == std::string("# HELP m h\n# TYPE m gauge\nm ") + expected + "\n");
  }
}
