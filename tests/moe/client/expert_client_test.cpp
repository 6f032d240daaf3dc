#include "skep/moe/client/expert_client.hpp"

#include "moe/client/swarm.hpp"
#include "support/members.hpp"
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

TEST_CASE("A10.5, H-36: a member's calls bring tickets by themselves, another's are refused with a sentence") {
  const skep::test::Members members;
  skep::test::ExpertServer server({}, {.expert = {.hidden_dim = 8}, .max_task_size = 100'000}, members.join());
  server.add<Scale>("scale.0");
  server.start();
  const ExpertInfo expert{"scale.0", server.dht().peer_id()};
  const auto dht = skep::test::client_of(server, members.join());
  const auto client = std::make_shared<ExpertClient>(expert, dht, RemoteExpertOptions{});
  for (const int64_t rows : {2, 70'000}) {  // unary, then as streams
    const Tensor x = torch::ones({rows, 8});
    CHECK(skep::moe::detail::block_on(dht, client->forward({x})).at(0).size(0) == rows);
    CHECK(skep::moe::detail::block_on(dht, client->backward({x}, {x})).at(0).size(0) == rows);
  }

  // one that knows where the server is but belongs to another swarm
  skep::dht::DHT stranger({.host_maddrs = {"/ip4/127.0.0.1/tcp/0"}});
  stranger.run_coroutine([address = server.addresses().front()](auto node) -> skep::awaitable<void> {
    const auto parsed = *skep::p2p::Multiaddr::from_text(address);
    node.network().add_address(*parsed.peer_id(), parsed);
    co_return;
  });
  const auto other = std::make_shared<ExpertClient>(expert, stranger, RemoteExpertOptions{});
  try {
    (void)skep::moe::detail::block_on(stranger, other->contract());
    FAIL("a stranger was let in");
  } catch (const skep::RemoteError& error) {
    CHECK(error.text() ==
          "skep: ConnectionHandler.rpc_info is for members of this swarm, and the request is refused: it carries no "
          "authorization, which this swarm asks for");
  }
}
