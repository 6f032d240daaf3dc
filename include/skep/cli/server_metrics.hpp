// What a server tells a monitoring system about itself, as Prometheus reads it. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "skep/cli/prometheus.hpp"
#include "skep/core/time.hpp"
#include "skep/moe/server/statistics.hpp"
#include "skep/p2p/connection_host.hpp"

namespace skep::inline v0::cli {

/// A server at one moment.
struct ServerMetrics {
  moe::PoolReport pools;                         ///< by "UID_forward" and "UID_backward"
  std::map<std::string, std::uint64_t> updates;  ///< of each expert: steps of its optimizer
  std::size_t dht_peers = 0;                     ///< in the routing table
  std::size_t dht_records = 0;                   ///< held for others
  std::size_t connections = 0;                   ///< peers that are connected
  p2p::Traffic traffic;
};

namespace detail {

/// "ffn.0.1" and "forward" of the pool "ffn.0.1_forward".
[[nodiscard]] inline std::pair<std::string_view, std::string_view> expert_and_pass(std::string_view pool) {
  const auto cut = pool.rfind('_');
  if (cut == std::string_view::npos) return {pool, ""};
  return {pool.substr(0, cut), pool.substr(cut + 1)};
}

[[nodiscard]] inline double in_seconds(Duration time) { return std::chrono::duration<double>(time).count(); }

}  // namespace detail

/// The page behind --metrics.
[[nodiscard]] inline std::string metrics_page(const ServerMetrics& server) {
  PrometheusText text;
  const auto pools = [&](std::string_view name, std::string_view type, std::string_view help, auto value) {
    text.begin(name, type, help);
    for (const auto& [pool, now] : server.pools) {
      const auto [expert, pass] = detail::expert_and_pass(pool);
      text.sample({{"expert", expert}, {"pass", pass}}, static_cast<double>(value(now)));
    }
  };
  const auto summary = [&](std::string_view name, std::string_view help, auto time, auto count) {
    text.begin(name, "summary", help);
    for (const auto& [pool, now] : server.pools) {
      const auto [expert, pass] = detail::expert_and_pass(pool);
      text.sample({{"expert", expert}, {"pass", pass}}, detail::in_seconds(time(now)), "_sum");
      text.sample({{"expert", expert}, {"pass", pass}}, static_cast<double>(count(now)), "_count");
    }
  };
  using Pool = moe::PoolStatistics;

  text.single("skep_experts", "gauge", "Experts that this server hosts.", static_cast<double>(server.updates.size()));
  pools("skep_requests_total", "counter", "Requests that were computed, failed ones included.",
        [](const Pool& pool) { return pool.tasks; });
  pools("skep_samples_total", "counter", "Samples in these requests.", [](const Pool& pool) { return pool.samples; });
  pools("skep_batches_total", "counter", "Batches that were computed.", [](const Pool& pool) { return pool.batches; });
  pools("skep_failed_requests_total", "counter", "Requests whose computation failed.",
        [](const Pool& pool) { return pool.failed; });
  pools("skep_rejected_requests_total", "counter",
        "Requests refused because they were too large or the queue was full.",
        [](const Pool& pool) { return pool.refused; });
  pools("skep_dropped_requests_total", "counter", "Requests whose caller had gone before they were computed.",
        [](const Pool& pool) { return pool.dropped; });
  pools("skep_queued_requests", "gauge", "Requests that wait now.", [](const Pool& pool) { return pool.queued; });
  summary(
      "skep_queue_wait_seconds", "Time of a request from its arrival to the start of its batch.",
      [](const Pool& pool) { return pool.waited; }, [](const Pool& pool) { return pool.tasks; });
  summary(
      "skep_compute_seconds", "Time to compute a batch.", [](const Pool& pool) { return pool.computed; },
      [](const Pool& pool) { return pool.batches; });
  text.begin("skep_optimizer_steps_total", "counter", "Steps of an expert's optimizer.");
  for (const auto& [uid, steps] : server.updates) text.sample({{"expert", uid}}, static_cast<double>(steps));

  text.single("skep_received_bytes_total", "counter", "Bytes received from peers, as they come over the wire.",
              static_cast<double>(server.traffic.received));
  text.single("skep_sent_bytes_total", "counter", "Bytes sent to peers, as they go over the wire.",
              static_cast<double>(server.traffic.sent));
  text.single("skep_connected_peers", "gauge", "Peers that are connected now.",
              static_cast<double>(server.connections));
  text.single("skep_dht_peers", "gauge", "Other nodes in the routing table of the DHT.",
              static_cast<double>(server.dht_peers));
  text.single("skep_dht_records", "gauge", "Records of the DHT that this node holds for others.",
              static_cast<double>(server.dht_records));
  return text.take();
}

}  // namespace skep::inline v0::cli
