#include "skep/moe/server/pooled_backend.hpp"

#include "skep/async/scope.hpp"
#include "support/coroutine.hpp"

using namespace skep::moe;  // NOLINT(*-using-namespace)

namespace {
/// y = w x, made of nothing but what a backend needs.
ComputedModule scaled(const Tensor& w) {
  ComputedModule module{.class_name = "Scaled"};
  module.schema.args = SchemaTree::tuple({SchemaTree(BatchTensorDescriptor{{2}, at::kFloat})});
  module.schema.outputs = SchemaTree(BatchTensorDescriptor{{2}, at::kFloat});
  module.parameters.insert("w", w);
  module.compute = [w](std::span<const Tensor> inputs) { return std::vector{inputs[0] * w}; };
  return module;
}
}  // namespace

CO_TEST_CASE("C4.8 whatever computes is served through two pools, named after the expert") {
  const auto w = torch::ones({1}).requires_grad_();
  PooledBackend backend("scaled.0", scaled(w), {.optimizer = sgd(1)});  // with a thread of its own
  CHECK(backend.get_pools()[0].get().name() == "scaled.0_forward");
  CHECK(backend.backward_pool().name() == "scaled.0_backward");
  CHECK(backend.class_name() == "Scaled");
  TensorBatch forward{{torch::full({3, 2}, 2.F)}};
  const auto y = co_await backend.forward_pool().submit_task(std::move(forward));
  CHECK(at::equal(y.tensors[0], torch::full({3, 2}, 2.F)));
  TensorBatch backward{{torch::ones({3, 2}), torch::full({3, 2}, 0.5F)}};
  const auto g = co_await backend.backward_pool().submit_task(std::move(backward));
  CHECK(at::equal(g.tensors[0], torch::full({3, 2}, 0.5F)));
  CHECK(w.item<float>() == 1 - 3);
  CHECK(backend.update_count() == 1);
  w.mutable_grad() = torch::ones({1});
  backend.on_backward(1);
  CHECK(backend.update_count() == 2);
}
