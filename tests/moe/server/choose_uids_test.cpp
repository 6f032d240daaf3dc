#include "skep/moe/server/choose_uids.hpp"

#include <string>
#include <vector>

#include "skep/dht/node.hpp"
#include "skep/sim/network.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep;
using Uids = std::vector<std::string>;
using Node = dht::Node<sim::Host>;

TEST_CASE("C1.7: experts that have checkpoints are taken first, by the only group that draws") {
  const std::vector<moe::ExpertGroup> groups{{.num_experts = 3, .expert_pattern = "ffn.[0:4]"},
                                             {.expert_uids = {"nop.0"}}};
  CHECK(moe::saved_uids(groups, {"ffn.2", "nop.0", "other.7"}) == std::vector<Uids>{{"ffn.2", "other.7"}, {}});
  CHECK(moe::saved_uids(groups, {}) == std::vector<Uids>{{}, {}});
}

TEST_CASE("C1.7: of several groups that draw each takes the checkpoints of its pattern") {
  const std::vector<moe::ExpertGroup> groups{{.num_experts = 2, .expert_pattern = "ffn.[0:4].[0:4]"},
                                             {.num_experts = 2}};
  CHECK(moe::saved_uids(groups, {"expert.1", "expert.999", "ffn.1.2", "ffn.1.9"}) ==
        std::vector<Uids>{{"ffn.1.2"}, {"expert.1"}});
}

TEST_CASE("C1.7: more checkpoints than experts are an error with a sentence") {
  try {
    (void)moe::saved_uids({{.num_experts = 1}}, {"expert.0", "expert.4"});
    FAIL("nothing was thrown");
  } catch (const Error& e) {
    CHECK(std::string(e.what()) ==
          "skep: there are checkpoints of 2 experts (expert.0, expert.4), more than the 1 that are to be served: raise "
          "num_experts, or move some away");
  }
}

TEST_CASE("C1.7, C1.15: drawn uids are neither served by others nor taken already") {
  sim::World world;
  world.run([&]() -> awaitable<void> {
    const dht::NodeOptions alone;
    Node node = co_await Node::create(sim::Host(world), alone);
    co_await moe::declare_experts(node, {"expert.0", "ffn.1"}, node.now() + 60s);
    const auto plain = co_await moe::free_uids(node, "", 2, {"expert.1"}, 7);
    CHECK(plain == Uids{"expert.2", "expert.3"});
    auto drawn = co_await moe::free_uids(node, "ffn.[0:4]", 4, {"ffn.3"}, 7);
    std::sort(drawn.begin(), drawn.end());
    CHECK(drawn == Uids{"ffn.0", "ffn.2"});
    const auto none = co_await moe::free_uids(node, "ffn.[1:2]", 1, {}, 7);
    CHECK(none.empty());
  }());
}
