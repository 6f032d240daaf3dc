#include "skep/codec/dht_messages.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "skep/core/random.hpp"
#include "support/hostile.hpp"
#include "support/vectors.hpp"

using namespace skep;
using namespace skep::codec;
using skep_test::unhex;
using skep_test::vector_bytes;
using skep_test::vector_list;
using skep_test::vector_of;

namespace {

Bytes random_bytes(Random& random, std::size_t limit) {
  Bytes bytes(random.below(limit));
  random.fill(bytes);
  return bytes;
}

/// Decodes live bytes and demands them back byte for byte.
template <class Message>
Message same_bytes(const Bytes& bytes) {
  const auto message = Message::decode(bytes);
  REQUIRE(message);
  CHECK(to_hex(message->encode()) == to_hex(bytes));
  return *message;
}

template <class Message>
void survives_hostile(const Bytes& valid) {
  skep_test::for_hostile_bytes(valid, [](BytesView bytes) {
    const auto message = Message::decode(bytes);
    if (message)
      CHECK(Message::decode(message->encode())->encode() == message->encode());  // NaN is not equal to itself
  });
}

}  // namespace

TEST_CASE("a live ping, its answer and its call back") {
  const auto request = same_bytes<PingRequest>(vector_bytes("dht", "ping", "request"));
  CHECK(request.validate);
  CHECK(to_hex(request.peer.node_id) == "101112131415161718191a1b1c1d1e1f20212223");
  CHECK_FALSE(request.auth);
  const auto response = same_bytes<PingResponse>(vector_bytes("dht", "ping", "response"));
  CHECK(response.peer.node_id == vector_bytes("dht", "ping", "node_id"));
  CHECK(response.dht_time > 1.7e9);
  CHECK(response.available);
  const auto callback = same_bytes<PingRequest>(vector_bytes("dht", "ping", "callback_request"));
  CHECK_FALSE(callback.validate);
}

TEST_CASE("an authorized ping is written in canonical order, as its signature needs") {
  const auto request = same_bytes<PingRequest>(vector_bytes("dht", "authorized_ping", "request"));
  REQUIRE(request.auth);
  REQUIRE(request.auth->client_access_token);
  CHECK(request.auth->client_access_token->username == "me");
  CHECK(request.auth->nonce.size() == 8);
  CHECK(request.auth->time > 1.7e9);
  const auto response = same_bytes<PingResponse>(vector_bytes("dht", "authorized_ping", "response"));
  REQUIRE(response.auth);
  CHECK(response.auth->nonce == request.auth->nonce);
}

TEST_CASE("a live store and find") {
  const double expiration = vector_of("dht", "store_find").at("expiration").get<double>();
  const auto store = same_bytes<StoreRequest>(vector_bytes("dht", "store_find", "store_request"));
  CHECK(store.keys.size() == 1);
  CHECK(store.subkeys == std::vector<Bytes>{{0xc0}});
  CHECK(store.values == std::vector<Bytes>{unhex("a27631")});
  CHECK(store.expiration_times == std::vector<double>{expiration});
  CHECK(store.in_cache == Bools{false});
  const auto stored = same_bytes<StoreResponse>(vector_bytes("dht", "store_find", "store_response"));
  CHECK(stored.store_ok == Bools{true});

  const auto find = same_bytes<FindRequest>(vector_bytes("dht", "store_find", "find_request"));
  CHECK(find.keys.size() == 2);
  const auto found = same_bytes<FindResponse>(vector_bytes("dht", "store_find", "find_response"));
  REQUIRE(found.results.size() == 2);
  CHECK(found.results[0].type == FindResultType::found_regular);
  CHECK(found.results[0].value == unhex("a27631"));
  CHECK(found.results[0].expiration_time == expiration);
  CHECK(found.results[1].type == FindResultType::not_found);
  for (const auto& result : found.results) {
    CHECK(result.nearest_node_ids.size() == result.nearest_peer_ids.size());
    for (const auto& id : result.nearest_node_ids) CHECK(id.size() == 20);
  }
}

TEST_CASE("StoreRequests of live nodes: user records, a handoff, expert declarations, a signed record") {
  for (const auto& [section, name, count] :
       {std::tuple{"dht", "store_from_hivemind", 8}, {"dht", "handoff", 1}, {"moe", "declare_experts", 14}}) {
    CAPTURE(name);
    const auto requests = vector_list(section, name, "requests");
    CHECK(requests.size() == static_cast<std::size_t>(count));
    for (const auto& bytes : requests) {
      const auto request = same_bytes<StoreRequest>(bytes);
      CHECK_FALSE(request.keys.empty());
      CHECK(request.subkeys.size() == request.keys.size());
      CHECK(request.values.size() == request.keys.size());
      CHECK(request.expiration_times.size() == request.keys.size());
      CHECK(request.in_cache.size() == request.keys.size());
      CHECK(request.peer.node_id.size() == 20);
    }
  }
  same_bytes<StoreRequest>(vector_bytes("dht", "signed_by_hivemind", "request"));
}

