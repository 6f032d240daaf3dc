#include "skep/moe/client/mixture_client.hpp"

#include "moe/client/swarm.hpp"
#include "skep/moe/client/mixture.hpp"
#include "skep/moe/server/layers.hpp"
#include "skep/moe/server/server.hpp"
#include "support/members.hpp"
// doctest last
#include "support/coroutine.hpp"

using namespace skep::moe;
using namespace std::chrono_literals;

TEST_CASE("one pass by hand in a moderated swarm: choose, plan, call forward and backward, what the report says") {
  const skep::test::Members members;
  skep::dht::DHT dht({.host_maddrs = {"/ip4/127.0.0.1/tcp/0"}, .node = {.authorizer = members.join()}});
  Server<Nop> server(
      dht, {.experts = {{.expert_cls = "nop", .expert_uids = {"nop.0", "nop.1"}, .expert = {.hidden_dim = 4}}},
            .guard_calls = true});
  server.start();
  skep::dht::DHT joined(
      {.initial_peers = dht.visible_maddrs(), .client_mode = true, .node = {.authorizer = members.join()}});
  std::vector<MixtureReport> reports;
  MixtureClient client({.in_features = 4,
                        .grid_size = {2},
                        .dht = joined,
                        .uid_prefix = "nop.",
                        .k_best = 1,
                        .observer = [&](const MixtureReport& report) { reports.push_back(report); }});

  ExpertChoice choice = client.choose({1, 0, 0, 1, 1, 0}, 3);  // rows 0 and 2 prefer nop.0, row 1 nop.1
  REQUIRE(choice.rows() == 3);
  REQUIRE(choice.experts.size() == 2);
  auto contract = client.contract(choice);
  MixturePass pass = MixturePass::make(std::move(choice), std::move(contract));
  CHECK(pass.plan.calls() == 2);  // one request for each expert
  const auto input = at::randn({3, 4});
  const auto outputs = client.forward(pass, {input});
  REQUIRE(outputs.size() == 1);
  CHECK(at::equal(outputs[0], pass.inputs[0]));
  const auto [gradients, answered] = client.backward(pass, {at::ones({3, 4})});
  CHECK(answered == std::vector<bool>{true, true});
  REQUIRE(gradients.size() == 1);
  CHECK(at::equal(gradients[0], at::ones({3, 4})));

  REQUIRE(reports.size() == 2);
  CHECK_FALSE(reports[0].backward);
  CHECK(reports[0].rows == 3);
  CHECK(reports[0].alive() == 2);
  CHECK(reports[1].backward);
  server.shutdown();
}

namespace {

/// Two servers of one expert each, and what a mixture's client needs.
struct Two {
  Two() {
    const BackendOptions options{.expert = {.hidden_dim = 4}, .optimizer = nullptr};
    first = std::make_unique<skep::test::ExpertServer>(std::vector<std::string>{}, options);
    second = std::make_unique<skep::test::ExpertServer>(first->addresses(), options);
    first->add<Scale>("e.0");
    second->add<Scale>("e.1");
    first->start();
    second->start();
    dht.emplace(skep::test::client_of(*first));
  }
  [[nodiscard]] MixtureOptions options() const {
    return {.in_features = 4,
            .grid_size = {2},
            .dht = *dht,
            .uid_prefix = "e.",
            .k_best = 2,
            .forward_timeout = 300ms,
            .backward_timeout = 300ms};
  }
  static MixturePass pass_of(MixtureClient& client, std::size_t rows) {
    ExpertChoice choice = client.choose(std::vector<Score>(rows * 2, 1.0F), rows);
    auto contract = client.contract(choice);
    return MixturePass::make(std::move(choice), std::move(contract));
  }
  static std::vector<torch::Tensor> rows(std::int64_t count) { return {torch::ones({count, 4})}; }

  std::unique_ptr<skep::test::ExpertServer> first, second;
  std::optional<skep::dht::DHT> dht;
};

std::vector<std::string> uids(const ExpertChoice& choice) {
  std::vector<std::string> names;
  for (const auto& expert : choice.experts) names.push_back(expert.uid);
  return names;
}
using Uids = std::vector<std::string>;

}  // namespace

TEST_CASE("B5.6 who failed is not chosen again for a while, but before nobody is") {
  Two two;
  MixtureClient client(two.options());
  MixturePass pass = Two::pass_of(client, 3);
  CHECK(uids(pass.choice) == Uids{"e.0", "e.1"});
  two.second->hang();
  const auto outputs = client.forward(pass, Two::rows(3));
  CHECK(pass.answers == std::vector<std::uint32_t>{1, 1, 1});
  const std::int64_t alive = pass.alive[0] ? 0 : 1;
  CHECK(outputs.at(0).narrow(0, alive * 3, 3).gt(0).all().item<bool>());
  CHECK(outputs.at(0).narrow(0, (1 - alive) * 3, 3).eq(0).all().item<bool>());
  CHECK(uids(client.choose({1, 2}, 1)) == Uids{"e.0"});

  two.first->hang();
  MixturePass last = Two::pass_of(client, 1);
  CHECK_THROWS_AS((void)client.forward(last, Two::rows(1)), skep::Error);  // k_min is 1, and zeros are not allowed
  CHECK(uids(client.choose({1, 2}, 1)) == Uids{"e.1", "e.0"});             // better one that failed than none
}

