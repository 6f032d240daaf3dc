#include "skep/moe/server/tensor_batch.hpp"

// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using skep::moe::TensorBatch;
using Traits = skep::moe::BatchTraits<TensorBatch>;

TEST_CASE("C7.6 batches are joined along the first dimension and split into views") {
  const TensorBatch a{{torch::ones({2, 3}), torch::zeros({2}, at::kLong)}};
  const TensorBatch b{{torch::full({1, 3}, 2), torch::ones({1}, at::kLong)}};
  CHECK(Traits::size(a) == 2);
  const auto joined = Traits::join(std::vector{a, b});
  CHECK(joined.tensors[0].sizes() == at::IntArrayRef({3, 3}));
  const auto parts = Traits::split(joined, std::vector<std::size_t>{2, 1});
  CHECK(at::equal(parts[0].tensors[0], a.tensors[0]));
  CHECK(at::equal(parts[1].tensors[1], b.tensors[1]));
  CHECK(parts[1].tensors[0].is_contiguous());
  CHECK(parts[1].tensors[0].storage().data() == joined.tensors[0].storage().data());
}

TEST_CASE("C7.9 batches of other trailing shapes, types or counts do not go together") {
  const auto same = [](std::vector<torch::Tensor> a, std::vector<torch::Tensor> b) {
    return Traits::same_shape({std::move(a)}, {std::move(b)});
  };
  CHECK(same({torch::ones({2, 3})}, {torch::ones({7, 3})}));
  CHECK_FALSE(same({torch::ones({2, 3})}, {torch::ones({2, 4})}));
  CHECK_FALSE(same({torch::ones({2, 3})}, {torch::ones({2, 3, 1})}));
  CHECK_FALSE(same({torch::ones({2, 3})}, {torch::ones({2, 3}, at::kDouble)}));
  CHECK_FALSE(same({torch::ones({2, 3})}, {torch::ones({2, 3}), torch::ones({2, 3})}));
  CHECK_FALSE(same({torch::tensor(1.F)}, {torch::tensor(1.F)}));
}

TEST_CASE("a batch without dimensions counts one") { CHECK(Traits::size({{torch::tensor(1.F)}}) == 1); }
