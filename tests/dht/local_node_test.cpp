#include "skep/dht/local_node.hpp"

#include <limits>
#include <vector>

#include <doctest/doctest.h>
#include "skep/codec/msgpack.hpp"

using namespace skep;
using codec::FindRequest;
using codec::FindResult;
using codec::FindResultType;
using codec::StoreRequest;
using codec::msgpack::encode;
using codec::msgpack::Value;
using dht::DHTID;
using dht::FindResultView;
using dht::Item;
using dht::NodeOptions;
using LocalNode = dht::LocalNode<dht::AcceptAll>;

namespace {
p2p::PeerId peer(std::uint8_t n) { return *p2p::PeerId::from_bytes(Bytes{0, 1, n}); }
DHTID id(std::uint8_t n) {
  Bytes bytes(20);
  bytes.front() = n;
  return *DHTID::from_bytes(bytes);
}
LocalNode node(NodeOptions options = {}) { return {id(0), peer(0), std::move(options), {}}; }
codec::FindResponse ask(LocalNode& local, const std::vector<DHTID>& keys, WallTime now) {
  FindRequest request;
  for (const auto& key : keys) request.keys.push_back(to_bytes(key.bytes()));
  const auto bytes = local.answer(request, now);
  return *codec::FindResponse::decode(*bytes);
}
}  // namespace

TEST_CASE("A4.9 of storage and cache the newer record is given, dictionaries joined") {
  LocalNode local = node();
  CHECK(local.keep({id(1), dht::regular_tag(), encode("old"), {10}}, false, {0}));
  CHECK(local.keep({id(1), dht::regular_tag(), encode("new"), {20}}, true, {0}));
  CHECK(local.keep({id(2), encode(1), encode("a"), {10}}, false, {0}));
  CHECK(local.keep({id(2), encode(2), encode("b"), {20}}, true, {0}));
  auto response = ask(local, {id(1), id(2), id(3)}, {5});
  REQUIRE(response.results.size() == 3);
  CHECK(response.results[0].value == encode("new"));
  CHECK(response.results[0].expiration_time == 20);
  CHECK(response.results[1].type == FindResultType::found_dictionary);
  CHECK(dht::Dictionary::decode(response.results[1].value)->items().size() == 2);
  CHECK(response.results[2].type == FindResultType::not_found);
  response = ask(local, {id(2)}, {15});  // one item is over by then
  CHECK(dht::Dictionary::decode(response.results[0].value)->items().size() == 1);
}

TEST_CASE("A4.1 a client introduces itself with nothing") {
  CHECK(node().info().node_id.size() == 20);
  CHECK(node({.client_mode = true}).info().node_id.empty());
  CHECK_FALSE(LocalNode::id_in({}));
  CHECK_FALSE(LocalNode::id_in({Bytes(21, 1)}));
  CHECK(LocalNode::id_in({Bytes{7}}));
}

