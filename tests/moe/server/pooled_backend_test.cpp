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
  PooledBackend backend("scaled.0", scaled(w),
                        {.optimizer = sgd(1), .max_batch_size = 4, .max_task_size = 32});  // with a thread of its own
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
  TensorBatch large{{torch::ones({9, 2}), torch::full({9, 2}, -1.F)}};
  const auto parts = co_await backend.backward_pool().submit_task(std::move(large));
  CHECK(parts.tensors[0].size(0) == 9);
  CHECK(backend.update_count() == 2);  // one step, however large
  TensorBatch split{{torch::ones({9, 2})}};
  const auto joined = co_await backend.forward_pool().submit_task(std::move(split));
  CHECK(at::equal(joined.tensors[0], torch::full({9, 2}, 16.F)));
  CHECK(backend.forward_check().tensor(0, {33, 2}, at::kFloat) ==
        "Task size greater than max_task_size (32), it can't be processed; send it in parts");
  w.mutable_grad() = torch::ones({1});
  backend.on_backward(1);
  CHECK(backend.update_count() == 3);
}
