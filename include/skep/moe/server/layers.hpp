// Layers that every server knows by name: ffn and nop.
#pragma once

#include <cstdint>

#include "skep/moe/server/expert.hpp"

namespace skep::inline v0::moe {

/// A transformer's feed-forward block: LayerNorm(x + W2 gelu(W1 x)) with a hidden layer four times as wide. The same
/// function and the same parameter names as Hivemind's "ffn", so equal weights give equal outputs.
class FeedforwardBlockImpl : public torch::nn::Module {
 public:
  explicit FeedforwardBlockImpl(std::int64_t hidden_dim)
      : torch::nn::Module("FeedforwardBlock"),
        ffn(register_module("ffn", torch::nn::Linear(hidden_dim, 4 * hidden_dim))),
        ffn_output(register_module("ffn_output", torch::nn::Linear(4 * hidden_dim, hidden_dim))),
        layer_norm(register_module("layer_norm",
                                   torch::nn::LayerNorm(torch::nn::LayerNormOptions({hidden_dim}).eps(1e-12)))) {}

  /// float32 [batch, hidden_dim] to the same shape.
  [[nodiscard]] Tensor forward(const Tensor& x) {
    const Tensor hidden = at::gelu(ffn->forward(x), "tanh");
    return layer_norm->forward(x + ffn_output->forward(hidden));
  }

  torch::nn::Linear ffn;
  torch::nn::Linear ffn_output;
  torch::nn::LayerNorm layer_norm;
};
TORCH_MODULE(FeedforwardBlock);
using Ffn = FeedforwardBlock;

template <>
struct Expert<FeedforwardBlock> {
  static constexpr auto name = "ffn";
  static auto make(const ExpertOptions& options) { return FeedforwardBlock(options.hidden_dim); }
  static auto sample(const ExpertOptions& options) { return row(options.hidden_dim); }
};

/// Gives back what it gets: to measure all that is not computing. One empty parameter, so that optimizers take it.
class NopExpertImpl : public torch::nn::Module {
 public:
  explicit NopExpertImpl(std::int64_t) : torch::nn::Module("NopExpert"), w(register_parameter("w", at::zeros({0}))) {}

  [[nodiscard]] Tensor forward(const Tensor& x) { return x.clone(); }

  Tensor w;
};
TORCH_MODULE(NopExpert);
using Nop = NopExpert;

template <>
struct Expert<NopExpert> {
  static constexpr auto name = "nop";
  static auto make(const ExpertOptions& options) { return NopExpert(options.hidden_dim); }
  static auto sample(const ExpertOptions& options) { return row(options.hidden_dim); }
};

}  // namespace skep::inline v0::moe
