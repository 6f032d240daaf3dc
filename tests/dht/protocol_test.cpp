#include "skep/dht/protocol.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include "dht/swarm.hpp"
#include "skep/codec/dht_messages.hpp"
#include "skep/sim/network.hpp"
#include "support/vectors.hpp"

using namespace skep;
using codec::msgpack::encode;
using codec::msgpack::Value;
using dht::DHTID;
using dht::NodeOptions;
using p2p::Payload;
using p2p::Request;
using skep_test::Node;
using skep_test::Swarm;

namespace {
const std::string ping = "DHTProtocol.rpc_ping";
const std::string store = "DHTProtocol.rpc_store";
const std::string find = "DHTProtocol.rpc_find";

Bytes id_bytes(const DHTID& id) { return to_bytes(id.bytes()); }

/// A peer that calls a node by hand.
struct Stranger {
  explicit Stranger(Swarm& s) : swarm(s), host(s.world) {}
  Bytes call(const Node& node, const std::string& method, Bytes body) {
    return swarm.run(host.call(node.peer_id(), method, std::move(body)));
  }
  Swarm& swarm;
  sim::Host host;
};

/// A node that answers every find as it likes.
sim::Host liar(Swarm& swarm, const DHTID& id, std::function<codec::FindResult()> result) {
  sim::Host host(swarm.world);
  host.handle(find, [id, result](Request request) -> awaitable<Payload> {
    codec::FindResponse response;
    const auto asked = codec::FindRequest::decode(request.body);
    for (std::size_t i = 0; i < asked->keys.size(); ++i) response.results.push_back(result());
    response.peer = {id_bytes(id)};
    co_return response.encode();
  });
  host.handle(ping, [id](Request) -> awaitable<Payload> {
    codec::PingResponse response;
    response.peer = {id_bytes(id)};
    co_return response.encode();
  });
  host.handle(store, [](Request request) -> awaitable<Payload> {
    codec::StoreResponse response;
    response.store_ok.assign(codec::StoreRequest::decode(request.body)->keys.size(), true);
    co_return response.encode();
  });
  return host;
}
}  // namespace

TEST_CASE("A4.4 a ping is answered with the node's id and time, and teaches who asked") {
  Swarm swarm(1);
  Node& node = swarm.nodes[0];
  Stranger stranger(swarm);
  codec::PingRequest request;
  auto answer = codec::PingResponse::decode(stranger.call(node, ping, request.encode()));
  REQUIRE(answer);
  CHECK(answer->peer.node_id == id_bytes(node.id()));
  CHECK(answer->dht_time == doctest::Approx(node.now().seconds).epsilon(1e-9));
  CHECK_FALSE(answer->available);
  CHECK(node.peer_count() == 0);  // a client leaves no trace

  request = *codec::PingRequest::decode(skep_test::vector_bytes("dht", "ping", "request"));  // validate: call me back
  answer = codec::PingResponse::decode(stranger.call(node, ping, request.encode()));
  CHECK_FALSE(answer->available);
  CHECK(node.peer_count() == 0);

  stranger.host.handle(ping, [&](Request back) -> awaitable<Payload> {
    const auto asked = codec::PingRequest::decode(back.body);
    CHECK_FALSE(asked->validate);
    CHECK(asked->peer.node_id == id_bytes(node.id()));
    codec::PingResponse response;
    response.peer = request.peer;
    co_return response.encode();
  });
  answer = codec::PingResponse::decode(stranger.call(node, ping, request.encode()));
  CHECK(answer->available);
  CHECK(node.peer_count() == 1);
}

