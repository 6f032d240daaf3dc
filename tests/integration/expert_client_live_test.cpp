// skep as the client of a Hivemind 1.1.12 server: remote experts forward and backward with the numbers that Hivemind's
// own client gets from an equal copy, streams, several inputs and outputs, refusals, and a mixture.
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <vector>

#include "skep/async/runner.hpp"
#include "skep/dht/dht.hpp"
#include "skep/moe/client/mixture.hpp"
#include "skep/moe/client/remote_expert.hpp"
#include "support/driver.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using nlohmann::json;
using skep::dht::DHT;
using skep_test::Driver;
using torch::Tensor;
using namespace skep::moe;  // NOLINT(*-using-namespace)

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

template <class Call>
std::string words_of(Call call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

/// The driver on a thread of its own, since the test blocks.
class Hivemind {
 public:
  Hivemind() {
    runner_.block_on([this]() -> skep::awaitable<void> {
      driver_ = std::make_unique<Driver>(runner_.executor(), "expert_client_driver.py");
      co_return;
    });
  }
  ~Hivemind() {
    runner_.block_on([this]() -> skep::awaitable<void> {
      driver_.reset();
      co_return;
    });
  }
  Hivemind(const Hivemind&) = delete;
  Hivemind& operator=(const Hivemind&) = delete;

  json ask(const std::string& what, const json& arguments) { return runner_.block_on((*driver_)(what, arguments)); }

 private:
  skep::Runner runner_;
  std::unique_ptr<Driver> driver_;
};

}  // namespace

TEST_CASE("B2 B4 skep's RemoteExpert and RemoteMixtureOfExperts use a Hivemind server") {
  torch::manual_seed(7);
  Hivemind hivemind;
  const json peers = hivemind.ask("serve", {{"width", width}, {"wide", wide}});
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
