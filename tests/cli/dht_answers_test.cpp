#include "skep/cli/dht_answers.hpp"

#include <doctest/doctest.h>

using namespace skep;
using namespace skep::cli::detail;
using cli::CrawledNode;
using cli::PeerSigns;
using nlohmann::json;

namespace {
const dht::DHTID zero{};
}

TEST_CASE("values on the command line are JSON, or else texts") {
  CHECK(value_from("5") == json(5));
  CHECK(value_from("hello") == json("hello"));
  CHECK(value_from("\"5\"") == json("5"));
  CHECK(value_from("{\"a\": [1, null]}") == json{{"a", {1, nullptr}}});
  CHECK(value_from("{a") == json("{a"));
  CHECK(value_from("") == json(""));
}

TEST_CASE("what was found, for people and for programs") {
  dht::JsonFound found{"v", {160}};
  CHECK(found_text(found, {100}) == "\"v\"   (expires in 60 s)");
  CHECK(found_json("k", found) == R"({"key":"k","expiration":160.0,"value":"v"})");
  found = {json::object(), {8000}, true, {{1, "one", {8000}}, {"x", 2, {100'000}}}};
  CHECK(found_text(found, {100}) == "2 subkeys\n  1: \"one\"   (expires in 2.2 h)\n  \"x\": 2   (expires in 27.8 h)");
  CHECK(found_json("k", found) ==
        R"({"key":"k","expiration":8000.0,"items":[{"subkey":1,"value":"one","expiration":8000.0},)"
        R"({"subkey":"x","value":2,"expiration":100000.0}]})");
  CHECK(found_text({json("\xff"), {5000}}, {100}).find("expires in 82 min") != std::string::npos);
}

TEST_CASE("signs of life") {
  PeerSigns signs{.peer = "12D3", .agent = "skep/0.1", .round_trips = {1500us, 250ms}};
  signs.no_node = "it does not answer";
  CHECK(signs_text(signs) ==
        "12D3 is skep/0.1\nround trip 1.50 ms\nround trip 250 ms\nno DHT node: it does not answer");
  signs.serves_dht = true;
  CHECK(signs_text(signs).ends_with("\na client of the DHT: it has no place in it"));
  signs.node_id = zero;
  signs.clock_ahead = -0.25;
  CHECK(signs_text(signs).ends_with("\nDHT node " + std::string(40, '0') + ", its clock differs by -0.250 s"));
  CHECK(json::parse(signs_json(signs)) == json{{"peer", "12D3"},
                                               {"agent", "skep/0.1"},
                                               {"round_trips_ms", {1.5, 250.0}},
                                               {"node_id", std::string(40, '0')},
                                               {"clock_ahead_s", -0.25}});
}

TEST_CASE("a crawl as a table with its sum, and as a JSON object for each node") {
  const CrawledNode good{.id = zero,
                         .peer = "12D3a",
                         .agent = "skep/0.1",
                         .latency = 12'340us,
                         .addresses = {"/ip4/192.0.2.5/tcp/1"},
                         .neighbours = {zero}};
  const CrawledNode bad{.id = zero, .peer = "12D3b", .failure = "connection refused"};
  CHECK(crawl_table({good, bad}, 0) ==
        "NODE      PEER   ROUND TRIP  PROGRAM   ADDRESS\n"
        "00000000  12D3a  12.3 ms     skep/0.1  /ip4/192.0.2.5/tcp/1\n"
        "00000000  12D3b  -           did not answer: connection refused\n"
        "1 nodes answered, 1 did not: 1 skep/0.1");
  CHECK(crawl_table({good}, 7).ends_with(
      "1 nodes answered: 1 skep/0.1\n7 more were named and not asked: raise --max_nodes or --timeout"));
  CHECK(not_asked_json(7) == R"({"not_asked":7})");
  CHECK(json::parse(crawled_json(good)) == json{{"node_id", std::string(40, '0')},
                                                {"peer", "12D3a"},
                                                {"agent", "skep/0.1"},
                                                {"latency_ms", 12.34},
                                                {"addresses", {"/ip4/192.0.2.5/tcp/1"}},
                                                {"neighbours", {std::string(40, '0')}}});
  CHECK(json::parse(crawled_json(bad)).at("error") == "connection refused");
}