TEST_CASE("A4.5 A4.6 A4.7 the stores that Hivemind sends are kept") {
  Swarm swarm(1);
  Node& node = swarm.nodes[0];
  node.protocol().options.storage.lifetime = std::chrono::hours(24 * 365 * 10);
  node.protocol().storage = dht::Storage(node.protocol().options.storage);  // the recorded ones expire years ahead
  Stranger stranger(swarm);
  for (const Bytes& request : skep_test::vector_list("dht", "store_from_hivemind", "requests")) {
    const auto answer = codec::StoreResponse::decode(stranger.call(node, store, request));
    REQUIRE(answer);
    CHECK(answer->store_ok.size() == 1);
    CHECK(answer->peer.node_id == id_bytes(node.id()));
  }
  for (const Bytes& request : skep_test::vector_list("dht", "handoff", "requests")) {
    const auto answer = codec::StoreResponse::decode(stranger.call(node, store, request));
    REQUIRE(answer);
    CHECK(answer->store_ok == codec::Bools(4, 1));
  }
  CHECK(node.record_count() == 7);
  auto found = swarm.run(node.get("h2"));
  REQUIRE(found);
  REQUIRE(found->find("sub"));
  CHECK(found->find("sub")->value == Value("val"));
  CHECK(found->find(3)->value == Value(7));
  found = swarm.run(node.get("h3"));
  REQUIRE(found->find(codec::msgpack::Tuple{{"t", 1}}));
}

TEST_CASE("A4.11 store and find over the wire: recorded requests, and what comes back") {
  Swarm swarm(1);
  Node& node = swarm.nodes[0];
  node.protocol().storage = dht::Storage({.lifetime = std::chrono::hours(24 * 365 * 10)});
  Stranger stranger(swarm);
  const auto stored = codec::StoreResponse::decode(
      stranger.call(node, store, skep_test::vector_bytes("dht", "store_find", "store_request")));
  CHECK(stored->store_ok == codec::Bools{true});
  const auto found = codec::FindResponse::decode(
      stranger.call(node, find, skep_test::vector_bytes("dht", "store_find", "find_request")));
  REQUIRE(found);
  REQUIRE(found->results.size() == 2);
  const auto recorded = codec::FindResponse::decode(skep_test::vector_bytes("dht", "store_find", "find_response"));
  CHECK(found->results[0].type == codec::FindResultType::found_regular);
  CHECK(found->results[0].value == recorded->results[0].value);
  CHECK(found->results[0].expiration_time == recorded->results[0].expiration_time);
  CHECK(found->results[1].type == codec::FindResultType::not_found);
  CHECK(found->results[0].nearest_node_ids.empty());  // the only node known is the one that asks
}

TEST_CASE("A4.9 find names the nearest neighbours, never the one who asks nor the node itself") {
  Swarm swarm(30);
  Node& node = swarm.nodes[0];
  codec::FindRequest request;
  request.keys = {id_bytes(dht::key_id("x")), {5}};
  request.peer = {id_bytes(swarm.nodes[1].id())};
  Stranger stranger(swarm);
  const auto answer = codec::FindResponse::decode(stranger.call(node, find, request.encode()));
  REQUIRE(answer->results.size() == 2);
  for (const auto& result : answer->results) {
    CHECK(result.nearest_node_ids.size() == 20);
    CHECK(result.nearest_peer_ids.size() == 20);
    for (const Bytes& id : result.nearest_node_ids) {
      CHECK(id != id_bytes(node.id()));
      CHECK(id != id_bytes(swarm.nodes[1].id()));
    }
  }
}

TEST_CASE("malformed requests are answered with an error and harm nothing") {
  Swarm swarm(1);
  Node& node = swarm.nodes[0];
  Stranger stranger(swarm);
  for (const std::string& method : {ping, store, find}) {
    CHECK_THROWS_AS(stranger.call(node, method, Bytes{0xff, 0xff}), RemoteError);
  }
  codec::StoreRequest uneven;
  uneven.keys = {Bytes(20)};
  CHECK_THROWS_AS(stranger.call(node, store, uneven.encode()), RemoteError);
  codec::FindRequest huge;
  huge.keys = {Bytes(21, 1)};
  CHECK_THROWS_AS(stranger.call(node, find, huge.encode()), RemoteError);

  codec::StoreRequest bad;  // each bad alone: the good one is kept
  const auto add = [&](Bytes key, Bytes tag, Bytes value, double expiration) {
    bad.keys.push_back(std::move(key));
    bad.subkeys.push_back(std::move(tag));
    bad.values.push_back(std::move(value));
    bad.expiration_times.push_back(expiration);
    bad.in_cache.push_back(false);
  };
  const double later = node.now().seconds + 60;
  add(Bytes(20, 1), {0xc0}, encode(1), later);
  add(Bytes(20, 2), {0xc1}, encode(1), later);                                     // no subkey
  add(Bytes(20, 3), {}, encode(1), later);                                         // no dictionary
  add(Bytes(20, 4), {0xc0}, encode(1), std::numeric_limits<double>::quiet_NaN());  // never expires
  add(Bytes(20, 5), {0xc0}, encode(1), std::numeric_limits<double>::infinity());
  add(Bytes(20, 6), {0xc0}, encode(1), node.now().seconds - 1);
  add(Bytes(21, 7), {0xc0}, encode(1), later);                     // no key of 160 bits
  add(Bytes(20, 8), {0xc0}, encode(1), node.now().seconds + 1e9);  // too long a life
  const auto answer = codec::StoreResponse::decode(stranger.call(node, store, bad.encode()));
  CHECK(answer->store_ok == codec::Bools{true, false, false, false, false, false, false, false});
  CHECK(node.record_count() == 1);
}

