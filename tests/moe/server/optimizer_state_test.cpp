#include "skep/moe/server/optimizer_state.hpp"

#include <torch/optim/rmsprop.h>
#include "skep/moe/server/optimizers.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep::moe;  // NOLINT(*-using-namespace)

namespace {
/// Two parameters under one optimizer, the second in the middle of a module.
struct Trained {
  explicit Trained(const OptimizerFactory& factory)
      : parameters{{0, "weight", torch::ones({2, 3}).requires_grad_()}, {4, "bias", torch::ones({3}).requires_grad_()}},
        optimizer(factory({parameters[0].tensor, parameters[1].tensor})) {}
  void step(double scale) {
    for (auto& parameter : parameters) {
      parameter.tensor.mutable_grad() = torch::full_like(parameter.tensor, scale).set_requires_grad(false);
    }
    optimizer->step();
  }
  [[nodiscard]] OptimizerState state() { return state_of(*optimizer, parameters); }
  void load(const OptimizerState& state) { prepare_load(*optimizer, parameters, state)(); }

  std::vector<TrainedParameter> parameters;
  std::unique_ptr<torch::optim::Optimizer> optimizer;
};
std::string refusal(Trained& trained, const OptimizerState& state) {
  try {
    trained.load(state);
  } catch (const skep::Error& e) {
    return e.what();
  }
  return "";
}
OptimizerFactory momentum() { return make_optimizer<torch::optim::SGD>(torch::optim::SGDOptions(0.1).momentum(0.9)); }
}  // namespace

TEST_CASE("C4.8 an optimizer goes on from another's state as if nothing had happened") {
  const auto rmsprop = make_optimizer<torch::optim::RMSprop>(torch::optim::RMSpropOptions(0.1));
  for (const auto& factory : {adam(0.1), adamw(0.1), lamb(0.1), sgd(0.1), momentum(), rmsprop}) {
    Trained first(factory), second(factory);
    first.step(1);
    first.step(-3);
    second.step(7);  // to be forgotten
    second.load(first.state());
    const at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < 2; ++i) second.parameters[i].tensor.copy_(first.parameters[i].tensor);
    first.step(2);
    second.step(2);
    for (std::size_t i = 0; i < 2; ++i) CHECK(at::equal(first.parameters[i].tensor, second.parameters[i].tensor));
  }
}

TEST_CASE("the state has Python's names and the module's positions, and shares nothing") {
  Trained trained(adam(0.1));
  CHECK(trained.state().state.empty());
  trained.step(1);
  const auto state = trained.state();
  CHECK(state.options.at("lr").toDouble() == 0.1);
  CHECK(state.options.at("betas").toTuple()->elements()[1].toDouble() == 0.999);
  CHECK(state.state.contains(0));
  CHECK(state.state.at(4).at("step").toTensor().item<float>() == 1);
  const auto before = state.state.at(4).at("exp_avg").toTensor().clone();
  trained.step(5);
  CHECK(at::equal(state.state.at(4).at("exp_avg").toTensor(), before));
  Trained plain(momentum());
  plain.step(1);
  CHECK(plain.state().state.at(0).at("momentum_buffer").toTensor().sizes() == at::IntArrayRef({2, 3}));
}

TEST_CASE("Python's forms of a number are taken: whole rates, steps as numbers, absent momentum as None") {
  Trained trained(adam());
  trained.step(1);
  auto state = trained.state();
  state.options["lr"] = std::int64_t{1};
  state.state[0]["step"] = std::int64_t{5};
  state.state[0]["max_exp_avg_sq"] = c10::IValue();
  trained.load(state);
  CHECK(trained.state().options.at("lr").toDouble() == 1);
  CHECK(trained.state().state.at(0).at("step").toTensor().item<float>() == 5);
  Trained plain(sgd());
  plain.load({.state = {{0, {{"momentum_buffer", c10::IValue()}}}}, .options = {{"lr", 0.5}}});
  CHECK(plain.state().options.at("lr").toDouble() == 0.5);
}

TEST_CASE("a state that does not fit is a sentence and changes nothing") {
  Trained trained(adam(0.1)), other(momentum());
  trained.step(1);
  other.step(1);
  const auto good = trained.state();
  auto state = good;
  state.state[4].erase("exp_avg");
  state.options["lr"] = 7.0;
  CHECK(refusal(trained, state) == "skep: \"bias\" has no \"exp_avg\"");
  state = good;
  state.state[4]["exp_avg"] = torch::ones({5});
  CHECK(refusal(trained, state) == "skep: \"exp_avg\" of \"bias\" is not a tensor of the parameter's shape");
  state = good;
  state.state[4]["step"] = "soon";
  CHECK(refusal(trained, state) == "skep: \"bias\" has no whole number \"step\"");
  state = good;
  state.options["betas"] = 0.9;
  CHECK(refusal(trained, state) == "skep: the option \"betas\" is not a pair of numbers");
  CHECK(refusal(trained, other.state()) == "skep: \"weight\" has no whole number \"step\"");
  CHECK(refusal(other, good) == "skep: \"weight\" has \"exp_avg\", which this optimizer does not keep");
  CHECK(trained.state().options.at("lr").toDouble() == 0.1);
  CHECK(trained.state().state.at(4).at("step").toTensor().item<float>() == 1);

  Trained unknown(make_optimizer<torch::optim::RMSprop>(torch::optim::RMSpropOptions(0.1)));
  CHECK(refusal(unknown, good) == "skep: it has no \"archive\" of this kind of optimizer");
  CHECK(refusal(unknown, {.options = {{"archive", torch::zeros({8}, at::kByte)}}})
            .starts_with("skep: its \"archive\" cannot be read: "));
}
