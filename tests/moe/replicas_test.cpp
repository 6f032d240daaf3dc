#include "skep/moe/replicas.hpp"

#include <string>
#include <vector>

#include "skep/dht/node.hpp"
#include "skep/sim/network.hpp"
#include "support/experts.hpp"
#include "support/simulated_nodes.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;
using Node = dht::Node<sim::Host>;

TEST_CASE("H-28 replicas stand under a key that is neither a uid nor a prefix, by peer id") {
  const auto records = moe::replica_records({"ffn.3", "ffn.4"}, test::peer(1), WallTime{100});
  REQUIRE(records.size() == 2);
  const std::string key = *records[0].key.get_if<std::string>();
  CHECK(key == "ffn.3.replicas");
  CHECK_FALSE(moe::is_valid_uid(key));
  CHECK_FALSE(moe::is_valid_prefix(key + "."));
  CHECK(*records[0].subkey == codec::msgpack::Value(test::peer(1).to_string()));
  CHECK(records[0].expiration == WallTime{100});
  const auto back = moe::replica_withdrawals({"ffn.3"}, test::peer(1), WallTime{100});
  CHECK(back[0].value.is_nil());
  CHECK(back[0].expiration > WallTime{100});
  CHECK(back[0].subkey == records[0].subkey);
  CHECK_THROWS_AS((void)moe::replica_records({"no uid"}, test::peer(1), WallTime{100}), Error);
}

TEST_CASE("H-28 the owner comes first, everyone once, and what is no record of a server is skipped") {
  const auto entry = [](codec::msgpack::Value subkey, codec::msgpack::Value value) {
    return dht::FoundItem{std::move(subkey), std::move(value), WallTime{100}};
  };
  const codec::msgpack::Array told;
  const dht::Found owner{.value = test::peer(2).to_string(), .expiration = WallTime{100}};
  dht::Found dictionary{.value = {}, .expiration = WallTime{100}, .is_dictionary = true};
  dictionary.items = {entry(test::peer(1).to_string(), told),
                      entry(test::peer(2).to_string(), told),
                      entry(test::peer(3).to_string(), {}),
                      entry(7, told),
                      entry("no peer", told),
                      entry(test::peer(4).to_string(), told)};
  using Experts = std::vector<moe::ExpertInfo>;
  CHECK(moe::replicas_of("ffn.3", owner, dictionary) ==
        Experts{{"ffn.3", test::peer(2)}, {"ffn.3", test::peer(1)}, {"ffn.3", test::peer(4)}});
  CHECK(moe::replicas_of("ffn.3", owner, std::nullopt) == Experts{{"ffn.3", test::peer(2)}});
  CHECK(moe::replicas_of("ffn.3", dictionary, owner).empty());
  for (std::uint8_t i = 10; i < 60; ++i) dictionary.items.push_back(entry(test::peer(i).to_string(), told));
  CHECK(moe::replicas_of("ffn.3", owner, dictionary).size() == moe::max_replicas);
}

TEST_CASE("H-28 two servers of one expert are both found, until one takes it back") {
  sim::World world;
  auto nodes = test::simulated_nodes(world, 4);
  world.run([&]() -> awaitable<void> {
    const WallTime until = nodes[0].now() + 60s;
    for (const int server : {0, 1}) {
      auto& node = nodes[static_cast<std::size_t>(server)];
      co_await moe::declare_experts(node, {"ffn.3"}, until + std::chrono::seconds(server));
      co_await node.store_many(moe::replica_records({"ffn.3"}, node.peer_id(), until), {});
    }
    const auto both = co_await moe::find_replicas(nodes[3], "ffn.3");
    CHECK(both == std::vector<moe::ExpertInfo>{{"ffn.3", nodes[1].peer_id()}, {"ffn.3", nodes[0].peer_id()}});
    co_await nodes[0].store_many(moe::replica_withdrawals({"ffn.3"}, nodes[0].peer_id(), until), {});
    const auto one = co_await moe::find_replicas(nodes[3], "ffn.3");
    CHECK(one == std::vector<moe::ExpertInfo>{{"ffn.3", nodes[1].peer_id()}});
    CHECK((co_await moe::find_replicas(nodes[3], "ffn.4")).empty());
  }());
}
