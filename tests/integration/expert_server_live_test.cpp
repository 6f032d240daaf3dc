// Hivemind 1.1.12 as the client of a skep server: it finds the experts through the DHT, asks what they are, calls them
// forward and backward, unary and streamed, and trains a mixture of them.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "skep/dht/dht.hpp"
#include "skep/moe/server/server.hpp"
#include "support/coroutine.hpp"
#include "support/driver.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using nlohmann::json;
using skep::dht::DHT;
using skep_test::Driver;
using namespace skep::moe;  // NOLINT(*-using-namespace)

namespace {

/// Nested lists of a float tensor.
json lists(const torch::Tensor& tensor) {
  if (tensor.dim() == 0) return tensor.item<float>();
  json items = json::array();
  for (const auto& item : tensor.unbind()) items.push_back(lists(item));
  return items;
}

json weights_of(const ExpertBackend& expert) {
  json weights;
  auto& module = const_cast<ModuleBackend<Ffn>&>(dynamic_cast<const ModuleBackend<Ffn>&>(expert)).module();
  for (const auto& item : module->named_parameters()) weights[item.key()] = lists(item.value().detach());
  return weights;
}

}  // namespace

CO_TEST_CASE("C Hivemind's RemoteExpert, MoEBeamSearcher and RemoteMixtureOfExperts use a skep server") {
  DHT dht({.host_maddrs = {"/ip4/127.0.0.1/tcp/0"}});
  Server<Ffn, Nop> server(
      dht, {.experts = {{.expert_cls = "ffn", .expert_uids = {"ffn.0.1"}, .expert = {.hidden_dim = 16}},
                        {.expert_cls = "nop", .expert_uids = {"wide.0"}, .expert = {.hidden_dim = 1024}},
                        {.expert_cls = "nop", .num_experts = 4, .expert_pattern = "nop.[0:2].[0:2]", .expert = {8}}}});
  server.start();
  Driver hivemind(co_await skep::this_executor, "expert_server_driver.py");
  const json peers{{"initial_peers", dht.visible_maddrs()}};
  co_await hivemind("join", peers);

  // the DHT
  const json names{{"uids", {"ffn.0.1", "wide.0", "nop.1.1", "nop.2.2"}}};
  const json found = co_await hivemind("find", names);
  const std::string self = dht.peer_id().to_string();
  CHECK(found == json{self, self, self, nullptr});
  const json search{{"prefix", "nop."}, {"grid_size", {2, 2}}, {"scores", {{0, 1}, {3, 0}}}, {"beam_size", 3}};
  const json best = co_await hivemind("beam", search);
  CHECK(best == json{"nop.1.0", "nop.0.0", "nop.1.1"});

  // what the expert says about itself
  const json which{{"uid", "ffn.0.1"}};
  const json info = co_await hivemind("info", which);
  CHECK(info == json{{"args", {{{nullptr, 16}, "torch.float32", false}}},
                     {"kwargs", json::array()},
                     {"outputs", {{nullptr, 16}, "torch.float32", true}},
                     {"keyword_names", json::array()}});

  // equal numbers from equal weights, over several steps of the optimizer
  const ExpertBackend& ffn = *server.experts().at("ffn.0.1");
  json training{{"uid", "ffn.0.1"}, {"weights", weights_of(ffn)}, {"rows", 32}, {"steps", 4}, {"learning_rate", 1e-3}};
  const json apart = co_await hivemind("ffn", training);
  REQUIRE(apart.size() == 4);
  for (const auto& step : apart) {
    CHECK(step[0].get<double>() < 1e-5);
    CHECK(step[1].get<double>() < 1e-5);
  }
  CHECK(ffn.update_count() == 4);

  // small and large: 1,500 rows are 6 MB and go as a stream of several chunks
  for (const int rows : {1, 600, 1500}) {
    const json call{{"uid", "wide.0"}, {"rows", rows}, {"width", 1024}};
    const json echo = co_await hivemind("nop", call);
    CHECK(echo.at("forward").get<double>() == 0);
    CHECK(echo.at("backward").get<double>() == 0);
  }

  // refusals arrive as a sentence, unary and streamed, and harm nobody
  const json wrong{{"uid", "wide.0"}, {"rows", 2}, {"width", 1025}};
  const json sentence = co_await hivemind("refusal", wrong);
  CHECK(sentence.get<std::string>().find("expert wide.0 refused the request: input 0 is float32[2, 1025], expected "
                                         "float32[batch, 1024]") != std::string::npos);
  const json wrong_stream{{"uid", "wide.0"}, {"rows", 2000}, {"width", 1025}};
  const json streamed = co_await hivemind("refusal", wrong_stream);
  CHECK(streamed.get<std::string>().find("input 0 is float32[2000, 1025]") != std::string::npos);

  // a mixture
  const json step{{"prefix", "nop."}, {"grid_size", {2, 2}}, {"width", 8}, {"rows", 5}};
  const json mixed = co_await hivemind("mixture", step);
  CHECK(mixed.at("forward").get<double>() < 1e-5);
  CHECK(mixed.at("backward").get<double>() < 1e-5);
  CHECK(mixed.at("gate").get<double>() < 1e-4);  // every expert gives the same, so no choice is better

  server.shutdown();
}
