#include <skep/cli/server_main.hpp>

struct GatedImpl : torch::nn::Module {
  explicit GatedImpl(int64_t width) : gate(register_module("gate", torch::nn::Linear(width, width))) {}
  torch::Tensor forward(torch::Tensor x, torch::Tensor context) { return x * torch::sigmoid(gate->forward(context)); }
  torch::nn::Linear gate;
};
TORCH_MODULE(Gated);

template <>
struct skep::moe::Expert<Gated> {  // all that describes an expert
  static constexpr auto name = "gated";
  static auto make(const ExpertOptions& o) { return Gated(o.hidden_dim); }
  static auto sample(const ExpertOptions& o) { return std::tuple{row(o.hidden_dim), row(o.hidden_dim)}; }
};

int main(int argc, char** argv) { return skep::cli::server_main<skep::moe::Ffn, Gated>(argc, argv); }
