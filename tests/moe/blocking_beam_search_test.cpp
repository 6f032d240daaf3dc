#include "skep/moe/blocking_beam_search.hpp"

#include "skep/moe/declare.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;

TEST_CASE("the four searches wait for their result, or give a future") {
  dht::DHT server({.host_maddrs = {"/ip4/127.0.0.1/tcp/0"}});
  dht::DHT client({.initial_peers = server.visible_maddrs(), .client_mode = true});
  const auto declared = server.run_coroutine(
      [](auto node) { return moe::declare_experts(node, {"ffn.0.1", "ffn.2.3"}, node.now() + 60s); });
  for (const auto& record : declared) REQUIRE(record.stored);

  moe::BlockingBeamSearcher searcher(client, "ffn", {4, 4});
  CHECK(searcher.uid_prefix() == "ffn.");
  const std::vector<std::vector<float>> scores{{0, 1, 2, 3}, {0, 1, 2, 3}};
  const std::vector<std::vector<std::vector<float>>> batch{{scores[0]}, {scores[1]}};
  const auto best = searcher.find_best_experts(scores, 4);
  REQUIRE(best.size() == 2);
  CHECK_FALSE(best.partial);
  CHECK(best[0] == moe::ExpertInfo{"ffn.2.3", server.peer_id()});
  CHECK(best[1].uid == "ffn.0.1");
  CHECK(searcher.batch_find_best_experts(batch, 4).at(0) == best);
  CHECK(searcher.get_initial_beam(scores[0], 1).at(0).prefix == "ffn.2.");
  CHECK(searcher.get_active_successors({"ffn.0."}).at("ffn.0.").at(1).uid == "ffn.0.1");

  auto future = searcher.find_best_experts_future(scores, 4);
  auto futures = searcher.batch_find_best_experts_future(batch, 4);
  auto beam = searcher.get_initial_beam_future(scores[0], 1);
  auto active = searcher.get_active_successors_future({"ffn.0."});
  CHECK(future.get() == best);
  CHECK(futures.get().at(0) == best);
  CHECK(beam.get().size() == 1);
  CHECK(active.get().size() == 1);

  client.shutdown();
  CHECK_THROWS_AS((void)searcher.find_best_experts(scores, 4), Error);
}
