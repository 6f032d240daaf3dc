// Against live nodes of Hivemind 1.1.12: ping, store and get in both directions, and swarms that only know skep.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "skep/dht.hpp"
#include "support/coroutine.hpp"
#include "support/driver.hpp"
#include "support/vectors.hpp"

#include <doctest/doctest.h>

using namespace std::chrono_literals;
using nlohmann::json;
using skep::awaitable;
using skep::Bytes;
using skep::to_bytes;
using skep::to_hex;
using skep::WallTime;
using skep::codec::msgpack::Array;
using skep::codec::msgpack::Map;
using skep::codec::msgpack::Tuple;
using skep::codec::msgpack::Value;
using skep::dht::Found;
using skep::dht::NodeOptions;
using skep::p2p::Host;
using skep::p2p::PeerId;
using skep_test::Driver;
using skep_test::unhex;

namespace {

using Node = skep::dht::Node<Host>;

/// A node of Hivemind's in the driver.
struct HivemindNode {
  Driver* driver;
  std::string name;
  PeerId peer;
  std::string node_id;
  std::vector<std::string> addresses;

  awaitable<json> operator()(std::string what, json arguments = json::object()) const {
    arguments["name"] = name;
    return (*driver)(std::move(what), std::move(arguments));
  }
};

std::string hex(const Value& value) { return to_hex(skep::codec::msgpack::encode(value)); }

awaitable<HivemindNode> hivemind(Driver& driver, std::string name, json options = json::object()) {
  options["name"] = name;
  const json started = co_await driver("start", std::move(options));
  co_return HivemindNode{&driver, name, *PeerId::from_text(started.at("peer").get<std::string>()),
                         started.at("node_id").get<std::string>(),
                         started.at("addresses").get<std::vector<std::string>>()};
}

std::vector<std::string> texts(const Host& host) {
  std::vector<std::string> out;
  for (const auto& address : host.addresses()) out.push_back(address.to_string());
  return out;
}

/// A skep node on a host of its own.
awaitable<Node> join(std::vector<std::string> peers, NodeOptions options = {}) {
  skep::p2p::HostOptions hosting;
  if (!options.client_mode) hosting.listen = {"/ip4/127.0.0.1/tcp/0"};
  hosting.serve_routing = !options.client_mode;
  Host host(co_await asio::this_coro::executor, hosting);
  for (const auto& text : peers) {
    const PeerId peer = co_await host.connect(text);
    options.initial_peers.push_back(peer);
  }
  co_return co_await Node::create(host, options);
}

awaitable<json> store(const HivemindNode& node, Value key, Value value, double expiration,
                      std::optional<Value> subkey = {}) {
  json arguments = {{"key", hex(key)}, {"value", hex(value)}, {"expiration", expiration}};
  if (subkey) arguments["subkey"] = hex(*subkey);
  co_return co_await node("store", std::move(arguments));
}
awaitable<json> get(const HivemindNode& node, Value key, bool latest = false) {
  co_return co_await node("get", {{"key", hex(key)}, {"latest", latest}});
}

/// What Hivemind's node should say of something found by skep's.
json as_hivemind_says(const Found& found) {
  if (!found.is_dictionary) return {{"value", hex(found.value)}, {"expiration", found.expiration.seconds}};
  json items = json::array();
  for (const auto& item : found.items) items.push_back({hex(item.subkey), hex(item.value), item.expiration.seconds});
  std::sort(items.begin(), items.end());
  return {{"items", items}, {"expiration", found.expiration.seconds}};
}

std::vector<std::pair<Value, Value>> samples() {
  return {{"text", "grüße"},
          {"nothing", Value()},
          {"yes", true},
          {"small", -7},
          {"large", std::numeric_limits<std::uint64_t>::max()},
          {"real", 0.1},
          {"bytes", Bytes{0, 0xff, 7}},
          {"list", Array{1, "a", Value()}},
          {"tuple", Tuple{{"ffn.1.2", "12D3KooW"}}},
          {"map", Map{{"b", 1}, {"a", Tuple{{}}}}},
          {to_bytes("binary key"), 1},
          {5, "integer key"},
          {Tuple{{"a", 1}}, "tuple key"},
          {"long", std::string(100'000, 'x')}};
}

}  // namespace

CO_TEST_CASE("skep joins a Hivemind node: ping, regular values of every type, both directions") {
  Driver driver(co_await asio::this_coro::executor, "dht_driver.py");
  const auto theirs = co_await hivemind(driver, "a");
  Node ours = co_await join(theirs.addresses);
  CHECK(ours.peer_count() == 1);
  const json known = co_await theirs("known");
  CHECK(known == json::array({ours.peer_id().to_string()}));
  const json pong = co_await theirs("ping", {{"peer", ours.peer_id().to_string()}, {"validate", true}});
  CHECK(pong == to_hex(ours.id().bytes()));

  const double later = ours.now().seconds + 600.125;
  for (const auto& [key, value] : samples()) {
    CAPTURE(hex(key));
    const auto stored = co_await ours.store(key, value, {later});
    CHECK(stored == skep::dht::StoreResult{.accepted = 2});
    const json seen = co_await get(theirs, key);
    CHECK(seen == json{{"value", hex(value)}, {"expiration", later}});

    const json accepted = co_await store(theirs, key, Tuple{{value, 2}}, later + 0.5);
    CHECK(accepted == true);
    const auto found = co_await ours.get(key, {.latest = true});
    CHECK(found.has_value());
    if (found) CHECK(found->value == Value(Tuple{{value, 2}}));
    if (found) CHECK(found->expiration == WallTime{later + 0.5});
  }
  const json older = co_await store(theirs, "text", "older", later - 1);
  CHECK(older == false);
  const auto refused = co_await ours.store("text", "older", {later - 1});
  CHECK(refused == skep::dht::StoreResult{.rejected = 2});
  const json none = co_await get(theirs, "never stored");
  CHECK(none.is_null());
  const auto nothing = co_await ours.get("never stored");
  CHECK_FALSE(nothing);
}

CO_TEST_CASE("dictionaries with subkeys of every type, written by both, read by both, latest or not") {
  Driver driver(co_await asio::this_coro::executor, "dht_driver.py");
  const auto theirs = co_await hivemind(driver, "a");
  Node ours = co_await join(theirs.addresses);
  const double later = ours.now().seconds + 600;
  // Hivemind cannot hold subkeys of different types with equal expirations under one key
  double offset = 0;
  for (const Value& subkey : {Value(3), Value("sub"), Value(Bytes{1, 2}), Value(Tuple{{"t", 1}}), Value(-1)}) {
    const auto stored = co_await ours.store_subkey("mixed", subkey, Tuple{{"ours", subkey}}, {later + offset});
    CHECK(stored.accepted == 2);
    offset += 0.25;
  }
  for (const Value& subkey : {Value(4), Value("other"), Value(3)}) {
    const json stored = co_await store(theirs, "mixed", Tuple{{"theirs", subkey}}, later + offset, subkey);
    CHECK(stored == true);
    offset += 0.25;
  }
  for (const bool latest : {true, false}) {
    const auto found = co_await ours.get("mixed", {.latest = latest});
    REQUIRE(found.has_value());
    CHECK(found->is_dictionary);
    CHECK(found->items.size() == 7);
    REQUIRE(found->find(3));
    CHECK(found->find(3)->value == Value(Tuple{{"theirs", 3}}));
    const json seen = co_await get(theirs, "mixed", latest);
    CHECK(seen == as_hivemind_says(*found));
  }
  // a later plain value replaces the dictionary, an even later subkey the plain value
  const json plain = co_await store(theirs, "mixed", "plain", later + 10);
  CHECK(plain == true);
  auto found = co_await ours.get("mixed", {.latest = true});
  CHECK(found->value == Value("plain"));
  const auto again = co_await ours.store_subkey("mixed", 1, 1, {later + 20});
  CHECK(again.accepted == 2);
  const json seen = co_await get(theirs, "mixed", true);
  found = co_await ours.get("mixed", {.latest = true});
  CHECK(seen == as_hivemind_says(*found));
}

CO_TEST_CASE("Hivemind nodes that only know skep as initial peer find each other's records") {
  Driver driver(co_await asio::this_coro::executor, "dht_driver.py");
  Node ours = co_await join({});
  const auto first = co_await hivemind(driver, "a", {{"initial_peers", texts(ours.network())}});
  const auto second = co_await hivemind(driver, "b", {{"initial_peers", texts(ours.network())}});
  CHECK(ours.peer_count() == 2);
  const double later = ours.now().seconds + 600;
  const json stored = co_await store(first, "from a", 1, later);
  CHECK(stored == true);
  const json subkey = co_await store(second, "d", "b", later, "b");
  CHECK(subkey == true);
  const auto mine = co_await ours.store("from skep", 2, {later});
  CHECK(mine.accepted == 3);
  for (const auto* node : {&first, &second}) {
    const json a = co_await get(*node, "from a");
    CHECK(a == json{{"value", hex(1)}, {"expiration", later}});
    const json b = co_await get(*node, "from skep");
    CHECK(b == json{{"value", hex(2)}, {"expiration", later}});
    const json d = co_await get(*node, "d");
    CHECK(d == json{{"items", {{hex("b"), hex("b"), later}}}, {"expiration", later}});
  }
  // the two know each other by now, through skep's answers alone
  const json ping = co_await first("ping", {{"peer", second.peer.to_string()}});
  CHECK(ping == second.node_id);
}

CO_TEST_CASE("clients of either kind use nodes of the other") {
  Driver driver(co_await asio::this_coro::executor, "dht_driver.py");
  Node ours = co_await join({});
  const auto client =
      co_await hivemind(driver, "client", {{"initial_peers", texts(ours.network())}, {"client_mode", true}});
  CHECK(ours.peer_count() == 0);
  const double later = ours.now().seconds + 600;
  const json stored = co_await store(client, "k", "theirs", later);
  CHECK(stored == true);
  const auto found = co_await ours.get("k");
  REQUIRE(found.has_value());
  CHECK(found->value == Value("theirs"));

  const auto theirs = co_await hivemind(driver, "a");
  Node mine = co_await join(theirs.addresses, {.client_mode = true});
  const auto kept = co_await mine.store("c", "ours", {later});
  CHECK(kept == skep::dht::StoreResult{.accepted = 1});
  const json seen = co_await get(theirs, "c");
  CHECK(seen == json{{"value", hex("ours")}, {"expiration", later}});
  const json known = co_await theirs("known");
  CHECK(known.empty());
}

CO_TEST_CASE("A4.10 records move to newcomers of either kind, dictionaries whole") {
  Driver driver(co_await asio::this_coro::executor, "dht_driver.py");
  Node ours = co_await join({});
  const double later = ours.now().seconds + 600;
  for (int i = 0; i < 3; ++i) {
    (void)co_await ours.store(i, i, {later});
    (void)co_await ours.store_subkey("d" + std::to_string(i), i, i, {later});
  }
  const auto theirs = co_await hivemind(driver, "a", {{"initial_peers", texts(ours.network())}});
  json held;
  for (int i = 0; i < 100 && held != json{{"records", 6}, {"dictionaries", 3}}; ++i) {
    co_await ours.network().sleep_until(ours.network().steady_now() + 50ms);
    held = co_await theirs("held");
  }
  CHECK(held == json{{"records", 6}, {"dictionaries", 3}});

  ours.close();
  ours.network().close();
  co_await ours.join();
  const json gone = co_await theirs("ping", {{"peer", ours.peer_id().to_string()}});  // so that it is forgotten
  CHECK(gone.is_null());
  Node newcomer = co_await join(theirs.addresses);
  for (int i = 0; i < 100 && newcomer.record_count() < 6; ++i) {
    co_await newcomer.network().sleep_until(newcomer.network().steady_now() + 50ms);
  }
  CHECK(newcomer.record_count() == 6);
  const auto found = co_await newcomer.get("d2");
  REQUIRE(found.has_value());
  CHECK(found->find(2));
}
