#include "skep/moe/withdraw.hpp"

#include <string>
#include <vector>

#include "skep/dht/node.hpp"
#include "skep/sim/network.hpp"
#include "support/experts.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;
using Node = dht::Node<sim::Host>;

namespace {

constexpr WallTime declared{1000};

dht::Found dictionary(std::vector<std::pair<int, moe::ExpertInfo>> entries) {
  dht::Found found{.value = {}, .expiration = declared, .is_dictionary = true};
  for (const auto& [coordinate, expert] : entries) {
    found.items.push_back({coordinate, moe::detail::endpoint_value(expert), declared});
  }
  return found;
}
dht::Found owner(std::uint8_t peer) { return {.value = test::peer(peer).to_string(), .expiration = declared}; }

// "ffn.5. [7]: ffn.5.7 of peer 1", or "...: nil".
std::vector<std::string> lines(const std::vector<dht::StoreItem>& records) {
  std::vector<std::string> all;
  for (const auto& record : records) {
    std::string line = *record.key.get_if<std::string>();
    if (record.subkey) line += " [" + std::to_string(*record.subkey->get_if<std::int64_t>()) + "]";
    const auto expert = moe::detail::endpoint_of_value(record.value);
    line += expert ? ": " + expert->uid : ": nil";
    CHECK(record.expiration == declared + std::chrono::milliseconds(1));
    all.push_back(std::move(line));
  }
  return all;
}

}  // namespace

TEST_CASE("H-30: withdrawing replaces every record of an expert that is alone by nil") {
  const moe::ExpertInfo mine{"ffn.5.7.9", test::peer(1)};
  const auto records = moe::withdrawal_records(
      {"ffn.5.7.9"}, test::peer(1), declared,
      {{"ffn.5.7.9", owner(1)}, {"ffn.5.7.", dictionary({{9, mine}})}, {"ffn.5.", dictionary({{7, mine}})}});
  CHECK(lines(records) == std::vector<std::string>{"ffn.5.7.9: nil", "ffn.5.7. [9]: nil", "ffn.5. [7]: nil"});
}

TEST_CASE("H-30: an example that stands for a prefix passes to a living sibling of another server") {
  const moe::ExpertInfo mine{"ffn.5.7.9", test::peer(1)};
  const moe::ExpertInfo also_mine{"ffn.5.7.3", test::peer(1)};
  const moe::ExpertInfo sibling{"ffn.5.7.4", test::peer(2)};
  const auto records = moe::withdrawal_records({"ffn.5.7.9", "ffn.5.7.3"}, test::peer(1), declared,
                                               {{"ffn.5.7.9", owner(1)},
                                                {"ffn.5.7.3", owner(1)},
                                                {"ffn.5.7.", dictionary({{9, mine}, {3, also_mine}, {4, sibling}})},
                                                {"ffn.5.", dictionary({{7, mine}})}});
  CHECK(lines(records) == std::vector<std::string>{"ffn.5.7.3: nil", "ffn.5.7.9: nil", "ffn.5.7. [3]: nil",
                                                   "ffn.5.7. [9]: nil", "ffn.5. [7]: ffn.5.7.4"});
}

TEST_CASE("H-30: what another server declared meanwhile is left alone") {
  const moe::ExpertInfo other{"ffn.5.8", test::peer(2)};
  CHECK(moe::withdrawal_records({"ffn.5.7"}, test::peer(1), declared,
                                {{"ffn.5.7", owner(2)}, {"ffn.5.", dictionary({{7, {"ffn.5.7", test::peer(2)}}})}})
            .empty());
  CHECK(lines(moe::withdrawal_records(
            {"ffn.5.7"}, test::peer(1), declared,
            {{"ffn.5.7", owner(1)}, {"ffn.5.", dictionary({{7, {"ffn.5.7", test::peer(1)}}, {8, other}})}})) ==
        std::vector<std::string>{"ffn.5.7: nil", "ffn.5. [7]: nil"});
  CHECK(lines(moe::withdrawal_records(
            {"ffn.3"}, test::peer(1), declared,
            {{"ffn.3", std::nullopt}, {"ffn.3.", dictionary({{-1, {"ffn.3", test::peer(1)}}})}})) ==
        std::vector<std::string>{"ffn.3: nil", "ffn.3. [-1]: nil"});
}

TEST_CASE("H-30: a withdrawn expert is not found any more, a restart is found at once, siblings all the time") {
  sim::World world;
  std::vector<Node> nodes;
  for (int i = 0; i < 5; ++i) {
    world.run([&]() -> awaitable<void> {
      dht::NodeOptions options;
      if (!nodes.empty()) options.initial_peers = {nodes.front().peer_id()};
      nodes.push_back(co_await Node::create(sim::Host(world), std::move(options)));
    }());
  }
  world.run([&]() -> awaitable<void> {
    Node leaving = nodes[1];
    Node staying = nodes[2];
    Node client = nodes[4];
    co_await moe::declare_experts(staying, {"ffn.0.1.2"}, staying.now() + 60s);
    const WallTime until = leaving.now() + 60s;
    co_await moe::declare_experts(leaving, {"ffn.0.1.3", "ffn.7"}, until);
    const auto before = co_await client.get("ffn.0.", {.latest = true});
    REQUIRE(before);
    CHECK(moe::detail::endpoint_of_value(before->find(1)->value)->uid == "ffn.0.1.3");

    const auto withdrawn = co_await moe::withdraw_experts(leaving, {"ffn.0.1.3", "ffn.7"}, until);
    for (const auto& one : withdrawn) CHECK(one);
    const auto found = co_await moe::get_experts(client, {"ffn.0.1.3", "ffn.7", "ffn.0.1.2"}, {.latest = true});
    CHECK_FALSE(found[0]);
    CHECK_FALSE(found[1]);
    CHECK(found[2]);
    const auto after = co_await client.get("ffn.0.", {.latest = true});
    REQUIRE(after);
    CHECK(moe::detail::endpoint_of_value(after->find(1)->value) == moe::ExpertInfo{"ffn.0.1.2", staying.peer_id()});

    co_await moe::declare_experts(leaving, {"ffn.0.1.3", "ffn.7"}, leaving.now() + 10s);  // its life is shorter now
    const auto again = co_await moe::get_experts(client, {"ffn.0.1.3", "ffn.7"}, {.latest = true});
    CHECK(again[0]);
    CHECK(again[1]);
  }());
}
