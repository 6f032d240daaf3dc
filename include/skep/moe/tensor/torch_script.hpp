// The second door to LibTorch, for the few who read TorchScript files: it costs every unit that opens it a second.
#pragma once

#include "skep/moe/tensor/torch.hpp"
//
#include <torch/csrc/jit/serialization/import.h>
