// What a server tells a monitoring system about itself, as Prometheus reads it. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
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
  moe::ServerStatistics server;
  std::size_t dht_peers = 0;    ///< in the routing table
  std::size_t dht_records = 0;  ///< held for others
  std::size_t connections = 0;  ///< peers that are connected
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

/// The sections of the page behind --metrics.
class MetricsPage {
  using Pool = moe::PoolStatistics;
  using Asked = moe::ExpertTraffic;

 public:
  explicit MetricsPage(const ServerMetrics& at) : at_(at) {}

  /// What peers asked for, and what became of it.
  void write_requests() {
    text_.begin("skep_requests_total", "counter", "Requests that were computed or are being computed.");
    for (const auto& [uid, asked] : at_.server.experts) {
      text_.sample({{"expert", uid}, {"pass", "forward"}}, number(asked.forward));
      text_.sample({{"expert", uid}, {"pass", "backward"}}, number(asked.backward));
    }
    text_.begin("skep_refused_requests_total", "counter", "Requests that were not computed, by the reason.");
    for (const auto& [uid, asked] : at_.server.experts) write_refusals(uid, asked);
    write_refusals("unknown", at_.server.others);
    of_experts("skep_failed_requests_total", "Requests whose computation failed.", &Asked::failed);
    of_experts("skep_request_bytes_total", "Bytes of tensors in requests.", &Asked::bytes_in);
    of_experts("skep_answer_bytes_total", "Bytes of tensors in answers, before their compression.", &Asked::bytes_out);
  }

  /// What the pools did.
  void write_pools() {
    of_pools("skep_batches_total", "counter", "Batches that were computed.", &Pool::batches);
    of_pools("skep_samples_total", "counter", "Samples in these batches.", &Pool::samples);
    of_pools("skep_dropped_requests_total", "counter", "Requests whose caller had gone before they were computed.",
             &Pool::dropped);
    of_pools("skep_queued_requests", "gauge", "Requests that wait now.", &Pool::queued);
    summary("skep_queue_wait_seconds", "Time of a request from its arrival to the start of its batch.", &Pool::waited,
            &Pool::tasks);
    summary("skep_compute_seconds", "Time to compute a batch.", &Pool::computed, &Pool::batches);
    text_.begin("skep_optimizer_steps_total", "counter", "Steps of an expert's optimizer.");
    for (const auto& [uid, steps] : at_.server.updates) text_.sample({{"expert", uid}}, number(steps));
  }

  /// The server as a peer.
  void write_network() {
    text_.single("skep_experts", "gauge", "Experts that this server hosts.", number(at_.server.experts.size()));
    text_.single("skep_received_bytes_total", "counter", "Bytes received from peers, as they come over the wire.",
                 number(at_.traffic.received));
    text_.single("skep_sent_bytes_total", "counter", "Bytes sent to peers, as they go over the wire.",
                 number(at_.traffic.sent));
    text_.single("skep_connected_peers", "gauge", "Peers that are connected now.", number(at_.connections));
    text_.single("skep_dht_peers", "gauge", "Other nodes in the routing table of the DHT.", number(at_.dht_peers));
    text_.single("skep_dht_records", "gauge", "Records of the DHT that this node holds for others.",
                 number(at_.dht_records));
  }

  [[nodiscard]] std::string take() { return text_.take(); }

 private:
  template <class Count>
  [[nodiscard]] static double number(Count count) noexcept {
    return static_cast<double>(count);
  }

  void of_experts(std::string_view name, std::string_view help, std::uint64_t Asked::* count) {
    text_.begin(name, "counter", help);
    for (const auto& [uid, asked] : at_.server.experts) text_.sample({{"expert", uid}}, number(asked.*count));
  }
  void write_refusals(std::string_view uid, const Asked& asked) {
    for (const auto& [reason, count] :
         {std::pair("invalid", asked.invalid), std::pair("busy", asked.busy), std::pair("expired", asked.expired),
          std::pair("unauthorized", asked.unauthorized), std::pair("leaving", asked.leaving)}) {
      text_.sample({{"expert", uid}, {"reason", reason}}, number(count));
    }
  }
  template <class Count>
  void of_pools(std::string_view name, std::string_view type, std::string_view help, Count Pool::* count) {
    text_.begin(name, type, help);
    for (const auto& [pool, now] : at_.server.pools) {
      const auto [expert, pass] = detail::expert_and_pass(pool);
      text_.sample({{"expert", expert}, {"pass", pass}}, number(now.*count));
    }
  }
  template <class Count>
  void summary(std::string_view name, std::string_view help, Duration Pool::* time, Count Pool::* count) {
    text_.begin(name, "summary", help);
    for (const auto& [pool, now] : at_.server.pools) {
      const auto [expert, pass] = detail::expert_and_pass(pool);
      text_.sample({{"expert", expert}, {"pass", pass}}, detail::in_seconds(now.*time), "_sum");
      text_.sample({{"expert", expert}, {"pass", pass}}, number(now.*count), "_count");
    }
  }

  const ServerMetrics& at_;
  PrometheusText text_;
};

/// The page behind --metrics.
[[nodiscard]] inline std::string metrics_page(const ServerMetrics& server) {
  MetricsPage page(server);
  page.write_network();
  page.write_requests();
  page.write_pools();
  return page.take();
}

}  // namespace skep::inline v0::cli
