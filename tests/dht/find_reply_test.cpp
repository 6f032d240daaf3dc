#include "skep/dht/find_reply.hpp"

#include <vector>

#include <doctest/doctest.h>
#include "skep/codec/dht_messages.hpp"
#include "support/vectors.hpp"

using namespace skep;
using dht::FindReply;

TEST_CASE("a recorded answer of Hivemind reads as its message does") {
  const Bytes recorded = skep_test::vector_bytes("dht", "store_find", "find_response");
  const auto message = codec::FindResponse::decode(recorded);
  const auto reply = FindReply::read(recorded);
  REQUIRE(reply);
  CHECK(reply->peer == message->peer);
  REQUIRE(reply->results.size() == message->results.size());
  for (std::size_t i = 0; i < reply->results.size(); ++i) {
    const auto& view = reply->results[i];
    const auto& result = message->results[i];
    CHECK(view.type == result.type);
    CHECK(to_bytes(view.value) == result.value);
    CHECK(view.expiration_time == result.expiration_time);
    std::vector<Bytes> ids;
    view.for_each_neighbour([&](const dht::DHTID& id, BytesView) { ids.push_back(to_bytes(id.bytes())); });
    CHECK(ids == result.nearest_node_ids);
  }
}

TEST_CASE("neighbours without a sound id are left out, and so is what has no counterpart") {
  codec::FindResponse response;
  auto& result = response.results.emplace_back();
  result.nearest_node_ids = {Bytes(20, 1), Bytes(21, 1), Bytes(20, 3), Bytes(20, 4)};
  result.nearest_peer_ids = {{0, 1, 1}, {0, 1, 2}, {0, 1, 3}};
  const Bytes bytes = response.encode();
  const auto reply = FindReply::read(bytes);
  std::vector<Bytes> seen;
  reply->results.at(0).for_each_neighbour([&](const dht::DHTID&, BytesView peer) { seen.push_back(to_bytes(peer)); });
  CHECK(seen == std::vector<Bytes>{{0, 1, 1}, {0, 1, 3}});
}

TEST_CASE("foreign bytes never throw: every cut and every flipped byte of an answer") {
  const Bytes recorded = skep_test::vector_bytes("dht", "store_find", "find_response");
  const auto look = [](BytesView bytes) {
    if (const auto reply = FindReply::read(bytes)) {
      for (const auto& result : reply->results) result.for_each_neighbour([](const dht::DHTID&, BytesView) {});
    }
  };
  for (std::size_t i = 0; i < recorded.size(); ++i) {
    CHECK_NOTHROW(look(BytesView(recorded).first(i)));
    Bytes flipped = recorded;
    flipped[i] ^= 0x55;
    CHECK_NOTHROW(look(flipped));
  }
}
