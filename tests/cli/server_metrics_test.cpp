#include "skep/cli/server_metrics.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace skep;

TEST_CASE("the page behind --metrics: every counter of every pool, the wire, the DHT") {
  cli::ServerMetrics server{.updates = {{"ffn.0.1", 3}, {"my_expert.7", 0}},
                            .dht_peers = 11,
                            .dht_records = 5,
                            .connections = 2,
                            .traffic = {.received = 5'000'000'000, .sent = 17}};
  server.pools["ffn.0.1_forward"] = {.batches = 4,
                                     .tasks = 9,
                                     .samples = 36,
                                     .failed = 1,
                                     .refused = 2,
                                     .dropped = 3,
                                     .queued = 6,
                                     .waited = 250ms,
                                     .computed = 2s};
  server.pools["my_expert.7_backward"] = {.batches = 1};
  const auto page = cli::metrics_page(server);
  for (const std::string line : {
           "# TYPE skep_experts gauge\nskep_experts 2\n",
           "# TYPE skep_requests_total counter\nskep_requests_total{expert=\"ffn.0.1\",pass=\"forward\"} 9\n"
           "skep_requests_total{expert=\"my_expert.7\",pass=\"backward\"} 0\n",
           "\nskep_samples_total{expert=\"ffn.0.1\",pass=\"forward\"} 36\n",
           "\nskep_batches_total{expert=\"ffn.0.1\",pass=\"forward\"} 4\n",
           "\nskep_batches_total{expert=\"my_expert.7\",pass=\"backward\"} 1\n",
           "\nskep_failed_requests_total{expert=\"ffn.0.1\",pass=\"forward\"} 1\n",
           "\nskep_rejected_requests_total{expert=\"ffn.0.1\",pass=\"forward\"} 2\n",
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