TEST_CASE("a client's empty NodeInfo is written") {
  const StoreRequest request{
      .keys = {Bytes(20, 7)}, .subkeys = {{0xc0}}, .values = {{1}}, .expiration_times = {1.5}, .in_cache = {false}};
  CHECK(request.encode() == unhex("1214" + to_hex(Bytes(20, 7)) + "1a01c0 220101 2a08000000000000f83f 320100 3a00"));
  CHECK(to_hex(PingRequest{}.encode()) == "1200");
  CHECK(to_hex(PingResponse{}.encode()) == "1200");
}

TEST_CASE("a result that holds nothing still counts") {
  const FindResponse response{.results = {FindResult{}, FindResult{}}};
  CHECK(to_hex(response.encode()) == "120012001a00");
  CHECK(FindResponse::decode(response.encode())->results.size() == 2);
}

TEST_CASE("repeated numbers are read packed and unpacked, mixed too") {
  const auto request = StoreRequest::decode(unhex("29000000000000f83f 2a08000000000000f83f 3001 32020001 3000"));
  REQUIRE(request);
  CHECK(request->expiration_times == std::vector<double>{1.5, 1.5});
  CHECK(request->in_cache == Bools{true, false, true, false});
  CHECK(StoreResponse::decode(unhex("1001 12020100"))->store_ok == Bools{true, true, false});
}

TEST_CASE("a repeated single message merges, a repeated single value is replaced") {
  const auto request = PingRequest::decode(unhex("1203 0a0101 1200 1203 0a0102 1801 1800"));
  REQUIRE(request);
  CHECK(request->peer.node_id == Bytes{2});
  CHECK_FALSE(request->validate);
  const auto authorized = PingRequest::decode(unhex("0a03 220101 0a03 2a0102"));
  REQUIRE(authorized);
  CHECK(authorized->auth->nonce == Bytes{1});
  CHECK(authorized->auth->signature == Bytes{2});
}

TEST_CASE("an unknown kind of result is refused") {
  CHECK(FindResponse::decode(unhex("12020802")));
  CHECK(FindResponse::decode(unhex("12020803")).error() == errc::malformed);
}

TEST_CASE("too many entries are refused before they fill the memory") {
  Bytes keys;
  for (std::size_t i = 0; i < max_dht_entries; ++i) append(keys, Bytes{0x12, 0x00});
  CHECK(FindRequest::decode(keys)->keys.size() == max_dht_entries);
  CHECK(StoreRequest::decode(keys)->keys.size() == max_dht_entries);
  append(keys, Bytes{0x12, 0x00});
  CHECK(FindRequest::decode(keys).error() == errc::limit_exceeded);
  CHECK(StoreRequest::decode(keys).error() == errc::limit_exceeded);
  CHECK(FindResponse::decode(keys).error() == errc::limit_exceeded);  // empty results

  FindResult nearest;
  nearest.nearest_node_ids.assign(FindResult::max_nearest + 1, Bytes{});
  CHECK(FindResponse::decode(FindResponse{.results = {nearest}}.encode()).error() == errc::limit_exceeded);
}

TEST_CASE("random messages come back") {
  Random random(1);
  for (int round = 0; round < 300; ++round) {
    StoreRequest store;
    FindResponse found;
    for (auto n = random.below(6); n > 0; --n) {
      store.keys.push_back(random_bytes(random, 21));
      store.subkeys.push_back(random_bytes(random, 10));
      store.values.push_back(random_bytes(random, 300));
      store.expiration_times.push_back(random.unit() * 2e9);
      store.in_cache.push_back(random.below(2) == 1);
      FindResult result{static_cast<FindResultType>(random.below(3)), random_bytes(random, 300), random.unit()};
      for (auto k = random.below(4); k > 0; --k) {
        result.nearest_node_ids.push_back(random_bytes(random, 21));
        result.nearest_peer_ids.push_back(random_bytes(random, 39));
      }
      found.results.push_back(result);
    }
    store.peer.node_id = random_bytes(random, 21);
    CHECK(*StoreRequest::decode(store.encode()) == store);
    CHECK(*FindResponse::decode(found.encode()) == found);
    const StoreResponse stored{.store_ok = store.in_cache, .peer = store.peer};
    CHECK(*StoreResponse::decode(stored.encode()) == stored);
    const FindRequest find{.keys = store.keys, .peer = store.peer};
    CHECK(*FindRequest::decode(find.encode()) == find);
  }
}

TEST_CASE("hostile messages are read or refused") {
  survives_hostile<PingRequest>(vector_bytes("dht", "authorized_ping", "request"));
  survives_hostile<PingResponse>(vector_bytes("dht", "authorized_ping", "response"));
  survives_hostile<StoreRequest>(vector_list("dht", "handoff", "requests").front());
  survives_hostile<StoreResponse>(vector_bytes("dht", "store_find", "store_response"));
  survives_hostile<FindRequest>(vector_bytes("dht", "store_find", "find_request"));
  survives_hostile<FindResponse>(vector_bytes("dht", "store_find", "find_response"));
}
