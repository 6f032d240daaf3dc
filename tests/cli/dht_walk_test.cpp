#include "skep/cli/dht_walk.hpp"

#include <doctest/doctest.h>

#include <set>

#include "support/peers.hpp"

using namespace skep;
using cli::CrawlFrontier;
using skep_test::peer_number;

namespace {
dht::NodeEntry node(std::uint8_t n) { return {*dht::DHTID::from_bytes(Bytes{n}), peer_number(n)}; }
}  // namespace

TEST_CASE("every node is asked once, in the order in which it was heard of, and no more than wanted") {
  CrawlFrontier frontier(4);
  for (const int n : {1, 2, 1, 3}) frontier.found(node(static_cast<std::uint8_t>(n)));
  CHECK(frontier.take(2).size() == 2);
  frontier.found(node(1));
  frontier.found(node(4));
  frontier.found(node(5));
  const auto rest = frontier.take(10);
  REQUIRE(rest.size() == 2);
  CHECK(rest[0].id == node(3).id);
  CHECK(rest[1].id == node(4).id);
  CHECK(frontier.take(1).empty());
  CHECK(frontier.known() == 4);
  CHECK(frontier.not_taken() == 1);
}

TEST_CASE("nodes that were named and not asked are counted once each, waiting or above the limit") {
  CrawlFrontier frontier(3);
  for (const int n : {1, 2, 3, 4, 5, 4, 1}) frontier.found(node(static_cast<std::uint8_t>(n)));
  CHECK(frontier.not_taken() == 5);
  CHECK(frontier.take(2).size() == 2);
  CHECK(frontier.not_taken() == 3);
}

TEST_CASE("a node is asked about itself and about each of its large buckets") {
  const auto targets = cli::detail::crawl_targets(node(0).id);
  REQUIRE(targets.size() == 16);
  CHECK(targets[0] == node(0).id);
  CHECK(to_hex(targets[1].bytes()).starts_with("8000"));
  CHECK(to_hex(targets[15].bytes()).starts_with("0002"));
}

TEST_CASE("of the neighbours in an answer those are taken that can be read, whole pairs only") {
  codec::FindResult result;
  result.nearest_node_ids = {Bytes{1}, Bytes(21, 1), Bytes{3}, Bytes{4}};
  result.nearest_peer_ids = {to_bytes(peer_number(1).bytes()), to_bytes(peer_number(2).bytes()), Bytes{0xff}};
  const auto found = cli::detail::neighbours_in(result);
  REQUIRE(found.size() == 1);
  CHECK(found[0].contact == peer_number(1));
}