TEST_CASE("with allow_zero_outputs nobody is better than one that failed") {
  Two two;
  auto options = two.options();
  options.allow_zero_outputs = true;
  MixtureClient client(options);
  MixturePass pass = Two::pass_of(client, 1);
  two.first->hang();
  two.second->hang();
  CHECK(client.forward(pass, Two::rows(1)).at(0).eq(0).all().item<bool>());
  CHECK(pass.answers == std::vector<std::uint32_t>{0});
  CHECK(client.choose({1, 2}, 1).experts.empty());
}

TEST_CASE("B6.10 a search that is out of time and found nobody is an error, or zeros where these are allowed") {
  Two two;
  MixtureClient known(two.options());
  auto options = two.options();
  options.uid_prefix = "unknown.";
  options.time_budget = skep::Duration(1);
  MixtureClient strict(options);
  (void)strict.contract(known.choose({1, 2}, 1));
  CHECK_THROWS_WITH_AS((void)strict.choose({1, 2, 1, 2}, 2), doctest::Contains("within 0 ms"), skep::Error);

  options.allow_zero_outputs = true;
  MixtureClient lenient(options);
  CHECK_THROWS_AS((void)lenient.choose({1, 2}, 1), skep::Error);  // zeros of what form?
  (void)lenient.contract(known.choose({1, 2}, 1));
  const ExpertChoice choice = lenient.choose({1, 2, 1, 2}, 2);
  CHECK(choice.experts.empty());
  CHECK(choice.rows() == 2);
  CHECK(choice.is_partial(1));
}

TEST_CASE("B5.6 better one that failed than none where the search is out of time, too") {
  const BackendOptions of_width{.expert = {.hidden_dim = 4}, .optimizer = nullptr};
  skep::test::ExpertServer home({}, of_width);  // it keeps the records that the other one declares
  skep::test::ExpertServer server(home.addresses(), of_width);
  server.add<Scale>("e.0");
  server.start();
  MixtureClient client({.in_features = 4,
                        .grid_size = {2},
                        .dht = home.dht(),
                        .uid_prefix = "e.",
                        .k_best = 1,
                        .forward_timeout = 300ms,
                        .time_budget = skep::Duration(1)});
  MixturePass pass = Two::pass_of(client, 1);
  server.hang();
  CHECK_THROWS_AS((void)client.forward(pass, Two::rows(1)), skep::Error);
  const ExpertChoice choice = client.choose({1, 2}, 1);
  CHECK(uids(choice) == Uids{"e.0"});
  CHECK(choice.is_partial(0));
}

TEST_CASE("a contract that inputs or answers do not fit is dropped, and another expert tells the next one") {
  Two two;
  const auto wide = [&] {
    two.first->replace("e.0", std::make_shared<ModuleBackend<Scale>>("e.0", two.first->options(8)));
  };
  SUBCASE("inputs") {
    wide();
    RemoteMixtureOfExperts moe(two.options());
    {
      const torch::NoGradGuard no_grad;
      moe->proj->weight.zero_();
      moe->proj->bias.copy_(torch::tensor({1.0F, 0.0F}));  // e.0 is the best and asked first
    }
    CHECK_THROWS_WITH_AS((void)moe(torch::ones({2, 4})),
                         doctest::Contains("the experts under \"e.\" refused the request"), skep::Error);
    CHECK(at::equal(moe(torch::ones({2, 4})), torch::linspace(1, 2, 4).expand({2, 4})));
  }
  SUBCASE("answers") {
    MixtureClient client(two.options());
    MixturePass pass = Two::pass_of(client, 1);
    const auto contract = client.known_contract();
    CHECK(contract);
    for (auto* server : {two.first.get(), two.second.get()}) {
      server->dht().run_coroutine([](auto node) -> skep::awaitable<void> {
        auto network = node.network();
        network.handle("ConnectionHandler.rpc_forward",
                       [](const skep::p2p::Request&) -> skep::awaitable<skep::p2p::Payload> {
                         co_return skep::p2p::Payload(skep::to_bytes("no tensors"));
                       });
        co_return;
      });
    }
    CHECK_THROWS_AS((void)client.forward(pass, Two::rows(1)), skep::Error);
    CHECK(client.is_doubted());
    CHECK(client.contract({}) == contract);  // still the form of zeros
    CHECK(client.contract(pass.choice) != contract);
    CHECK_FALSE(client.is_doubted());
  }
}

TEST_CASE("no expert: who was asked and what to do") {
  Two two;
  auto options = two.options();
  options.uid_prefix = "f.";
  options.grid_size = {3, 5};
  MixtureClient client(options);
  try {
    client.throw_no_expert();
  } catch (const skep::Error& error) {
    CHECK(error.code() == make_error_code(skep::errc::not_found));
    CHECK(std::string(error.what()) ==
          "skep: no expert found under \"f.\" on a 3 x 5 grid; the DHT has 2 peers and no key \"f.\": are servers "
          "running, and is the prefix right?");
  }
  CHECK_THROWS_AS((void)client.contract({}), skep::Error);
}