TEST_CASE("an answer holds no more than a message may, but always the neighbours") {
  LocalNode local = node();
  local.table.heard(id(9), peer(9));
  std::vector<DHTID> keys;
  for (std::uint8_t i = 1; i < 9; ++i) {
    keys.push_back(id(i));
    CHECK(local.keep({keys.back(), dht::regular_tag(), encode(Bytes(900'000)), {10}}, false, {0}));
  }
  const auto response = ask(local, keys, {5});
  std::size_t found = 0;
  for (const auto& result : response.results) {
    found += result.type != FindResultType::not_found;
    CHECK(result.nearest_node_ids.size() == 1);
  }
  CHECK(found == 4);
  CHECK(response.encode().size() < 4 * 1024 * 1024);
}

TEST_CASE("A3.18 however many keys are asked for, the answer fits into a message and names somebody for each") {
  LocalNode local = node({.bucket_size = 200});
  Bytes longest(p2p::PeerId::max_size);
  longest[1] = static_cast<std::uint8_t>(longest.size() - 2);
  for (std::uint8_t n = 1; n < 150; ++n) {
    longest.back() = n;
    local.table.heard(id(n), *p2p::PeerId::from_bytes(longest));
  }
  for (int i = 0; i < 3; ++i) {
    CHECK(local.keep({dht::key_id(i), dht::regular_tag(), encode(Bytes(1'000'000)), {10}}, false, {0}));
  }
  std::vector<DHTID> keys;
  for (int i = 0; i < 1024; ++i) keys.push_back(dht::key_id(i));
  auto response = ask(local, keys, {5});
  CHECK(response.encode().size() <= LocalNode::message_limit);
  REQUIRE(response.results.size() == 1024);
  for (const auto& result : response.results) CHECK(result.nearest_node_ids.size() >= 40);
  keys.resize(100);
  response = ask(local, keys, {5});
  CHECK(response.encode().size() <= LocalNode::message_limit);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    CHECK((response.results[i].type == FindResultType::found_regular) == (i < 3));
    CHECK(response.results[i].nearest_node_ids.size() == FindResultView::max_neighbours);
  }
  const FindRequest flood{.keys = std::vector<Bytes>(1025, Bytes(20))};
  CHECK(local.answer(flood, {5}).error() == errc::limit_exceeded);
}

TEST_CASE("only what is valid, readable and not over is believed of others") {
  LocalNode local = node();
  const auto believe = [&](const FindResult& result) {
    const Bytes bytes = codec::encode_message(result);
    return local.believe(id(1), *FindResultView::read(bytes), {100});
  };
  FindResult regular;
  regular.type = FindResultType::found_regular;
  regular.value = encode(1);
  regular.expiration_time = 200;
  CHECK(believe(regular).record->value()->value == encode(1));
  regular.expiration_time = 99;
  CHECK_FALSE(believe(regular).record);
  CHECK(believe(regular).sound);
  regular.expiration_time = std::numeric_limits<double>::infinity();
  CHECK_FALSE(believe(regular).sound);
  regular.expiration_time = 200;
  regular.value = {0xc1};
  CHECK_FALSE(believe(regular).record);
  CHECK_FALSE(believe(regular).sound);

  dht::Dictionary dictionary;
  dictionary.store(encode("good"), Item{encode(1), {200}});
  dictionary.store(encode("over"), Item{encode(1), {90}});
  dictionary.store(encode("bad"), Item{{0xc1}, {200}});
  FindResult several;
  several.type = FindResultType::found_dictionary;
  several.value = dictionary.encode({0});
  const auto answer = believe(several);
  CHECK_FALSE(answer.sound);
  REQUIRE(answer.record);
  CHECK(answer.record->dictionary()->items().size() == 1);
  several.value = {1, 2, 3};
  CHECK_FALSE(believe(several).record);
}

TEST_CASE("A3.22 A3.33 neighbours are taken without this node, the banned, and more than there is use for") {
  LocalNode local = node();
  local.blacklist.failed(peer(5), SteadyTime(1s));
  FindResult result;
  const auto add = [&](Bytes node_id, Bytes peer_id) {
    result.nearest_node_ids.push_back(std::move(node_id));
    result.nearest_peer_ids.push_back(std::move(peer_id));
  };
  add(to_bytes(id(0).bytes()), to_bytes(peer(7).bytes()));  // our id
  add(to_bytes(id(7).bytes()), to_bytes(peer(0).bytes()));  // our peer
  add(to_bytes(id(5).bytes()), to_bytes(peer(5).bytes()));  // banned
  add(Bytes(21, 1), to_bytes(peer(6).bytes()));
  add(to_bytes(id(6).bytes()), {1});
  add(to_bytes(id(99).bytes()), to_bytes(peer(99).bytes()));  // known already
  add(to_bytes(id(8).bytes()), to_bytes(peer(8).bytes()));
  result.nearest_node_ids.push_back(Bytes{9});  // nobody's
  const auto neighbours = [&] {
    const Bytes bytes = codec::encode_message(result);
    const auto known = [](const DHTID& node) { return node == id(99); };
    return local.neighbours(*FindResultView::read(bytes), SteadyTime(2s), known);
  };
  REQUIRE(neighbours().size() == 1);
  CHECK(neighbours()[0] == dht::NodeEntry{id(8), peer(8)});
  for (std::uint8_t n = 10; n < 210; ++n) add(to_bytes(id(n).bytes()), to_bytes(peer(n).bytes()));
  CHECK(neighbours().size() <= FindResultView::max_neighbours);
}

TEST_CASE("A4.10 a newcomer gets what it is nearer to than the farthest replica, from the nearest who had it") {
  LocalNode local = node({.num_replicas = 2});
  for (std::uint8_t n = 1; n < 4; ++n) {
    local.keep({id(n), dht::regular_tag(), encode(n), {10}}, false, {0});
  }
  CHECK(local.keys_for(id(0x80), {0}).size() == 3);  // nobody else is known
  local.table.heard(id(0x40), peer(1));
  local.table.heard(id(0x41), peer(2));
  CHECK(local.keys_for(id(0x80), {0}).empty());      // farther than both
  CHECK(local.keys_for(id(0x20), {0}).size() == 3);  // nearer
  local.table.heard(id(0x02), peer(3));              // nearer than we are to 2 and 3
  CHECK(local.keys_for(id(0x20), {0}) == std::vector{id(1)});
  CHECK(local.keys_for(id(0x20), {10}).empty());
}

TEST_CASE("H-27 a node that names the whole table and nobody else says the same about any key") {
  LocalNode local = node();
  for (std::uint8_t n = 1; n < 6; ++n) local.table.heard(id(n), peer(n));
  const auto whole = [&](const std::vector<std::uint8_t>& named) {
    FindResult result;
    for (const std::uint8_t n : named) {
      result.nearest_node_ids.push_back(to_bytes(id(n).bytes()));
      result.nearest_peer_ids.push_back(to_bytes(peer(n).bytes()));
    }
    const Bytes bytes = codec::encode_message(result);
    return local.names_whole_table(id(3), *FindResultView::read(bytes));
  };
  CHECK(whole({1, 2, 4, 5}));
  CHECK(whole({5, 4, 2, 1, 0}));  // and ourselves
  CHECK_FALSE(whole({1, 2, 4}));
  CHECK_FALSE(whole({1, 2, 4, 5, 6}));  // somebody new
  CHECK_FALSE(whole({1, 2, 4, 6}));
  CHECK_FALSE(whole({}));
}

namespace {
/// Writes down what it is shown.
struct Watching : dht::LeavesValues {
  std::vector<std::pair<DHTID, std::vector<Bytes>>>* seen;
  bool validate(const dht::RecordView& record) const {
    seen->push_back({record.key, {to_bytes(record.subkey), to_bytes(record.value)}});
    return record.expiration == WallTime{10};
  }
};
}  // namespace

TEST_CASE(
    "A8.1 validators see a record by its key's hash, with the bytes of its subkey and value, and its expiration") {
  std::vector<std::pair<DHTID, std::vector<Bytes>>> seen;
  dht::LocalNode<Watching> local(id(0), peer(0), {}, Watching{{}, &seen});
  CHECK(local.keep({dht::key_id("k"), dht::regular_tag(), encode(1), {10}}, false, {0}));
  CHECK(local.keep({dht::key_id("d"), encode("s"), encode(2), {10}}, false, {0}));
  CHECK_FALSE(local.keep({dht::key_id("d"), encode("s"), encode(3), {11}}, false, {0}));
  REQUIRE(seen.size() == 3);
  CHECK(seen[0].first == dht::key_id("k"));
  CHECK(seen[0].first.bytes().size() == 20);
  CHECK(seen[0].second == std::vector<Bytes>{{0xc0}, encode(1)});
  CHECK(seen[1].second == std::vector<Bytes>{encode("s"), encode(2)});
}
