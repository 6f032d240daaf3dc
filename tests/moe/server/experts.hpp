// Experts of the tests: one written as the documentation says, some with keyword inputs, several outputs and
// dictionaries, a failing one.
#pragma once

#include <array>
#include <stdexcept>
#include <tuple>

#include "skep/moe/server/expert.hpp"

struct GatedImpl : torch::nn::Module {
  explicit GatedImpl(int64_t width) : gate(register_module("gate", torch::nn::Linear(width, width))) {}
  torch::Tensor forward(torch::Tensor x, torch::Tensor context) { return x * torch::sigmoid(gate->forward(context)); }
  torch::nn::Linear gate;
};
TORCH_MODULE(Gated);
template <>
struct skep::moe::Expert<Gated> {
  static constexpr auto name = "gated";
  static auto make(const ExpertOptions& o) { return Gated(o.hidden_dim); }
  static auto sample(const ExpertOptions& o) { return std::tuple{row(o.hidden_dim), row(o.hidden_dim)}; }
};

/// forward((x, index), zeta, alpha) -> (x * zeta, (alpha + 1, index)); no parameters.
struct KeywordsImpl : torch::nn::Module {
  using Both = std::tuple<torch::Tensor, torch::Tensor>;
  std::tuple<torch::Tensor, Both> forward(const Both& both, const torch::Tensor& zeta, const torch::Tensor& alpha) {
    return {std::get<0>(both) * zeta, {alpha + 1, std::get<1>(both)}};
  }
};
TORCH_MODULE(Keywords);
template <>
struct skep::moe::Expert<Keywords> {
  static constexpr auto name = "keywords";
  static constexpr std::array keyword_names{"zeta", "alpha"};
  static auto make(const ExpertOptions&) { return Keywords(); }
  static auto sample(const ExpertOptions& o) {
    return std::tuple{std::tuple{row(o.hidden_dim), row(2, at::kLong)}, row(o.hidden_dim), row(1)};
  }
};

/// Keyword inputs alone: forward(scale, input) -> w * scale * input.
struct KeywordsOnlyImpl : torch::nn::Module {
  KeywordsOnlyImpl() : w(register_parameter("w", torch::ones({1}))) {}
  torch::Tensor forward(const torch::Tensor& scale, const torch::Tensor& input) { return w * scale * input; }
  torch::Tensor w;
};
TORCH_MODULE(KeywordsOnly);
template <>
struct skep::moe::Expert<KeywordsOnly> {
  static constexpr auto name = "keywords_only";
  static constexpr std::array keyword_names{"scale", "input"};
  static auto make(const ExpertOptions&) { return KeywordsOnly(); }
  static auto sample(const ExpertOptions& o) { return std::tuple{row(1), row(o.hidden_dim)}; }
};

/// {left: (x, index), right: y} -> {sum: x + y, index: index}, as a tree that its types do not tell.
struct NamedImpl : torch::nn::Module {
  skep::moe::TensorTree forward(const skep::moe::TensorTree& input) {
    const auto& left = input.items()[1].items();
    return skep::moe::TensorTree::dict({"sum", "index"}, {left[0].leaf() + input.items()[0].leaf(), left[1]});
  }
};

/// y = w x for whole batches, but it throws where a sample is negative.
struct TouchyImpl : torch::nn::Module {
  TouchyImpl() : w(register_parameter("w", torch::ones({1}))) {}
  torch::Tensor forward(const torch::Tensor& x) {
    if ((x < 0).any().item<bool>()) throw std::invalid_argument("a negative sample");
    return x * w;
  }
  torch::Tensor w;
};
TORCH_MODULE(Touchy);
template <>
struct skep::moe::Expert<Touchy> {
  static constexpr auto name = "touchy";
  static auto make(const ExpertOptions&) { return Touchy(); }
  static auto sample(const ExpertOptions& o) { return row(o.hidden_dim); }
};
