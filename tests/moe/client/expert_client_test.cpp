#include "skep/moe/client/expert_client.hpp"

#include "moe/client/swarm.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep::moe;
using torch::Tensor;

TEST_CASE("B2.1 the schema is asked once, calls need no autograd") {
  skep::test::ExpertServer server({}, {.expert = {.hidden_dim = 4}, .optimizer = nullptr});
  server.add<Scale>("scale.0");
  server.start();
  const auto dht = skep::test::client_of(server);
  const auto client =
      std::make_shared<ExpertClient>(ExpertInfo{"scale.0", server.dht().peer_id()}, dht, RemoteExpertOptions{});
  CHECK_FALSE(client->known_contract());
  const auto contract = skep::moe::detail::block_on(dht, client->contract());
  CHECK(client->known_contract() == contract);
  CHECK(skep::moe::detail::block_on(dht, client->contract()) == contract);
  CHECK(contract->inputs.at(0).to_string() == "float32[batch, 4]");

  const Tensor w = torch::linspace(1, 2, 4);
  const auto outputs = skep::moe::detail::block_on(dht, client->forward({torch::ones({3, 4})}));
  CHECK(outputs.at(0).allclose(w.expand({3, 4})));
  const auto gradients =
      skep::moe::detail::block_on(dht, client->backward({torch::ones({3, 4})}, {torch::full({3, 4}, 2.F)}));
  CHECK(gradients.at(0).allclose((2 * w).expand({3, 4})));
}
