#include "skep/moe/tensor/torch.hpp"

#include <doctest/doctest.h>

TEST_CASE("the thread count reaches LibTorch and the BLAS below it") {
  REQUIRE(openblas_set_num_threads != nullptr);
  skep::moe::set_compute_threads(1);
  CHECK(at::get_num_threads() == 1);
  const auto a = torch::ones({8, 8});
  CHECK(at::mm(a, a)[0][0].item<float>() == 8);
}
