#include "skep/moe/client/autograd.hpp"

#include <limits>

#include <doctest/doctest.h>

using torch::Tensor;

namespace {

/// y = 2 x, whose gradient is marked as coming from elsewhere.
struct Twice : torch::autograd::Function<Twice> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x) {
    context->save_for_backward({x});
    context->saved_data["answer"] = skep::moe::detail::keep_in_graph(std::make_shared<int>(42));
    return x * 2;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    CHECK(*skep::moe::detail::kept_in_graph<int>(context->saved_data["answer"]) == 42);
    return skep::moe::detail::refuse_second_derivative("expert e.0", context->get_saved_variables(), gradients,
                                                       {(gradients[0] * 2).detach()});
  }
};

}  // namespace

TEST_CASE("B2.6 gradients from elsewhere may be used, also in a pass that builds a graph") {
  const Tensor x = torch::ones({3}).requires_grad_();
  const Tensor y = Twice::apply(x).sum();
  const auto once = torch::autograd::grad({y}, {x}, {}, true, false);
  CHECK(once[0].equal(torch::full({3}, 2.0F)));
  const auto with_graph = torch::autograd::grad({y}, {x}, {}, true, true);
  CHECK(with_graph[0].equal(torch::full({3}, 2.0F)));
}

TEST_CASE("B2.6 differentiating them again is refused with a sentence") {
  const Tensor x = torch::ones({3}).requires_grad_();
  const auto first = torch::autograd::grad({Twice::apply(x).sum()}, {x}, {}, true, true);
  try {
    (void)torch::autograd::grad({first[0].sum()}, {x}, {}, false, false, true);
    FAIL("nothing was thrown");
  } catch (const skep::Error& error) {
    CHECK(std::string(error.what()).starts_with("skep: expert e.0 cannot be differentiated twice"));
  }
}

TEST_CASE("tensors are detached and contiguous before they travel") {
  const Tensor x = torch::rand({4, 6}).requires_grad_();
  const auto sent = skep::moe::detail::to_send(std::vector<Tensor>{x.t(), x});
  CHECK(sent[0].is_contiguous());
  CHECK_FALSE(sent[0].requires_grad());
  CHECK(sent[1].data_ptr() == x.data_ptr());
}

TEST_CASE("B5.2 values that are not finite are found") {
  const float inf = std::numeric_limits<float>::infinity();
  CHECK_NOTHROW(skep::moe::detail::require_finite(std::vector<Tensor>{torch::ones({2}), torch::ones({2}, torch::kLong)},
                                                  "inputs"));
  CHECK_THROWS_AS(skep::moe::detail::require_finite(std::vector<Tensor>{torch::tensor({1.0F, inf})}, "inputs"),
                  skep::Error);
  CHECK_THROWS_AS(skep::moe::detail::require_finite(std::vector<Tensor>{torch::tensor({std::nanf("")})}, "inputs"),
                  skep::Error);
}
