#include "skep/cli/server_metrics.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace skep;

TEST_CASE("the page behind --metrics: every counter of every pool, the wire, the DHT") {
  cli::ServerMetrics server{
      .dht_peers = 11, .dht_records = 5, .connections = 2, .traffic = {.received = 5'000'000'000, .sent = 17}};
  server.server.updates = {{"ffn.0.1", 3}, {"my_expert.7", 0}};
  server.server.experts["ffn.0.1"] = {
      .forward = 9, .backward = 8, .bytes_in = 1000, .bytes_out = 2000, .failed = 1, .invalid = 2, .busy = 4};
  server.server.experts["my_expert.7"] = {.expired = 5, .unauthorized = 6, .leaving = 7};
  server.server.others.invalid = 12;
  server.server.pools["ffn.0.1_forward"] = {
      .batches = 4, .tasks = 9, .samples = 36, .dropped = 3, .queued = 6, .waited = 250ms, .computed = 2s};
  server.server.pools["my_expert.7_backward"] = {.batches = 1};
  const auto page = cli::metrics_page(server);
  for (const std::string line : {
           "# TYPE skep_experts gauge\nskep_experts 2\n",
           "# TYPE skep_requests_total counter\nskep_requests_total{expert=\"ffn.0.1\",pass=\"forward\"} 9\n"
           "skep_requests_total{expert=\"ffn.0.1\",pass=\"backward\"} 8\n",
           "\nskep_refused_requests_total{expert=\"ffn.0.1\",reason=\"invalid\"} 2\n",
           "\nskep_refused_requests_total{expert=\"ffn.0.1\",reason=\"busy\"} 4\n",
           "\nskep_refused_requests_total{expert=\"my_expert.7\",reason=\"expired\"} 5\n",
           "\nskep_refused_requests_total{expert=\"my_expert.7\",reason=\"unauthorized\"} 6\n",
           "\nskep_refused_requests_total{expert=\"my_expert.7\",reason=\"leaving\"} 7\n",
           "\nskep_refused_requests_total{expert=\"unknown\",reason=\"invalid\"} 12\n",
           "\nskep_failed_requests_total{expert=\"ffn.0.1\"} 1\n",
           "\nskep_request_bytes_total{expert=\"ffn.0.1\"} 1000\n",
           "\nskep_answer_bytes_total{expert=\"ffn.0.1\"} 2000\n",
           "\nskep_samples_total{expert=\"ffn.0.1\",pass=\"forward\"} 36\n",
           "\nskep_batches_total{expert=\"ffn.0.1\",pass=\"forward\"} 4\n",
           "\nskep_batches_total{expert=\"my_expert.7\",pass=\"backward\"} 1\n",
           "\nskep_dropped_requests_total{expert=\"ffn.0.1\",pass=\"forward\"} 3\n",
           "\nskep_queued_requests{expert=\"ffn.0.1\",pass=\"forward\"} 6\n",
           "# TYPE skep_queue_wait_seconds summary\n"
           "skep_queue_wait_seconds_sum{expert=\"ffn.0.1\",pass=\"forward\"} 0.25\n"
           "skep_queue_wait_seconds_count{expert=\"ffn.0.1\",pass=\"forward\"} 9\n",
           "\nskep_compute_seconds_sum{expert=\"ffn.0.1\",pass=\"forward\"} 2\n"
           "skep_compute_seconds_count{expert=\"ffn.0.1\",pass=\"forward\"} 4\n",
           "\nskep_optimizer_steps_total{expert=\"ffn.0.1\"} 3\n",
           "\nskep_received_bytes_total 5000000000\n",
           "\nskep_sent_bytes_total 17\n",
           "\nskep_connected_peers 2\n",
           "\nskep_dht_peers 11\n",
           "\nskep_dht_records 5\n",
       }) {
    CAPTURE(line);
    CHECK(page.find(line) != std::string::npos);
  }
}
