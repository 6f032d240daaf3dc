#include "skep/moe/client/remote_call.hpp"

#include "moe/client/swarm.hpp"
#include "moe/server/experts.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep::moe;
using torch::Tensor;
using namespace std::chrono_literals;

TEST_CASE("gradients come back in the order of the call, where the request has another") {
  skep::test::ExpertServer server({}, {.expert = {.hidden_dim = 4}, .optimizer = nullptr});
  server.add<KeywordsOnly>("keywords.0");
  server.start();
  const auto call = std::make_shared<skep::moe::detail::RemoteCall::Shared>();
  call->client = std::make_shared<ExpertClient>(ExpertInfo{"keywords.0", server.dht().peer_id()},
                                                skep::test::client_of(server), RemoteExpertOptions{});
  const Tensor scale = torch::full({2, 1}, 3.F).requires_grad_();
  const Tensor input = torch::rand({2, 4}).requires_grad_();
  call->inputs = ExpertInputs::of(kw("scale", scale), kw("input", input));
  const Tensor learns = torch::empty({0}, at::TensorOptions().requires_grad(true));
  const std::vector<Tensor> tensors{scale, input};
  const auto outputs = skep::moe::detail::RemoteCall::apply(call, learns, at::TensorList(tensors));
  CHECK(call->order == std::vector<std::size_t>{1, 0});  // "input" is sent first
  CHECK(outputs.at(0).equal(scale * input));
  outputs.at(0).sum().backward();
  CHECK(scale.grad().allclose(input.sum(1, true)));
  CHECK(input.grad().equal(scale.expand({2, 4})));
}
