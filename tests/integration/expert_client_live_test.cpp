// skep as the client of a Hivemind 1.1.12 server: remote experts forward and backward with the numbers that Hivemind's
// own client gets from an equal copy, streams, several inputs and outputs, refusals, mixtures; and in a swarm where
// Hivemind and skep serve half of the experts each.
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "skep/async/runner.hpp"
#include "skep/dht/dht.hpp"
#include "skep/moe/client/mixture.hpp"
#include "skep/moe/client/remote_expert.hpp"
#include "skep/moe/client/switch_mixture.hpp"
#include "skep/moe/server/server.hpp"
#include "support/driver.hpp"
#include "support/words_of.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using nlohmann::json;
using skep::dht::DHT;
using skep::test::words_of;
using skep_test::Driver;
using torch::Tensor;
using namespace skep::moe;  // NOLINT(*-using-namespace)
using namespace std::chrono_literals;

namespace {

constexpr int64_t width = 16;
constexpr int64_t wide = 1024;

json lists(const Tensor& tensor) {
  json items = json::array();
  for (const auto& row : tensor.unbind()) {
    const Tensor values = row.contiguous();
    items.push_back(std::vector<float>(values.data_ptr<float>(), values.data_ptr<float>() + values.numel()));
  }
  return items;
}
Tensor tensor(const json& items) {
  std::vector<Tensor> rows;
  for (const auto& row : items) rows.push_back(torch::tensor(row.get<std::vector<float>>()));
  return torch::stack(rows);
}
float difference(const Tensor& a, const Tensor& b) { return (a.detach() - b.detach()).abs().max().item<float>(); }

struct Fitted {
  float first = 0;
  float last = 0;
  bool finite = true;
};

/// Fits fixed random numbers by a linear layer on top of `layer`, as the drivers do.
template <class Layer>
Fitted fit(Layer layer, std::vector<Tensor> parameters, int steps) {
  torch::manual_seed(1);
  const Tensor x = torch::randn({64, width}).requires_grad_();
  const Tensor target = torch::randn({64, 1});
  torch::nn::Linear head(width, 1);
  for (const Tensor& parameter : head->parameters()) parameters.push_back(parameter);
  torch::optim::Adam optimizer(parameters, torch::optim::AdamOptions(0.01));
  Fitted fitted;
  for (int step = 0; step < steps; ++step) {
    x.mutable_grad() = Tensor();
    optimizer.zero_grad();
    const Tensor loss = torch::mse_loss(head(layer(x)), target);
    loss.backward();
    for (const Tensor& parameter : parameters) fitted.finite &= parameter.grad().isfinite().all().item<bool>();
    fitted.finite &= x.grad().isfinite().all().item<bool>() && x.grad().abs().sum().item<float>() > 0;
    optimizer.step();
    fitted.last = loss.item<float>();
    if (step == 0) fitted.first = fitted.last;
  }
  return fitted;
}
void check_fit(const Fitted& fitted) {
  CAPTURE(fitted.first);
  CAPTURE(fitted.last);
  CHECK(fitted.finite);
  CHECK(fitted.last < 0.7F * fitted.first);
}

/// Each of these experts answers the same rows in another way after `train`.
template <class Train>
void check_learning(const DHT& dht, const std::vector<std::string>& uids, Train train) {
  const Tensor rows = torch::linspace(-1, 1, 4 * width).view({4, width});
  auto experts = get_experts(dht, uids);
  std::vector<Tensor> before;
  for (auto& expert : experts) before.push_back(expert->forward(rows));
  train();
  for (std::size_t i = 0; i < uids.size(); ++i) {
    CAPTURE(uids[i]);
    CHECK(difference(experts[i]->forward(rows), before[i]) > 1e-3F);
  }
}

/// The driver on a thread of its own, since the test blocks.
class Hivemind {
 public:
  Hivemind() = default;
  ~Hivemind() { end(); }
  Hivemind(const Hivemind&) = delete;
  Hivemind& operator=(const Hivemind&) = delete;

