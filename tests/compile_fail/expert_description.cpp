// An expert that nobody described.
// expect: skep: specialise skep::moe::Expert<M> with name, make(options) and sample(options)
#include "skep/moe/server/module_backend.hpp"

struct MixerImpl : torch::nn::Module {
  torch::Tensor forward(torch::Tensor x) { return x; }
};
TORCH_MODULE(Mixer);
#ifndef WRONG
template <>
struct skep::moe::Expert<Mixer> {
  static constexpr auto name = "mixer";
  static auto make(const ExpertOptions&) { return Mixer(); }
  static auto sample(const ExpertOptions& o) { return row(o.hidden_dim); }
};
#endif
void serve() { skep::moe::ModuleBackend<Mixer> backend("mixer.0"); }