TEST_CASE("A4.7 thousands of records from one peer stay within the bounds") {
  NodeOptions options;
  options.storage.records = 100;
  options.cache_size = 50;
  Swarm swarm(1, {}, options);
  Node& node = swarm.nodes[0];
  Stranger stranger(swarm);
  for (const bool in_cache : {false, true}) {
    codec::StoreRequest flood;
    for (int i = 0; i < 5000; ++i) {
      flood.keys.push_back(id_bytes(DHTID::random(swarm.world.random())));
      flood.subkeys.push_back({0xc0});
      flood.values.push_back(encode(i));
      flood.expiration_times.push_back(node.now().seconds + 60 + i);
      flood.in_cache.push_back(in_cache);
    }
    const auto answer = codec::StoreResponse::decode(stranger.call(node, store, flood.encode()));
    CHECK(answer->store_ok.size() == 5000);
  }
  CHECK(node.record_count() == 100);
  CHECK(node.protocol().cache.size() == 13);  // a peer may fill a quarter of it, the rest is for what the node reads
}

TEST_CASE("A4.10 few newcomers are handed records at a time, and one under ever new ids once") {
  Swarm swarm(1);
  Node& node = swarm.nodes[0];
  for (int i = 0; i < 600; ++i) CHECK(swarm.run(node.store(i, i, swarm.in(600))));
  std::vector<std::size_t> got(7);  // records, by newcomer
  std::vector<sim::Host> hosts;
  const auto ping_as_anybody = [&](std::size_t n) {
    codec::PingRequest request;
    request.peer = {id_bytes(DHTID::random(swarm.world.random()))};
    (void)swarm.run(hosts[n].call(node.peer_id(), ping, request.encode()));
  };
  for (std::size_t n = 0; n < got.size(); ++n) {
    hosts.emplace_back(swarm.world).handle(store, [&, n](Request request) -> awaitable<Payload> {
      const auto asked = codec::StoreRequest::decode(request.body);
      got[n] += asked->keys.size();
      co_await swarm.world.time().sleep_until(swarm.world.time().now() + 1s);
      codec::StoreResponse response;
      response.store_ok.assign(asked->keys.size(), true);
      co_return response.encode();
    });
  }
  for (int i = 0; i < 20; ++i) ping_as_anybody(0);
  CHECK(got[0] == 256);  // one hand-over has begun
  swarm.world.time().run_for(3s);
  CHECK(got[0] == 600);
  for (std::size_t n = 1; n < got.size(); ++n) ping_as_anybody(n);
  swarm.world.time().run_for(1s);
  CHECK(std::count_if(got.begin() + 1, got.end(), [](std::size_t records) { return records > 0; }) == 4);
}

TEST_CASE("A3.21 H-10 a peer that returns bytes that are no value neither hangs a get nor hides the record") {
  NodeOptions options;
  options.cache_locally = false;
  Swarm swarm(8, {}, options);
  const auto expiration = swarm.in(600);
  CHECK(swarm.run(swarm.nodes[0].store("k", 1, expiration)));
  auto near = dht::key_id("k");
  auto host = liar(swarm, near, [&] {  // as near as can be, so it is asked first
    codec::FindResult result;
    result.type = codec::FindResultType::found_regular;
    result.value = {0xc1, 0xff};
    result.expiration_time = expiration.seconds + 100;
    return result;
  });
  for (auto& node : swarm.nodes) node.protocol().heard(near, host.self());
  for (auto& node : swarm.nodes) {
    const auto found = swarm.run(node.get("k"));
    REQUIRE(found);
    CHECK(found->value == Value(1));
    if (node.record_count() == 0) CHECK(node.protocol().banned(host.self()));
  }
}

