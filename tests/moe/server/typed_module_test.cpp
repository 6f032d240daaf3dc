#include "skep/moe/server/typed_module.hpp"

#include "moe/server/experts.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep::moe;  // NOLINT(*-using-namespace)

TEST_CASE("a typed module reads the schema from a sample and calls forward with the tensors of the wire") {
  auto module = skep::moe::detail::TypedModule<Keywords>::describe(
      "keywords.0", Keywords(), skep::moe::Expert<Keywords>::sample({.hidden_dim = 4}), Compression::none);
  CHECK(module.class_name == "Keywords");
  CHECK(module.schema.inputs().size() == 4);
  CHECK(module.schema.flat_outputs()[1].to_string() == "float32[batch, 1]");
  const std::vector<Tensor> wire{torch::ones({2, 4}), torch::ones({2, 2}, at::kLong), torch::zeros({2, 1}),
                                 torch::full({2, 4}, 3.F)};
  const auto outputs = module.compute(wire);
  CHECK(at::equal(outputs[0], torch::full({2, 4}, 3.F)));
  CHECK(at::equal(outputs[1], torch::ones({2, 1})));
}
