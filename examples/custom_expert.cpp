// A server with experts of one's own: a gate that mixes two inputs, for any activation. All that the library must know
// of the whole family is in Expert<Gated<...>>.
//   custom_expert --expert_cls gated --hidden_dim 64 --expert_uids gated.0 gated.1
#include <skep/cli/server_main.hpp>
#include <tuple>

template <torch::Tensor activation(const torch::Tensor&)>
struct GatedImpl : torch::nn::Module {
  explicit GatedImpl(int64_t width) : gate(register_module("gate", torch::nn::Linear(width, width))) {}
  torch::Tensor forward(torch::Tensor x, torch::Tensor context) { return x * activation(gate->forward(context)); }
  torch::nn::Linear gate;
};
template <torch::Tensor activation(const torch::Tensor&)>
using Gated = torch::nn::ModuleHolder<GatedImpl<activation>>;

template <torch::Tensor activation(const torch::Tensor&)>
struct skep::moe::Expert<Gated<activation>> {
  static constexpr auto name = activation == at::tanh ? "gated_tanh" : "gated";
  static auto make(const ExpertOptions& options) { return Gated<activation>(options.hidden_dim); }
  static auto sample(const ExpertOptions& o) { return std::tuple{row(o.hidden_dim), row(o.hidden_dim)}; }
};

int main(int argc, char** argv) {
  return skep::cli::server_main<skep::moe::Ffn, Gated<at::sigmoid>, Gated<at::tanh>>(argc, argv);
}