TEST_CASE("A3.22 H-10 a peer that names the asking node as its neighbour breaks nothing") {
  Swarm swarm(6);
  Node& victim = swarm.nodes[0];
  const auto near = dht::key_id("k");
  auto host = liar(swarm, near, [&] {
    codec::FindResult result;
    result.nearest_node_ids = {
        id_bytes(victim.id()), id_bytes(DHTID::random(swarm.world.random())), {1, 2}, Bytes(30, 1)};
    result.nearest_peer_ids = {to_bytes(victim.peer_id().bytes()), to_bytes(victim.peer_id().bytes()), {9}, {}};
    return result;
  });
  victim.protocol().heard(near, host.self());
  CHECK(swarm.run(victim.store("k", 1, swarm.in(60))).accepted == 5);
  CHECK(swarm.run(victim.get("k", {.latest = true})));
}

TEST_CASE("A4.2 A4.8 a peer that answers too little, too much or nonsense counts as failed") {
  Swarm swarm(6);
  Node& node = swarm.nodes[0];
  for (const int kind : {0, 1, 2}) {
    const auto id = DHTID::random(swarm.world.random());
    sim::Host host(swarm.world);
    host.handle(find, [=](Request) -> awaitable<Payload> {
      if (kind == 2) co_return Bytes{0xff};
      codec::FindResponse response;
      response.results.resize(kind == 0 ? 0 : 3);
      co_return response.encode();
    });
    node.protocol().heard(id, host.self());
    REQUIRE(node.protocol().table.find(id));
    const auto answers = swarm.run(std::decay_t<decltype(node.protocol())>::call_find(
        node.protocol().shared_from_this(), {id, host.self()}, {dht::key_id("k")}));
    CHECK_FALSE(answers);
    CHECK_FALSE(node.protocol().table.find(id));
    CHECK(node.protocol().banned(host.self()));
  }
}

TEST_CASE("A4.12 a node named with somebody else's contact stays when that one fails") {
  Swarm swarm(2);
  Node& node = swarm.nodes[0];
  Node& other = swarm.nodes[1];
  const sim::Host nobody(swarm.world);  // offers nothing
  CHECK_FALSE(swarm.run(std::decay_t<decltype(node.protocol())>::call_find(
      node.protocol().shared_from_this(), {other.id(), nobody.self()}, {dht::key_id("k")})));
  CHECK(node.protocol().banned(nobody.self()));
  CHECK(node.protocol().table.find(other.id()));
}

TEST_CASE("A3.33 who answers with what is no record is banned for longer each time") {
  Swarm swarm(1);
  Node& node = swarm.nodes[0];
  const auto id = DHTID::random(swarm.world.random());
  auto host = liar(swarm, id, [] {
    codec::FindResult result;
    result.type = codec::FindResultType::found_dictionary;
    return result;
  });
  for (const Duration length : {5s, 10s}) {
    CHECK(swarm.run(std::decay_t<decltype(node.protocol())>::call_find(node.protocol().shared_from_this(),
                                                                       {id, host.self()}, {dht::key_id("k")})));
    swarm.world.time().run_for(length - 100ms);
    CHECK(node.protocol().banned(host.self()));
    swarm.world.time().run_for(200ms);
    CHECK_FALSE(node.protocol().banned(host.self()));
  }
}

TEST_CASE("A3.33 a request that is too long to be sent is not its receiver's failure") {
  Swarm swarm(2);
  Node& node = swarm.nodes[0];
  Node& other = swarm.nodes[1];
  const auto calls = swarm.world.calls(store);
  CHECK_FALSE(swarm.run(std::decay_t<decltype(node.protocol())>::call_store(
      node.protocol().shared_from_this(), {other.id(), other.peer_id()},
      {{dht::key_id("k"), dht::regular_tag(), Bytes(p2p::max_unary_size), swarm.in(60)}})));
  CHECK(swarm.world.calls(store) == calls);
  CHECK_FALSE(node.protocol().banned(other.peer_id()));
  CHECK(node.protocol().table.find(other.id()));
}

