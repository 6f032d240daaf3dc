#include "skep/moe/server/module_core.hpp"

#include "moe/server/experts.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep::moe;  // NOLINT(*-using-namespace)

TEST_CASE("a core reads the schema from a sample and computes with gradients sent by the caller") {
  const BackendOptions options{.expert = {.hidden_dim = 4}, .optimizer = sgd(1)};
  skep::moe::detail::ModuleCore<Touchy> core("touchy.0", Touchy(), row(4), options);
  CHECK(core.class_name() == "Touchy");
  CHECK(core.inputs().size() == 1);
  CHECK(core.outputs()[0].to_string() == "float32[batch, 4]");
  CHECK(at::equal(core.forward({torch::ones({2, 4})})[0], torch::ones({2, 4})));
  const auto gradients = core.backward({torch::ones({2, 4}), torch::full({2, 4}, 0.5F)});
  CHECK(at::equal(gradients[0], torch::full({2, 4}, 0.5F)));
  CHECK(core.module()->w.item<float>() == doctest::Approx(1 - 4));
  CHECK(core.update_count() == 1);
}

TEST_CASE("a backward that throws makes no step and leaves the next one right") {
  const BackendOptions options{.expert = {.hidden_dim = 1}, .optimizer = sgd(1)};
  skep::moe::detail::ModuleCore<Touchy> core("touchy.0", Touchy(), row(1), options);
  CHECK_THROWS((void)core.backward({torch::full({1, 1}, -1.F), torch::ones({1, 1})}));
  CHECK(core.update_count() == 0);
  (void)core.backward({torch::full({1, 1}, 2.F), torch::ones({1, 1})});
  CHECK(core.module()->w.item<float>() == doctest::Approx(1 - 2));
}
