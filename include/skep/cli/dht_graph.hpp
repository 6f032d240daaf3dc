// A drawing of a swarm: its nodes on the ring of ids, lines to the neighbours they name.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <map>
#include <numbers>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/core/time.hpp"
#include "skep/dht/key.hpp"

namespace skep::inline v0::cli {

/// A node that a crawl came by.
struct CrawledNode {
  dht::DHTID id;
  std::string peer;
  std::string agent;                ///< foreign text, printable
  std::optional<Duration> latency;  ///< none: it did not answer
  std::vector<std::string> addresses;
  std::vector<dht::DHTID> neighbours;  ///< those nearest to it, as it says
  std::string failure;                 ///< why it did not answer
};

namespace detail {

inline constexpr std::size_t max_drawn_lines = 20'000;

/// Where an id stands on the ring: 0 at the top, clockwise.
[[nodiscard]] inline double turn_of(const dht::DHTID& id) {
  double turn = 0;
  double weight = 1.0 / 256;
  for (std::size_t i = 0; i < 6; ++i, weight /= 256) turn += id.bytes()[i] * weight;
  return turn;
}

[[nodiscard]] inline std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

/// printf into a std::string.
template <class... Values>
[[nodiscard]] std::string formatted(const char* format, Values... values) {
  char text[512];
  const int size = std::snprintf(text, sizeof text, format, values...);
  return {text, static_cast<std::size_t>(std::clamp(size, 0, 511))};
}

struct Point {
  double x;
  double y;
};

/// The pairs of nodes of which one names the other, as places in the list.
[[nodiscard]] inline std::set<std::pair<std::size_t, std::size_t>> lines_between(
    const std::vector<CrawledNode>& nodes) {
  std::map<dht::DHTID, std::size_t> place;
  for (std::size_t i = 0; i < nodes.size(); ++i) place.emplace(nodes[i].id, i);
  std::set<std::pair<std::size_t, std::size_t>> lines;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    for (const auto& neighbour : nodes[i].neighbours) {
      const auto other = place.find(neighbour);
      if (other == place.end() || other->second == i || lines.size() >= max_drawn_lines) continue;
      lines.emplace(std::min(i, other->second), std::max(i, other->second));
    }
  }
  return lines;
}

}  // namespace detail

/// The swarm as an SVG picture of 1200 x 1200: colours by program, hollow and red what did not answer, names while they
/// are few enough to be read.
[[nodiscard]] inline std::string draw_swarm(const std::vector<CrawledNode>& nodes) {
  using detail::formatted;
  constexpr const char* palette[] = {"#d99000", "#2a6fbb", "#3a9a5b", "#8a55b0", "#b8456b", "#4aa3a8", "#7a6a52"};
  constexpr const char* dead = "#c62f2f";
  constexpr double centre = 600;
  constexpr double radius = 440;
  const bool named = nodes.size() <= 100;
  const double dot = std::clamp(220.0 / std::sqrt(static_cast<double>(nodes.size()) + 1), 2.5, 11.0);

  std::map<std::string, std::size_t> agents;
  std::size_t silent = 0;
  for (const auto& node : nodes) {
    if (node.latency) {
      ++agents[node.agent];
    } else {
      ++silent;
    }
  }
  const auto colour = [&](const CrawledNode& node) {
    if (!node.latency) return dead;
    const auto rank = static_cast<std::size_t>(std::distance(agents.begin(), agents.find(node.agent)));
    return palette[rank % std::size(palette)];
  };
  const auto on_ring = [&](const CrawledNode& node, double at) {
    const double angle = 2 * std::numbers::pi * detail::turn_of(node.id);
    return detail::Point{centre + at * std::sin(angle), centre + 10 - at * std::cos(angle)};
  };

  std::string out =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1200 1200\" width=\"1200\" height=\"1200\" "
      "font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\">\n<rect width=\"1200\" height=\"1200\" "
      "fill=\"#fffdf7\"/>\n";
  const auto lines = detail::lines_between(nodes);
  out += formatted("<text x=\"36\" y=\"52\" font-size=\"26\" font-weight=\"bold\" fill=\"#333\">%zu nodes</text>\n",
                   nodes.size());
  out +=
      formatted("<text x=\"36\" y=\"78\" font-size=\"15\" fill=\"#777\">%zu links; place on the ring: DHT id</text>\n",
                lines.size());

  const double opacity = std::clamp(60.0 / (static_cast<double>(lines.size()) + 1), 0.06, 0.45);
  out += formatted("<g fill=\"none\" stroke=\"#8a7a55\" stroke-width=\"1.2\" stroke-opacity=\"%.3f\">\n", opacity);
  for (const auto& [a, b] : lines) {
    const auto from = on_ring(nodes[a], radius);
    const auto to = on_ring(nodes[b], radius);
    const double bend = 0.55;  // towards the centre, so that lines along the ring can be told apart
    const double x = centre + ((from.x + to.x) / 2 - centre) * bend;
    const double y = centre + ((from.y + to.y) / 2 - centre) * bend;
    out += formatted("<path d=\"M%.1f %.1fQ%.1f %.1f %.1f %.1f\"/>\n", from.x, from.y, x, y, to.x, to.y);
  }
  out += "</g>\n";

  for (const auto& node : nodes) {
    const auto at = on_ring(node, radius);
    out += formatted("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill=\"%s\" stroke=\"%s\" stroke-width=\"2\">", at.x,
                     at.y, dot, node.latency ? colour(node) : "#fffdf7", node.latency ? "#fffdf7" : colour(node));
    out += "<title>" + detail::escaped(node.peer + " " + node.agent + node.failure) + "</title></circle>\n";
    if (!named) continue;
    const auto label = on_ring(node, radius + dot + 8);
    const double turn = detail::turn_of(node.id);
    const bool left = turn > 0.5;  // texts on the left are turned around, so that none stands on its head
    const std::string tail = node.peer.size() > 6 ? node.peer.substr(node.peer.size() - 6) : node.peer;
    std::string name = "\xe2\x80\xa6" + detail::escaped(tail);
    if (node.latency) {
      name += formatted("  %.3g ms", std::chrono::duration<double, std::milli>(*node.latency).count());
    }
    out += formatted(
               "<text x=\"%.1f\" y=\"%.1f\" font-size=\"13\" fill=\"#444\" text-anchor=\"%s\" "
               "dominant-baseline=\"middle\" transform=\"rotate(%.2f %.1f %.1f)\">",
               label.x, label.y, left ? "end" : "start", turn * 360 - (left ? 270 : 90), label.x, label.y) +
           name + "</text>\n";
  }

  double y = 1164 - 24 * static_cast<double>(agents.size() + (silent > 0 ? 1 : 0) - 1);
  const auto legend = [&](const char* fill, const char* stroke, const std::string& text) {
    out += formatted("<circle cx=\"44\" cy=\"%.0f\" r=\"7\" fill=\"%s\" stroke=\"%s\" stroke-width=\"2\"/>", y, fill,
                     stroke);
    out += formatted("<text x=\"60\" y=\"%.0f\" font-size=\"15\" fill=\"#333\">", y + 5) + detail::escaped(text) +
           "</text>\n";
    y += 24;
  };
  std::size_t rank = 0;
  for (const auto& [agent, count] : agents) {
    const char* const fill = palette[rank++ % std::size(palette)];
    legend(fill, fill, (agent.empty() ? "program unknown" : agent) + ": " + std::to_string(count));
  }
  if (silent > 0) legend("#fffdf7", dead, "did not answer: " + std::to_string(silent));
  return out + "</svg>\n";
}

}  // namespace skep::inline v0::cli
