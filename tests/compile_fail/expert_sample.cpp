// A description whose sample has a value less than forward has inputs.
// expect: skep: an Expert's sample() gives one tensor for each input of forward
#include "skep/moe/server/module_backend.hpp"

struct MixerImpl : torch::nn::Module {
  torch::Tensor forward(torch::Tensor x, torch::Tensor y) { return x + y; }
};
TORCH_MODULE(Mixer);
template <>
struct skep::moe::Expert<Mixer> {
  static constexpr auto name = "mixer";
  static auto make(const ExpertOptions&) { return Mixer(); }
#ifdef WRONG
  static auto sample(const ExpertOptions& o) { return row(o.hidden_dim); }
#else
  static auto sample(const ExpertOptions& o) { return std::tuple{row(o.hidden_dim), row(o.hidden_dim)}; }
#endif
};
void serve() { skep::moe::ModuleBackend<Mixer> backend("mixer.0"); }
