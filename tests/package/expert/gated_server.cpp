// A server with an expert of one's own: a gate that mixes two inputs. All that the library must know is in
// Expert<Gated>.
//   gated_server --expert_cls gated --hidden_dim 64 --expert_uids gated.0 gated.1
#include <skep/cli/server_main.hpp>
#include <tuple>

struct GatedImpl : torch::nn::Module {
  explicit GatedImpl(int64_t width) : gate(register_module("gate", torch::nn::Linear(width, width))) {}
  torch::Tensor forward(torch::Tensor x, torch::Tensor context) { return x * torch::sigmoid(gate->forward(context)); }
  torch::nn::Linear gate;
};
TORCH_MODULE(Gated);

template <>
struct skep::moe::Expert<Gated> {
  static constexpr auto name = "gated";
  static auto make(const ExpertOptions& options) { return Gated(options.hidden_dim); }
  static auto sample(const ExpertOptions& o) { return std::tuple{row(o.hidden_dim), row(o.hidden_dim)}; }
};

int main(int argc, char** argv) { return skep::cli::server_main<skep::moe::Ffn, Gated>(argc, argv); }