  /// Starts a server as the driver's function `what` describes it. @return its addresses
  json serve(const std::string& what, const json& arguments) {
    for (int attempt = 1;; ++attempt) {
      begin();
      try {
        return ask(what, arguments);
      } catch (const std::runtime_error& error) {
        if (attempt == 3 || !std::string_view(error.what()).starts_with("TimeoutError")) throw;
        end();
      }
    }
  }
  json ask(const std::string& what, const json& arguments) { return runner_.block_on((*driver_)(what, arguments)); }

 private:
  void begin() {
    runner_.block_on([this]() -> skep::awaitable<void> {
      driver_ = std::make_unique<Driver>(runner_.executor(), "expert_client_driver.py");
      co_return;
    });
  }
  void end() {
    runner_.block_on([this]() -> skep::awaitable<void> {
      driver_.reset();
      co_return;
    });
  }

  skep::Runner runner_;
  std::unique_ptr<Driver> driver_;
};

}  // namespace

TEST_CASE("B2 B4 skep's RemoteExpert and RemoteMixtureOfExperts use a Hivemind server") {
  torch::manual_seed(7);
  Hivemind hivemind;
  const json peers = hivemind.serve("serve", {{"width", width}, {"wide", wide}});
  const DHT dht({.initial_peers = peers.get<std::vector<std::string>>(), .client_mode = true});

  const auto experts = get_experts(dht, {"ffn.0.0", "wide.0", "nop.1.1", "nop.2.2"});
  REQUIRE(experts[0]);
  REQUIRE(experts[1]);
  REQUIRE(experts[2]);
  CHECK_FALSE(experts[3]);

  // the same numbers as Hivemind's client gets from the copy, over several steps of the server's optimizer
  auto ffn = experts[0];
  const ExpertSchema info = ffn->info();
  CHECK(info.inputs().at(0).to_string() == "float32[batch, 16]");
  CHECK(info.flat_outputs().at(0).requires_grad);
  for (int step = 0; step < 4; ++step) {
    const Tensor x = torch::randn({32, width}).requires_grad_();
    const Tensor gradient = torch::randn({32, width});
    const Tensor y = ffn->forward(x);
    y.backward(gradient);
    const json theirs =
        hivemind.ask("call", {{"uid", "ffn.1.0"}, {"x", lists(x.detach())}, {"gradient", lists(gradient)}});
    CHECK(difference(y, tensor(theirs.at("forward"))) < 1e-5);
    CHECK(difference(x.grad(), tensor(theirs.at("backward"))) < 1e-5);
  }

  // small and large: 1,500 rows are 6 MB and go as a stream of several chunks
  auto nop = experts[1];
  for (const int64_t rows : {1, 512, 600, 1500}) {
    const Tensor x = torch::randn({rows, wide}).requires_grad_();
    const Tensor gradient = torch::randn({rows, wide});
    const Tensor y = nop->forward(x);
    CHECK(y.equal(x));
    y.backward(gradient);
    CHECK(x.grad().equal(gradient));
  }

  // several inputs and outputs
  auto two = get_experts<std::tuple<Tensor, Tensor>(Tensor, Tensor)>(dht, {"two.0"})[0];
  REQUIRE(two);
  const Tensor x = torch::randn({5, width}).requires_grad_();
  const Tensor index = torch::arange(5).view({5, 1});
  const auto [product, negative] = two->forward(x, index);
  CHECK(product.equal(x * index));
  CHECK(negative.equal(-x));
  (product + negative).sum().backward();
  CHECK(x.grad().equal((index - 1).expand({5, width}).to(torch::kFloat)));

  // what does not fit is not sent, or Hivemind's pool would end; what Hivemind says itself is told
  CHECK(words_of([&] { (void)ffn->forward(torch::zeros({2, width + 1})); }) ==
        "skep: expert ffn.0.0 refused the request: input 0 is float32[2, 17], expected float32[batch, 16]");
  const std::string words = words_of([&] { (void)ffn->forward(torch::zeros({4097, width})); });
  CHECK(words.find("expert ffn.0.0 on ") != std::string::npos);
  CHECK(words.find("Task size greater than max_batch_size (4096)") != std::string::npos);
  RemoteExpert<> unknown({"ffn.7.7", ffn->peer_id()}, dht);
  CHECK(words_of([&] { (void)unknown->forward(torch::zeros({1, width})); }).find("ffn.7.7") != std::string::npos);

  // a mixture of experts that give back what they get does the same
  RemoteMixtureOfExperts moe(
      {.in_features = width, .grid_size = {2, 2}, .dht = dht, .uid_prefix = "nop.", .k_best = 2});
  const Tensor input = torch::randn({24, width}).requires_grad_();
  const Tensor gradient = torch::randn({24, width});
  const Tensor output = moe(input);
  output.backward(gradient);
  CHECK(difference(output, input) < 1e-5);
  CHECK(difference(input.grad(), gradient) < 1e-5);
  CHECK(moe->proj->weight.grad().abs().max().item<float>() < 1e-4);  // no choice is better than another
}