TEST_CASE("A3.33 a banned peer is not asked, and is asked again when the ban is over") {
  Swarm swarm(3);
  Node& node = swarm.nodes[0];
  Node& other = swarm.nodes[1];
  swarm.kill(other);
  (void)swarm.run(node.get("missing"));
  swarm.world.time().run_for(3100ms);
  CHECK(node.protocol().banned(other.peer_id()));
  swarm.world.revive(other.peer_id());
  swarm.world.time().run_for(10s);
  CHECK_FALSE(node.protocol().banned(other.peer_id()));
  (void)swarm.run(node.get("missing"));
  CHECK(node.protocol().table.find(other.id()));
}

TEST_CASE("A validator decides what is kept and what is believed, and wraps values") {
  struct Sealed {  // values end in a seal byte
    bool validate(const dht::RecordView& record) const { return !record.value.empty() && record.value.back() == 0x5e; }
    Bytes sign(const dht::RecordView& record) const {
      Bytes out = to_bytes(record.value);
      out.push_back(0x5e);
      return out;
    }
    Bytes strip(const dht::RecordView&, Bytes value) const {
      value.pop_back();
      return value;
    }
  };
  using SealedNode = dht::Node<sim::Host, Sealed>;
  sim::World world;
  auto a = world.run(SealedNode::create(sim::Host(world)));
  auto b = world.run(SealedNode::create(sim::Host(world), {.initial_peers = {a.peer_id()}}));
  auto open = world.run(Node::create(sim::Host(world), {.initial_peers = {a.peer_id()}}));
  const WallTime later = world.time().wall_now() + 60s;
  CHECK(world.run(a.store("k", "v", later)).accepted == 3);
  CHECK(world.run(b.get("k"))->value == Value("v"));
  const auto refused = world.run(open.store("other", 1, later));
  CHECK(refused == dht::StoreResult{.accepted = 1, .rejected = 2});
  CHECK_FALSE(refused);
  CHECK_FALSE(world.run(b.get("other", {.latest = true})));
}

TEST_CASE("A2 how long a request waits for its turn is not held against the node that it is for") {
  NodeOptions options;
  options.parallel_rpc = 1;
  options.num_replicas = 1;
  Swarm swarm(2, {}, options);
  Node& node = swarm.nodes[0];
  const auto before = swarm.world.calls(find);
  Scope scope(swarm.world.time().executor());
  for (int i = 0; i < 100; ++i) {
    scope.spawn([&, i]() -> awaitable<void> { CHECK_FALSE(co_await node.get(i)); });
  }
  const auto start = swarm.world.time().now();
  swarm.run(scope.join());
  CHECK(swarm.world.time().now() - start == 100 * 20ms);
  CHECK(swarm.world.calls(find) - before == 100);
  CHECK(node.protocol().answer_times.hedge_after(swarm.nodes[1].peer_id()) < 50ms);
}

TEST_CASE("A2 parallel_rpc bounds the requests in flight of the whole node") {
  for (const std::size_t most : {1U, 2U, 100U}) {
    NodeOptions options;
    options.parallel_rpc = most;
    Swarm swarm(8, {}, options);
    std::size_t now = 0;
    std::size_t highest = 0;
    sim::Host host(swarm.world);
    host.handle(ping, [&](Request) -> awaitable<Payload> {
      highest = std::max(highest, ++now);
      co_await swarm.world.time().sleep_until(swarm.world.time().now() + 50ms);
      --now;
      co_return codec::PingResponse{}.encode();
    });
    auto& protocol = swarm.nodes[0].protocol();
    Scope scope(swarm.world.time().executor());
    for (int i = 0; i < 10; ++i) {
      scope.spawn([&]() -> awaitable<void> {
        (void)co_await protocol.call_ping(protocol.shared_from_this(), host.self(), false);
      });
    }
    swarm.run(scope.join());
    CHECK(highest == std::min<std::size_t>(most, 10));
  }
}
