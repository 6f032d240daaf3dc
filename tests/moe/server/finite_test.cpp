#include "skep/moe/server/finite.hpp"

#include <limits>

// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using skep::moe::all_finite;

TEST_CASE("H-36 one NaN or infinity anywhere is found, in any type and layout") {
  for (const auto type : {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16, at::kComplexFloat}) {
    for (const int64_t size : {1, 255, 256, 600}) {
      auto tensor = torch::ones({size}, type);
      CHECK(all_finite(tensor));
      tensor[size / 2] = std::numeric_limits<double>::quiet_NaN();
      CHECK_FALSE(all_finite(tensor));
      tensor[size / 2] = -std::numeric_limits<double>::infinity();
      CHECK_FALSE(all_finite(tensor));
      CHECK(all_finite(tensor.slice(0, size / 2 + 1)));
    }
  }
  auto matrix = torch::ones({20, 30});
  matrix[19][29] = std::numeric_limits<float>::infinity();
  CHECK_FALSE(all_finite(matrix.t()));
  CHECK_FALSE(all_finite(matrix.to_sparse()));
}

TEST_CASE("large numbers, denormal ones, whole ones and nothing are finite") {
  CHECK(all_finite(torch::full({300}, std::numeric_limits<float>::max())));
  CHECK(all_finite(torch::full({300}, std::numeric_limits<float>::denorm_min())));
  CHECK(all_finite(torch::ones({3}, at::kLong)));
  CHECK(all_finite(torch::ones({0})));
  CHECK(all_finite(skep::moe::Tensor()));
}
