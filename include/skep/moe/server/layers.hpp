// The layers that Hivemind's servers know by name: ffn, transformer, nop, nop_delay, det_dropout.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <tuple>

#include "skep/core/error.hpp"
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

/// What a TunedTransformer is made of besides its width.
struct TransformerOptions {
  std::int64_t num_heads = 16;
  double dropout = 0.1;  ///< random in each computation, the one of backward included, as Hivemind's
};

/// A transformer's encoder layer that normalises after each half: self-attention, then a feed-forward block four times
/// as wide. The same function and the same parameter names as Hivemind's "transformer".
class TunedTransformerImpl : public torch::nn::Module {
 public:
  /// Throws errc::invalid_argument when the heads do not share the width evenly.
  explicit TunedTransformerImpl(std::int64_t hidden_dim, const TransformerOptions& options = {})
      : torch::nn::Module("TunedTransformer"),
        self_attn(register_module("self_attn", torch::nn::MultiheadAttention(attention(hidden_dim, options)))),
        linear1(register_module("linear1", torch::nn::Linear(hidden_dim, 4 * hidden_dim))),
        dropout(register_module("dropout", torch::nn::Dropout(options.dropout))),
        linear2(register_module("linear2", torch::nn::Linear(4 * hidden_dim, hidden_dim))),
        norm1(register_module("norm1", torch::nn::LayerNorm(torch::nn::LayerNormOptions({hidden_dim})))),
        norm2(register_module("norm2", torch::nn::LayerNorm(torch::nn::LayerNormOptions({hidden_dim})))) {}

  /// @param x        float32 [batch, sequence, hidden_dim]
  /// @param padding  bool [batch, sequence], true where nobody shall look
  /// @return float32 [batch, sequence, hidden_dim]
  [[nodiscard]] Tensor forward(const Tensor& x, const Tensor& padding) {
    const Tensor source = x.transpose(0, 1);
    const auto attended = std::get<0>(self_attn->forward(source, source, source, padding, /*need_weights=*/false));
    const Tensor half = norm1->forward(source + dropout->forward(attended));
    const Tensor hidden = dropout->forward(at::gelu(linear1->forward(half), "tanh"));
    return norm2->forward(half + dropout->forward(linear2->forward(hidden))).transpose(0, 1);
  }

  torch::nn::MultiheadAttention self_attn;
  torch::nn::Linear linear1;
  torch::nn::Dropout dropout;
  torch::nn::Linear linear2;
  torch::nn::LayerNorm norm1;
  torch::nn::LayerNorm norm2;

 private:
  [[nodiscard]] static torch::nn::MultiheadAttentionOptions attention(std::int64_t hidden_dim,
                                                                      const TransformerOptions& options) {
    if (options.num_heads < 1 || hidden_dim % options.num_heads != 0) {
      throw Error(errc::invalid_argument, "hidden_dim " + std::to_string(hidden_dim) +
                                              " of a transformer is not a multiple of its " +
                                              std::to_string(options.num_heads) + " heads");
    }
    return torch::nn::MultiheadAttentionOptions(hidden_dim, options.num_heads).dropout(options.dropout);
  }
};
TORCH_MODULE(TunedTransformer);
using Transformer = TunedTransformer;

/// Extra values: num_heads (16), dropout (0.1), sequence_length (128).
template <>
struct Expert<TunedTransformer> {
  static constexpr auto name = "transformer";
  static auto make(const ExpertOptions& options) {
    const TransformerOptions defaults;
    return TunedTransformer(options.hidden_dim,
                            TransformerOptions{.num_heads = options.get("num_heads", defaults.num_heads),
                                               .dropout = options.get("dropout", defaults.dropout)});
  }
  static auto sample(const ExpertOptions& options) {
    const auto length = options.get<std::int64_t>("sequence_length", 128);
    return std::tuple{at::zeros({length, options.hidden_dim}), at::zeros({length}, at::kBool)};
  }
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

/// A nop that sleeps first, as an expert that is slow or far away.
class DelayedNopExpertImpl : public torch::nn::Module {
 public:
  explicit DelayedNopExpertImpl(std::int64_t, std::chrono::duration<double> sleep = std::chrono::duration<double>(0.5))
      : torch::nn::Module("DelayedNopExpert"), w(register_parameter("w", at::zeros({0}))), delay(sleep) {}

  [[nodiscard]] Tensor forward(const Tensor& x) {
    std::this_thread::sleep_for(delay);
    return x.clone();
  }

  Tensor w;
  std::chrono::duration<double> delay;
};
TORCH_MODULE(DelayedNopExpert);
using NopDelay = DelayedNopExpert;

/// Extra value: delay (0.5), seconds.
template <>
struct Expert<DelayedNopExpert> {
  static constexpr auto name = "nop_delay";
  static auto make(const ExpertOptions& options) {
    return DelayedNopExpert(options.hidden_dim, std::chrono::duration<double>(options.get("delay", 0.5)));
  }
  static auto sample(const ExpertOptions& options) { return row(options.hidden_dim); }
};

/// Dropout whose mask is an input, so that forward and the computation of backward drop the same.
class DeterministicDropoutImpl : public torch::nn::Module {
 public:
  /// @param drop_prob  how much of a mask is 0; only scales what is left
  explicit DeterministicDropoutImpl(double drop_prob)
      : torch::nn::Module("DeterministicDropout"), keep_prob(1 - drop_prob) {}

  /// x * mask / keep_prob in training, x otherwise.
  [[nodiscard]] Tensor forward(const Tensor& x, const Tensor& mask) { return is_training() ? x * mask / keep_prob : x; }

  double keep_prob;
};
TORCH_MODULE(DeterministicDropout);

/// Two linear layers with a dropout before them whose mask the client sends: Hivemind's "det_dropout".
class DeterministicDropoutNetworkImpl : public torch::nn::Module {
 public:
  explicit DeterministicDropoutNetworkImpl(std::int64_t hidden_dim, double dropout_prob = 0.2)
      : torch::nn::Module("DeterministicDropoutNetwork"),
        linear_in(register_module("linear_in", torch::nn::Linear(hidden_dim, 2 * hidden_dim))),
        dropout(register_module("dropout", DeterministicDropout(dropout_prob))),
        linear_out(register_module("linear_out", torch::nn::Linear(2 * hidden_dim, hidden_dim))) {}

  /// @param x     float32 [batch, hidden_dim]
  /// @param mask  int64 [batch, hidden_dim], 0 where x is dropped and 1 elsewhere
  /// @return float32 [batch, hidden_dim]
  [[nodiscard]] Tensor forward(const Tensor& x, const Tensor& mask) {
    return linear_out->forward(at::relu(linear_in->forward(dropout->forward(x, mask))));
  }

  torch::nn::Linear linear_in;
  DeterministicDropout dropout;
  torch::nn::Linear linear_out;
};
TORCH_MODULE(DeterministicDropoutNetwork);
using DetDropout = DeterministicDropoutNetwork;

/// Extra value: dropout (0.2).
template <>
struct Expert<DeterministicDropoutNetwork> {
  static constexpr auto name = "det_dropout";
  static auto make(const ExpertOptions& options) {
    return DeterministicDropoutNetwork(options.hidden_dim, options.get("dropout", 0.2));
  }
  static auto sample(const ExpertOptions& options) {
    return std::tuple{row(options.hidden_dim), row(options.hidden_dim, at::kLong)};
  }
};

}  // namespace skep::inline v0::moe
