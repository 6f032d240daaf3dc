#include "skep/moe/server/module_backend.hpp"

#include <cmath>

#include "moe/server/experts.hpp"
#include "skep/async/scope.hpp"
#include "skep/moe/server/layers.hpp"
#include "support/coroutine.hpp"

using namespace skep::moe;  // NOLINT(*-using-namespace)
using skep::awaitable;

namespace {
std::string words(const std::function<void()>& f) {
  try {
    f();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "";
}
awaitable<void> submit(ExpertPool& pool, std::vector<Tensor> tensors, std::vector<std::string>& log,
                       std::vector<Tensor>& results) {
  try {
    TensorBatch batch{std::move(tensors)};
    const auto result = co_await pool.submit_task(std::move(batch));
    results.push_back(result.tensors[0]);
  } catch (const std::exception& e) {
    log.emplace_back(e.what());
  }
}
}  // namespace

TEST_CASE("C4.3 forward computes without gradients") {
  ModuleBackend<Gated> backend("gated.0", {.expert = {.hidden_dim = 4}});
  const auto x = torch::randn({3, 4}), context = torch::randn({3, 4});
  const auto y = backend.forward({x, context});
  CHECK(at::allclose(y[0], backend.module()->forward(x, context)));
  CHECK_FALSE(y[0].requires_grad());
  CHECK(backend.schema().inputs().size() == 2);
  CHECK(backend.schema().outputs.leaf().requires_grad);
  CHECK(backend.parameter_count() == 20);
}

TEST_CASE("C4.4 C4.5 backward gives input gradients and makes one step, whatever the batch") {
  torch::manual_seed(2);
  ModuleBackend<Gated> backend("gated.0", {.expert = {.hidden_dim = 4}, .optimizer = sgd(0.1)});
  const auto before = backend.module()->gate->weight.detach().clone();
  const auto x = torch::randn({3, 4}), context = torch::randn({3, 4}), g = torch::randn({3, 4});

  const auto xx = x.clone().requires_grad_(), cc = context.clone().requires_grad_();
  const auto y = backend.module()->forward(xx, cc);
  const auto expected = torch::autograd::grad({y}, {xx, cc, backend.module()->gate->weight}, {g});

  const auto gradients = backend.backward({x, context, g});
  REQUIRE(gradients.size() == 2);
  CHECK(at::allclose(gradients[0], expected[0]));
  CHECK(at::allclose(gradients[1], expected[1]));
  CHECK(at::allclose(backend.module()->gate->weight, before - 0.1 * expected[2]));
  CHECK(backend.update_count() == 1);
  CHECK_FALSE(backend.module()->gate->weight.grad().defined());
  CHECK_FALSE(x.requires_grad());
}

TEST_CASE("C4.6 without an optimizer nothing is learned and nothing piles up") {
  ModuleBackend<Gated> backend("gated.0", {.expert = {.hidden_dim = 4}, .optimizer = no_optimizer()});
  const auto before = backend.module()->gate->weight.detach().clone();
  const auto x = torch::randn({3, 4});
  for (int i = 0; i < 2; ++i) CHECK(backend.backward({x, x, x})[0].defined());
  CHECK(at::equal(backend.module()->gate->weight, before));
  CHECK_FALSE(backend.module()->gate->weight.grad().defined());
  CHECK(backend.update_count() == 0);
}

TEST_CASE("H-13 keyword inputs, nested inputs and several outputs, in wire order") {
  ModuleBackend<Keywords> backend("keywords.0", {.expert = {.hidden_dim = 4}});
  const auto& schema = backend.schema();
  CHECK(schema.keyword_names == std::vector<std::string>{"zeta", "alpha"});
  CHECK(schema.args.items()[0].items().size() == 2);
  CHECK(schema.outputs.items()[1].items().size() == 2);
  const auto x = torch::randn({3, 4}), zeta = torch::randn({3, 4}), alpha = torch::randn({3, 1});
  const auto index = torch::ones({3, 2}, at::kLong);
  const auto y = backend.forward({x, index, alpha, zeta});  // x, index, then alpha before zeta
  REQUIRE(y.size() == 3);
  CHECK(at::allclose(y[0], x * zeta));
  CHECK(at::allclose(y[1], alpha + 1));
  CHECK(at::equal(y[2], index));
  const auto g = torch::ones({3, 4});
  const auto gradients = backend.backward({x, index, alpha, zeta, g, torch::ones({3, 1}), index});
  REQUIRE(gradients.size() == 4);
  CHECK(at::allclose(gradients[0], zeta));
  CHECK(at::equal(gradients[1], torch::zeros({3, 2}, at::kLong)));
  CHECK(at::allclose(gradients[2], torch::ones({3, 1})));
  CHECK(at::allclose(gradients[3], x));
}

TEST_CASE("H-13 C4.2 a module with keyword inputs alone is served and trained") {
  ModuleBackend<KeywordsOnly> backend("keywords.0", {.expert = {.hidden_dim = 4}, .optimizer = sgd(1)});
  CHECK(backend.schema().args.items().empty());
  CHECK(backend.schema().keyword_names == std::vector<std::string>{"scale", "input"});
  CHECK(backend.forward_check().size() == 2);
  const auto input = torch::ones({3, 4}), scale = torch::full({3, 1}, 2.F);
  CHECK(at::equal(backend.forward({input, scale})[0], input * 2));  // by sorted name
  CHECK(at::equal(backend.backward({input, scale, input})[0], input * 2));
  CHECK(backend.module()->w.item<float>() == 1 - 24);
  const auto info = ExpertSchema::decode(backend.get_info());
  REQUIRE(info);
  CHECK(info->kwargs.keys().size() == 2);
}

TEST_CASE("H-13 inputs and outputs may be dictionaries, whose keys the sample and the first outputs tell") {
  using Module = torch::nn::ModuleHolder<NamedImpl>;
  const auto sample = TensorTree::dict({"right", "left"}, {row(4), TensorTree::tuple({row(4), row(2, at::kLong)})});
  ModuleBackend<Module> backend("named.0", Module(), sample);
  CHECK(backend.schema().args.items()[0].keys() == std::vector<std::string>{"right", "left"});
  CHECK(backend.schema().outputs.keys() == std::vector<std::string>{"sum", "index"});
  const auto left = torch::randn({3, 4}), right = torch::randn({3, 4}), index = torch::ones({3, 2}, at::kLong);
  const auto y = backend.forward({left, index, right});  // on the wire by sorted key
  REQUIRE(y.size() == 2);
  CHECK(at::equal(y[0], index));
  CHECK(at::equal(y[1], left + right));
  CHECK(at::equal(backend.backward({left, index, right, index, left})[2], left));
}

TEST_CASE("an optimizer fixed at compile time keeps its type") {
  ModuleBackend<Touchy, torch::optim::SGD> backend("touchy.0", {.expert = {.hidden_dim = 2}},
                                                   torch::optim::SGDOptions(0.5).momentum(0.9));
  (void)backend.backward({torch::ones({1, 2}), torch::ones({1, 2})});
  CHECK(backend.module()->w.item<float>() == 0);
  const torch::optim::SGD& sgd = backend.optimizer();
  CHECK(sgd.state().size() == 1);
  ModuleBackend<torch::nn::Linear, torch::optim::Adam> linear("linear.0", torch::nn::Linear(2, 2), row(2), {});
  CHECK(static_cast<const torch::optim::AdamOptions&>(linear.optimizer().param_groups()[0].options()).lr() == 1e-3);
}

TEST_CASE("C1.8 B2.2 the schema is the sample's, and its bytes are Hivemind's for nop") {
  const ModuleBackend<Nop> nop("nop.0", {.expert = {.hidden_dim = 1024}});
  CHECK(nop.get_info().size() == 313);
  ModuleBackend<Gated> half("gated.0", {.expert = {.hidden_dim = 4}, .compression = Compression::float16});
  CHECK(half.schema().inputs()[1].compression == Compression::float16);
  CHECK(half.schema().flat_outputs()[0].compression == Compression::float16);  // H-19: the outputs too
}

TEST_CASE("a module that cannot compute its sample is named at once") {
  CHECK(words([] {
          const ModuleBackend<torch::nn::Linear> wrong("linear.0", torch::nn::Linear(4, 4), row(5));
        }).starts_with("skep: expert linear.0 (Linear) cannot compute the sample that its description gives: "));
  const ModuleBackend<torch::nn::Linear> right("linear.0", torch::nn::Linear(4, 2), row(4));
  CHECK(right.schema().outputs.leaf().to_string() == "float32[batch, 2]");
}

TEST_CASE("a wrong number of tensors is refused before anything is computed") {
  ModuleBackend<Gated> backend("gated.0", {.expert = {.hidden_dim = 4}});
  const auto x = torch::ones({1, 4});
  CHECK(words([&] { (void)backend.forward({x}); }) == "skep: expert gated.0 got 1 tensors, expected 2");
  CHECK(words([&] { (void)backend.backward({x, x}); }) == "skep: expert gated.0 got 2 tensors, expected 3");
}

CO_TEST_CASE("C4.8 requests go through two pools, batched") {
  Runtime runtime;
  ModuleBackend<Touchy> backend("touchy.0", {.expert = {.hidden_dim = 2}, .scheduler = runtime.scheduler()});
  CHECK(backend.forward_pool().name() == "touchy.0_forward");
  CHECK(backend.get_pools()[1].get().name() == "touchy.0_backward");
  skep::Scope scope(co_await skep::this_executor);
  std::vector<std::string> log;
  std::vector<Tensor> results;
  for (int i = 1; i <= 3; ++i) {
    scope.spawn(submit(backend.forward_pool(), {torch::full({i, 2}, i)}, log, results));
  }
  runtime.start();
  co_await scope.join();
  REQUIRE(results.size() == 3);
  for (const auto& result : results) CHECK(at::equal(result, torch::full({result.size(0), 2}, result.size(0))));
  CHECK(backend.forward_pool().statistics().batches == 1);
  runtime.shutdown();
}

CO_TEST_CASE("H-1 H-36 a request that makes the module throw or brings NaN fails alone and leaves no gradient behind") {
  Runtime runtime;
  ModuleBackend<Touchy> backend("touchy.0",
                                {.expert = {.hidden_dim = 2}, .optimizer = sgd(1), .scheduler = runtime.scheduler()});
  skep::Scope scope(co_await skep::this_executor);
  std::vector<std::string> log;
  std::vector<Tensor> results;
  for (const int value : {1, -1, 2}) {
    const auto x = torch::full({1, 2}, value, at::kFloat);
    scope.spawn(submit(backend.backward_pool(), {x, torch::ones({1, 2})}, log, results));
  }
  const auto poison = torch::full({1, 2}, std::nan(""), at::kFloat);
  scope.spawn(submit(backend.backward_pool(), {torch::ones({1, 2}), poison}, log, results));
  runtime.start();
  co_await scope.join();
  CHECK(log == std::vector<std::string>{"a negative sample",
                                        "skep: expert touchy.0 refused the request: output gradient 0 is not finite"});
  CHECK(backend.refused_gradients() == 2);  // in the batch of all, and alone
  CHECK(results.size() == 2);
  CHECK(backend.update_count() == 2);
  CHECK(backend.module()->w.item<float>() == doctest::Approx(1 - 2 - 4));
  runtime.shutdown();
}