TEST_CASE(
    "B4 B7 skep's remote expert, mixture and switch mixture train a Hivemind server's experts, half a swarm too") {
  Hivemind hivemind;
  const json peers = hivemind.serve("serve_learners", {{"width", width}});
  const auto addresses = peers.get<std::vector<std::string>>();
  const DHT dht({.initial_peers = addresses, .client_mode = true});
  constexpr int steps = 25;
  const auto options = [&](const char* prefix) {
    return MixtureOptions{.in_features = width, .grid_size = {2, 2}, .dht = dht, .uid_prefix = prefix, .k_best = 4};
  };

  auto expert = get_experts(dht, {"learn.0.0"})[0];
  REQUIRE(expert);
  check_learning(dht, {"learn.0.0"},
                 [&] { check_fit(fit([&](const Tensor& x) { return expert->forward(x); }, {}, steps)); });

  const std::vector<std::string> uids{"learn.0.0", "learn.0.1", "learn.1.0", "learn.1.1"};
  RemoteMixtureOfExperts moe(options("learn."));
  check_learning(dht, uids, [&] { check_fit(fit([&](const Tensor& x) { return moe(x); }, moe->parameters(), steps)); });

  RemoteSwitchMixtureOfExperts switching(
      {.in_features = width, .grid_size = {2, 2}, .dht = dht, .uid_prefix = "learn.", .k_best = 4});
  Tensor balance;
  const auto layer = [&](const Tensor& x) {
    const auto [y, balancing_loss] = switching(x);
    balance = balancing_loss;
    return y;
  };
  check_learning(dht, uids, [&] { check_fit(fit(layer, switching->parameters(), steps)); });
  CHECK(balance.item<float>() == doctest::Approx(2).epsilon(0.1));  // 1 for each dimension, as all are asked

  // half of the experts stand in a server of skep's, and clients of both kinds train at once
  DHT serving({.initial_peers = addresses, .host_maddrs = {"/ip4/127.0.0.1/tcp/0"}});
  Server<Ffn> server(serving, {.experts = {{.expert_uids = {"mixed.1.0", "mixed.1.1"}, .expert = {width}}},
                               .optimizer = adam(1e-2),
                               .load_period = 100ms});
  server.start();
  auto all = options("mixed.");
  all.k_min = 4;
  RemoteMixtureOfExperts mixed(all);
  check_learning(dht, {"mixed.0.0", "mixed.0.1", "mixed.1.0", "mixed.1.1"}, [&] {
    auto theirs = std::async(std::launch::async, [&] {
      const json what{{"prefix", "mixed."}, {"grid_size", {2, 2}}, {"width", width}, {"steps", 12}};
      return hivemind.ask("train_mixture", what);
    });
    check_fit(fit([&](const Tensor& x) { return mixed(x); }, mixed->parameters(), steps));
    const json fitted = theirs.get();
    check_fit({fitted.at("first"), fitted.at("last"), fitted.at("finite")});
  });
  // H-25: Hivemind's client found its experts in spite of the load that stands beside ours
  const auto beside = serving.get("mixed.1.");
  REQUIRE(beside);
  CHECK(beside->value.dump().find("load:" + serving.peer_id().to_string()) != std::string::npos);
  for (const auto& [uid, backend] : server.experts()) CHECK(backend->update_count() > steps);  // ours are one a step
}
