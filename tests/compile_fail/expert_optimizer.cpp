// An expert whose optimizer is none of LibTorch's kind.
// expect: skep: the optimizer of an expert derives from torch::optim::Optimizer
#include "skep/moe/server/layers.hpp"
#include "skep/moe/server/module_backend.hpp"

#ifdef WRONG
struct Optimizer {};
#else
using Optimizer = torch::optim::Adam;
#endif
template class skep::moe::ModuleBackend<skep::moe::Ffn, Optimizer>;
