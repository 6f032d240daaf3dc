#include "skep/cli/dht_graph.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace skep;
using cli::CrawledNode;
using cli::draw_swarm;

namespace {

dht::DHTID id(std::uint8_t first, std::uint8_t last = 0) {
  Bytes bytes(20);
  bytes.front() = first;
  bytes.back() = last;
  return *dht::DHTID::from_bytes(bytes);
}
std::size_t count(const std::string& text, const std::string& piece) {
  std::size_t n = 0;
  for (auto at = text.find(piece); at != std::string::npos; at = text.find(piece, at + 1)) ++n;
  return n;
}

}  // namespace

TEST_CASE("a drawing has a dot for each node, a line for each pair, a row of the legend for each program") {
  const std::vector<CrawledNode> nodes{
      {.id = id(0), .peer = "12D3KooWaaaaaa", .agent = "skep/0.1", .latency = 1500us, .neighbours = {id(64), id(128)}},
      {.id = id(64), .peer = "12D3KooWbbbbbb", .agent = "p2pd<0>", .latency = 2ms, .neighbours = {id(0), id(9)}},
      {.id = id(128), .peer = "12D3KooWcccccc", .failure = "connection refused"}};
  const auto lines = cli::detail::lines_between(nodes);
  CHECK(lines == std::set<std::pair<std::size_t, std::size_t>>{{0, 1}, {0, 2}});
  const auto svg = draw_swarm(nodes);
  CHECK(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  CHECK(svg.ends_with("</svg>\n"));
  CHECK(count(svg, "<path ") == 2);
  CHECK(count(svg, "<circle ") == 3 + 3);
  CHECK(count(svg, "<title>") == 3);
  CHECK(svg.find("3 nodes") != std::string::npos);
  CHECK(svg.find("p2pd&lt;0&gt;: 1") != std::string::npos);
  CHECK(svg.find("p2pd<0>") == std::string::npos);
  CHECK(svg.find("did not answer: 1") != std::string::npos);
  CHECK(svg.find("aaaaaa  1.5 ms") != std::string::npos);
  CHECK(svg.find("cx=\"600.0\" cy=\"170.0\"") != std::string::npos);   // id 0 stands at the top
  CHECK(svg.find("cx=\"1040.0\" cy=\"610.0\"") != std::string::npos);  // a quarter of all ids further, at the right
}

TEST_CASE("an empty and a large swarm can be drawn; names and lines stop where they could not be read") {
  CHECK(draw_swarm({}).ends_with("</svg>\n"));
  std::vector<CrawledNode> nodes;
  for (int i = 0; i < 500; ++i) {
    nodes.push_back({.id = id(static_cast<std::uint8_t>(i % 256), static_cast<std::uint8_t>(i / 256)), .peer = "p"});
    for (int j = 0; j < i; ++j) nodes.back().neighbours.push_back(nodes[static_cast<std::size_t>(j)].id);
  }
  const auto svg = draw_swarm(nodes);
  CHECK(count(svg, "<path ") == 20'000);
  CHECK(count(svg, "rotate(") == 0);
}
