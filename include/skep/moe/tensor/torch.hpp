// The one door to LibTorch: the right order of its headers, the narrow ones, and the thread count that binds its BLAS.
#pragma once

// LibTorch 1.13 leaves IValue incomplete for C++20 unless this comes first.
#include <ATen/core/ivalue.h>
//
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>
#include <torch/nn/pimpl.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>
#include <torch/utils.h>

extern "C" {
// OpenBLAS has threads of its own, which at::set_num_threads does not reach; null where another BLAS is linked.
void openblas_set_num_threads(int) __attribute__((weak));
}

namespace skep::inline v0::moe {

using torch::Tensor;

/// How many threads a LibTorch operation of this process may use, the matrix products of OpenBLAS included. Call it
/// before the first operation.
inline void set_compute_threads(int threads) {
  at::set_num_threads(threads);
  if (openblas_set_num_threads != nullptr) openblas_set_num_threads(threads);
}

}  // namespace skep::inline v0::moe
