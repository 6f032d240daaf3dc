#include "skep/moe/server/computed_module.hpp"

// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep::moe;  // NOLINT(*-using-namespace)

TEST_CASE("C1.9 H-19 every floating input is compressed where its type allows it") {
  const auto sample = TensorTree::tuple({at::zeros({4}), at::zeros({2}, at::kLong), at::zeros({3}, at::kBFloat16)});
  const auto schema = skep::moe::detail::schema_of_sample(sample, Compression::float16).flatten();
  CHECK(schema[0].to_string() == "float32[batch, 4]");
  CHECK(schema[0].compression == Compression::float16);
  CHECK(schema[1].compression == Compression::none);
  CHECK(schema[2].compression == Compression::none);
}

TEST_CASE("C1.8 the outputs' schema comes from a run on zeros that leaves no trace") {
  ComputedModule module{.class_name = "Counter"};
  module.schema.args = SchemaTree::tuple({SchemaTree(BatchTensorDescriptor{{2}, at::kFloat, true})});
  const auto counter = torch::zeros({1});
  module.buffers.insert("counter", counter);
  torch::manual_seed(1);
  const auto expected = torch::rand({1});
  torch::manual_seed(1);
  const auto compute = [&](std::span<const Tensor> inputs) {
    counter.add_(1);
    return TensorTree::dict({"y"}, {inputs[0] * torch::rand({1})});
  };
  const auto outputs = skep::moe::detail::schema_of_outputs("counter.0", module, compute, Compression::float16);
  CHECK(outputs.keys() == std::vector<std::string>{"y"});
  CHECK(outputs.items()[0].leaf().compression == Compression::float16);
  CHECK(counter.item<float>() == 0);
  CHECK(at::equal(torch::rand({1}), expected));
  const auto scalar = [](std::span<const Tensor> inputs) { return TensorTree(inputs[0].sum()); };
  CHECK_THROWS_WITH_AS((void)skep::moe::detail::schema_of_outputs("counter.0", module, scalar, Compression::none),
                       "skep: expert counter.0 (Counter) cannot compute the sample that its description gives: its "
                       "outputs do not keep the batch in their first dimension",
                       skep::Error);
}

TEST_CASE("D1 a device that is not there is refused by name; on the CPU a module stays as it is") {
  ComputedModule module;
  module.compute = [](std::span<const Tensor> inputs) { return std::vector<Tensor>(inputs.begin(), inputs.end()); };
  const Tensor x = torch::ones({2, 3});
  CHECK(skep::moe::detail::on_device("ffn.0", module, at::kCPU).compute(std::vector<Tensor>{x})[0].is_same(x));
  if (at::hasCUDA()) return;
  std::string words;
  try {
    (void)skep::moe::detail::on_device("ffn.0", module, at::Device("cuda:1"));
  } catch (const skep::Error& error) {
    words = error.what();
  }
  CHECK(words == "skep: expert ffn.0: this LibTorch knows no CUDA, so it cannot live on cuda:1; give cpu");
}
