// What the subcommands of skep-dht print: for people, and as JSON for programs.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "skep/cli/dht_graph.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/json.hpp"
#include "skep/dht/key.hpp"

namespace skep::inline v0::cli {

/// What one peer answered.
struct PeerSigns {
  std::string peer;
  std::string agent;
  std::vector<Duration> round_trips;
  bool serves_dht = false;
  std::optional<dht::DHTID> node_id;  ///< none: no node, or a client of the DHT
  std::optional<double> clock_ahead;  ///< seconds; of a node that tells its time
  std::string no_node;                ///< why it does not serve the DHT
};

namespace detail {

/// JSON as one line; bytes that are no UTF-8 are replaced.
[[nodiscard]] inline std::string json_text(const nlohmann::ordered_json& value) {
  return value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

/// A value from the command line: JSON, or else a text.
[[nodiscard]] inline nlohmann::json value_from(const std::string& text) {
  auto value = nlohmann::json::parse(text, nullptr, false);
  return value.is_discarded() ? nlohmann::json(text) : value;
}

/// "in 59 s", "in 2.5 h".
[[nodiscard]] inline std::string time_left(WallTime expiration, WallTime now) {
  const double left = std::max((expiration - now).count(), 0.0);
  if (left < 120) return formatted("in %.0f s", left);
  return left < 7200 ? formatted("in %.0f min", left / 60) : formatted("in %.1f h", left / 3600);
}

/// What was found, for people: the value, or one line for each item of a dictionary.
[[nodiscard]] inline std::string found_text(const dht::JsonFound& found, WallTime now) {
  if (!found.is_dictionary) return json_text(found.value) + "   (expires " + time_left(found.expiration, now) + ")";
  std::string text = std::to_string(found.items.size()) + " subkeys";
  for (const auto& item : found.items) {
    text += "\n  " + json_text(item.subkey) + ": " + json_text(item.value) + "   (expires " +
            time_left(item.expiration, now) + ")";
  }
  return text;
}

/// The same for programs.
[[nodiscard]] inline std::string found_json(const std::string& key, const dht::JsonFound& found) {
  nlohmann::ordered_json out{{"key", key}, {"expiration", found.expiration.seconds}};
  if (!found.is_dictionary) {
    out["value"] = found.value;
  } else {
    for (const auto& item : found.items) {
      out["items"].push_back({{"subkey", item.subkey}, {"value", item.value}, {"expiration", item.expiration.seconds}});
    }
  }
  return json_text(out);
}

[[nodiscard]] inline double milliseconds(Duration time) {
  return std::chrono::duration<double, std::milli>(time).count();
}
[[nodiscard]] inline std::string in_ms(Duration time) {
  const double ms = milliseconds(time);
  return formatted(ms < 10 ? "%.2f ms" : ms < 100 ? "%.1f ms" : "%.0f ms", ms);
}

[[nodiscard]] inline std::string signs_text(const PeerSigns& signs) {
  std::string text = signs.peer + (signs.agent.empty() ? "" : " is " + signs.agent);
  for (const Duration each : signs.round_trips) text += "\nround trip " + in_ms(each);
  if (!signs.serves_dht) return text + "\nno DHT node: " + signs.no_node;
  if (!signs.node_id) return text + "\na client of the DHT: it has no place in it";
  text += "\nDHT node " + to_hex(signs.node_id->bytes());
  if (signs.clock_ahead) text += formatted(", its clock differs by %+.3f s", *signs.clock_ahead);
  return text;
}

[[nodiscard]] inline std::string signs_json(const PeerSigns& signs) {
  nlohmann::ordered_json out{{"peer", signs.peer}, {"agent", signs.agent}};
  for (const Duration each : signs.round_trips) out["round_trips_ms"].push_back(milliseconds(each));
  if (signs.node_id) out["node_id"] = to_hex(signs.node_id->bytes());
  if (signs.clock_ahead) out["clock_ahead_s"] = *signs.clock_ahead;
  return json_text(out);
}

[[nodiscard]] inline std::string crawled_json(const CrawledNode& node) {
  nlohmann::ordered_json out{{"node_id", to_hex(node.id.bytes())}, {"peer", node.peer}, {"agent", node.agent}};
  if (node.latency) out["latency_ms"] = milliseconds(*node.latency);
  out["addresses"] = node.addresses;
  if (node.latency) {
    auto& neighbours = out["neighbours"] = nlohmann::ordered_json::array();
    for (const auto& id : node.neighbours) neighbours.push_back(to_hex(id.bytes()));
  } else {
    out["error"] = node.failure;
  }
  return json_text(out);
}

/// The last line for programs, of a crawl that ended early.
[[nodiscard]] inline std::string not_asked_json(std::size_t count) { return json_text({{"not_asked", count}}); }

/// A table for people, the swarm in one line at its end.
/// @param not_asked  how many more were named, when a limit ended the crawl
[[nodiscard]] inline std::string crawl_table(const std::vector<CrawledNode>& nodes, std::size_t not_asked) {
  std::size_t width = 4;
  std::size_t agent_width = 7;
  for (const auto& node : nodes) {
    width = std::max(width, node.peer.size());
    agent_width = std::max(agent_width, node.agent.size());
  }
  const auto padded = [](std::string text, std::size_t to) {
    text.resize(std::max(to, text.size()), ' ');
    return text + "  ";
  };
  std::string text = padded("NODE", 8) + padded("PEER", width) + padded("ROUND TRIP", 10) +
                     padded("PROGRAM", agent_width) + "ADDRESS\n";
  std::map<std::string, std::size_t> programs;
  std::size_t silent = 0;
  for (const auto& node : nodes) {
    text += padded(to_hex(node.id.bytes()).substr(0, 8), 8) + padded(node.peer, width);
    if (node.latency) {
      ++programs[node.agent.empty() ? "unknown" : node.agent];
      text += padded(in_ms(*node.latency), 10) + padded(node.agent, agent_width);
      text += node.addresses.empty() ? "-" : node.addresses.front();
    } else {
      ++silent;
      text += padded("-", 10) + "did not answer: " + node.failure;
    }
    text += "\n";
  }
  text += std::to_string(nodes.size() - silent) + " nodes answered";
  if (silent > 0) text += ", " + std::to_string(silent) + " did not";
  const char* separator = ": ";
  for (const auto& [program, count] : programs) {
    text += std::exchange(separator, ", ") + std::to_string(count) + " " + program;
  }
  if (not_asked > 0) {
    text += "\n" + std::to_string(not_asked) + " more were named and not asked: raise --max_nodes or --timeout";
  }
  return text;
}

}  // namespace detail

}  // namespace skep::inline v0::cli
