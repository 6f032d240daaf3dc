// An expert whose forward takes a text.
// expect: skep: an expert's forward takes and returns tensors or tuples of tensors
#include "skep/moe/server/module_backend.hpp"

#ifdef WRONG
using Input = std::string;
#else
using Input = torch::Tensor;
#endif
struct TalkerImpl : torch::nn::Module {
  torch::Tensor forward(Input) { return torch::zeros({1}); }
};
TORCH_MODULE(Talker);
template class skep::moe::ModuleBackend<Talker>;
