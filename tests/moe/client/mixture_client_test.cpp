#include "skep/moe/client/mixture_client.hpp"

#include "skep/moe/client/mixture.hpp"
#include "skep/moe/server/layers.hpp"
#include "skep/moe/server/server.hpp"
// doctest last
#include "support/coroutine.hpp"

using namespace skep::moe;
using namespace std::chrono_literals;

TEST_CASE("one pass by hand: choose, plan, call forward and backward, and what the report says of it") {
  skep::dht::DHT dht({.host_maddrs = {"/ip4/127.0.0.1/tcp/0"}});
  Server<Nop> server(
      dht, {.experts = {{.expert_cls = "nop", .expert_uids = {"nop.0", "nop.1"}, .expert = {.hidden_dim = 4}}}});
  server.start();
  skep::dht::DHT joined({.initial_peers = dht.visible_maddrs(), .client_mode = true});
  std::vector<MixtureReport> reports;
  MixtureClient client({.in_features = 4,
                        .grid_size = {2},
                        .dht = joined,
                        .uid_prefix = "nop.",
                        .k_best = 1,
                        .observer = [&](const MixtureReport& report) { reports.push_back(report); }});

  MixturePass pass;
  pass.choice = client.choose({1, 0, 0, 1, 1, 0}, 3);  // rows 0 and 2 prefer nop.0, row 1 nop.1
  REQUIRE(pass.choice.rows() == 3);
  REQUIRE(pass.choice.experts.size() == 2);
  pass.contract = client.contract(pass.choice);
  pass.plan = plan_dispatch(pass.choice);
  CHECK(pass.plan.calls() == 2);  // one request for each expert
  pass.rows = at::empty({3}, at::kLong);
  std::copy(pass.plan.rows.begin(), pass.plan.rows.end(), pass.rows.data_ptr<std::int64_t>());
  const auto input = at::randn({3, 4});
  pass.inputs = {input.index_select(0, pass.rows)};
  const auto outputs = client.forward(pass);
  REQUIRE(outputs.size() == 1);
  CHECK(at::equal(outputs[0], pass.inputs[0]));
  const auto gradients = client.backward(pass, {at::ones({3, 4})});
  REQUIRE(gradients.size() == 1);
  CHECK(at::equal(gradients[0], at::ones({3, 4})));

  REQUIRE(reports.size() == 2);
  CHECK_FALSE(reports[0].backward);
  CHECK(reports[0].rows == 3);
  CHECK(reports[0].alive() == 2);
  CHECK(reports[1].backward);
  server.shutdown();
}
