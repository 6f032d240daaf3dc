#include "skep/moe/server/expert_core.hpp"

#include <torch/nn/modules/batchnorm.h>

#include <atomic>
#include <limits>
#include <thread>

#include "skep/moe/server/typed_module.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep::moe;  // NOLINT(*-using-namespace)

namespace {
/// A batch norm, then a dropout, then a weight; it throws half way for samples above 100.
struct NormedImpl : torch::nn::Module {
  explicit NormedImpl(std::int64_t width)
      : norm(register_module("norm", torch::nn::BatchNorm1d(width))),
        weight(register_parameter("weight", torch::ones({width}))) {}
  Tensor forward(const Tensor& x) {
    const Tensor normed = at::dropout(norm->forward(x), 0.5, is_training());
    if ((x > 100).any().item<bool>()) throw std::invalid_argument("a sample above 100");
    return normed * weight;
  }
  torch::nn::BatchNorm1d norm;
  Tensor weight;
};
TORCH_MODULE(Normed);

/// y = x * weight, and how many samples each call computed.
struct ScaleImpl : torch::nn::Module {
  explicit ScaleImpl(std::int64_t width) : weight(register_parameter("weight", torch::ones({width}))) {}
  Tensor forward(const Tensor& x) {
    batches.push_back(x.size(0));
    return x * weight;
  }
  Tensor weight;
  std::vector<std::int64_t> batches;
};
TORCH_MODULE(Scale);

template <class Module>
struct Core : ExpertCore {
  Core(Module m, const BackendOptions& options, const std::string& uid = "expert.0")
      : ExpertCore(uid, skep::moe::detail::TypedModule<Module>::describe(uid, m, row(2), Compression::none), options),
        module(std::move(m)) {}
  Module module;
};
template <class F>
std::string words(F&& f) {
  try {
    f();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "";
}
std::vector<Tensor> everything(const ExpertState& state) {
  std::vector<Tensor> all;
  for (const auto& item : state.parameters) all.push_back(item.value());
  for (const auto& item : state.buffers) all.push_back(item.value());
  for (const auto& [position, values] : state.optimizer->state) all.push_back(values.at("exp_avg").toTensor());
  return all;
}
bool same(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  return std::ranges::equal(a, b, [](const Tensor& x, const Tensor& y) { return at::equal(x, y); });
}
}  // namespace

TEST_CASE("C4.7 running statistics count each trained sample once, and forward leaves them alone") {
  Core core(Normed(2), {.optimizer = sgd(0.1)});
  const auto mean = [&] { return core.module->norm->running_mean; };
  CHECK(at::equal(mean(), torch::zeros({2})));  // the dry run for the schema counts nothing
  const std::vector<Tensor> request{torch::full({4, 2}, 10.F)};
  (void)core.forward(request);
  (void)core.forward(request);
  CHECK(at::equal(mean(), torch::zeros({2})));
  (void)core.backward(std::vector{request[0], torch::ones({4, 2})});
  CHECK(at::allclose(mean(), torch::ones({2})));  // one update with momentum 0.1
  CHECK(core.module->norm->num_batches_tracked.item<std::int64_t>() == 1);
  Core frozen(Normed(2), {.optimizer = no_optimizer()});
  (void)frozen.backward(std::vector{request[0], torch::ones({4, 2})});
  CHECK(at::equal(frozen.module->norm->running_mean, torch::zeros({2})));
}

TEST_CASE("a backward that fails half way leaves parameters, buffers, gradients and random numbers as they were") {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  Core core(Normed(2), {.max_batch_size = 2});
  const auto ones = torch::ones({6, 2});
  (void)core.backward(std::vector{torch::randn({6, 2}), ones});
  const auto before = everything(core.state());
  torch::manual_seed(5);
  const auto expected = torch::rand({3});
  torch::manual_seed(5);
  auto touchy = torch::randn({6, 2});
  touchy[5][1] = 1000;  // in the last of three parts
  torch::manual_seed(5);
  CHECK(words([&] { (void)core.backward(std::vector{touchy, ones}); }) == "a sample above 100");
  auto gradient = ones.clone();
  gradient[3][0] = nan;
  CHECK(words([&] { (void)core.backward(std::vector{ones, gradient}); }) ==
        "skep: expert expert.0 refused the request: output gradient 0 is not finite");
  auto input = ones.clone();
  input[3][0] = nan;
  CHECK(words([&] {
          (void)core.backward(std::vector{input, ones});
        }).starts_with("skep: expert expert.0 refused the request: the gradient of \""));
  CHECK(core.trainer().refused() == 2);
  CHECK(core.trainer().updates() == 1);
  CHECK(same(everything(core.state()), before));
  for (const auto& parameter : core.module->parameters()) CHECK_FALSE(parameter.grad().defined());
  CHECK(at::equal(torch::rand({3}), expected));
}

TEST_CASE("H-32 a backward above the maximum batch is computed in parts and makes one step") {
  Core core(Scale(2), {.optimizer = sgd(1), .max_batch_size = 4}), whole(Scale(2), {.optimizer = sgd(1)});
  const std::vector request{torch::randn({10, 2}), torch::randn({10, 2})};
  core.module->batches.clear();
  const auto gradients = core.backward(request);
  CHECK(core.module->batches == std::vector<std::int64_t>{4, 4, 2});
  CHECK(core.trainer().updates() == 1);
  CHECK(at::allclose(gradients[0], whole.backward(request)[0]));
  CHECK(at::allclose(core.module->weight, whole.module->weight));
}

TEST_CASE("C4.3 B2.7 an empty batch is refused in Hivemind's words, one that the module cannot compute in LibTorch's") {
  Core core(Scale(2), {});
  CHECK(words([&] { (void)core.forward(std::vector{torch::ones({0, 2})}); }) ==
        "skep: Batch should contain more than 0 samples");
  CHECK(
      words([&] { (void)core.forward(std::vector{torch::ones({1, 3})}); }) ==
      "skep: expert expert.0 cannot compute the request: The size of tensor a (3) must match the size of tensor b (2) "
      "at non-singleton dimension 1");
}

TEST_CASE("C4.8 an expert goes on from another's state as if nothing had happened") {
  torch::manual_seed(1);
  const BackendOptions options{.optimizer = adam(0.1), .schedule = {LearningRateSchedule::Kind::linear, 2, 9}};
  Core first(Normed(2), options), second(Normed(2), options);
  for (int i = 0; i < 3; ++i) (void)first.backward(std::vector{torch::randn({4, 2}), torch::randn({4, 2})});
  const auto state = first.state();
  CHECK(state.parameters.size() == 3);
  CHECK(state.buffers.contains("norm.running_mean"));
  CHECK(state.updates == 3);
  second.load_state(state);
  const std::vector request{torch::randn({4, 2}), torch::randn({4, 2})};
  for (auto* core : {&first, &second}) {
    torch::manual_seed(7);
    (void)core->backward(request);
  }
  CHECK(same(everything(first.state()), everything(second.state())));
  CHECK_FALSE(same(everything(first.state()), everything(state)));  // a copy, which training did not reach
}

TEST_CASE("C4.8 a state that does not fit is one sentence and changes nothing") {
  Core core(Normed(2), {});
  (void)core.backward(std::vector{torch::randn({4, 2}), torch::ones({4, 2})});
  const auto before = core.state();
  const auto refusal = [&](auto&& spoil) {
    auto state = core.state();
    for (auto& item : state.parameters) item.value().fill_(7);
    spoil(state);
    return words([&] { core.load_state(state); });
  };
  const std::string begin = "skep: expert expert.0 cannot take the state: ";
  CHECK(refusal([](auto& s) { s.parameters.erase("weight"); }) == begin + "it has no parameter \"weight\"");
  CHECK(refusal([](auto& s) { s.buffers.insert("extra", torch::ones({1})); }) ==
        begin + "the expert has no buffer \"extra\"");
  CHECK(refusal([](auto& s) { s.parameters["norm.bias"] = torch::ones({3}); }) ==
        begin + "parameter \"norm.bias\" is float32[3], expected float32[2]");
  CHECK(refusal([](auto& s) { s.optimizer->options["lr"] = "high"; }) == begin + "the option \"lr\" is not a number");
  CHECK(same(everything(core.state()), everything(before)));
  auto bare = before;
  bare.optimizer.reset();
  CHECK_NOTHROW(core.load_state(bare));  // as Hivemind: a warning, and the optimizer goes on
}

TEST_CASE("a state is taken between two batches while training goes on") {
  Core core(Scale(2), {.optimizer = sgd(1)});
  std::atomic<bool> done = false;
  std::thread training([&] {
    const std::vector request{torch::ones({1, 2}), torch::full({1, 2}, -1.F)};
    while (!done) (void)core.backward(request);
  });
  for (int i = 0; i < 20; ++i) {
    const auto state = core.state();  // each update adds 1 to each weight
    CHECK(at::equal(state.parameters["weight"], torch::full({2}, 1 + static_cast<float>(state.updates))));
  }
  done = true;
  training.join();
}

TEST_CASE("C4.9 on_backward trains with gradients that somebody else computed") {
  Core core(Scale(2), {.optimizer = sgd(1)});
  core.module->weight.mutable_grad() = torch::ones({2});
  core.on_backward(3);
  CHECK(at::equal(core.module->weight, torch::zeros({2})));
  CHECK_FALSE(core.module->weight.grad().defined());
}
