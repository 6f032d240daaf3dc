#include "skep/moe/client/mixture_contract.hpp"

#include "moe/client/swarm.hpp"
// doctest last
#include <doctest/doctest.h>

using namespace skep::moe;
using namespace std::chrono_literals;

namespace {

/// A server with one expert that takes float32[batch, width].
std::unique_ptr<skep::test::ExpertServer> serve(const std::string& uid, std::int64_t width,
                                                const std::vector<std::string>& peers = {}) {
  auto server = std::make_unique<skep::test::ExpertServer>(
      peers, BackendOptions{.expert = {.hidden_dim = width}, .optimizer = nullptr});
  server->add<Scale>(uid);
  server->start();
  return server;
}
std::string input_of(const std::shared_ptr<const ExpertContract>& contract) {
  return contract->inputs.at(0).to_string();
}

}  // namespace

TEST_CASE("the first that answers tells the contract once, another one when it is doubted") {
  const auto first = serve("e.0", 4);
  const auto second = serve("e.1", 8, first->addresses());
  const skep::dht::DHT dht = skep::test::client_of(*first);
  const std::vector<ExpertInfo> both{{"e.0", first->dht().peer_id()}, {"e.1", second->dht().peer_id()}};
  MixtureContract contract(dht, 5s);
  CHECK_FALSE(contract.known());
  CHECK_THROWS_WITH_AS((void)contract.of({}), "skep: there is no expert to ask what it takes and gives", skep::Error);

  const auto told = contract.of(both);
  CHECK(input_of(told) == "float32[batch, 4]");
  CHECK(contract.of({both[1]}) == told);  // nobody is asked again
  contract.doubt(nullptr);                // not the one that is known
  CHECK_FALSE(contract.is_doubted());
  contract.doubt(told);
  CHECK(contract.is_doubted());
  CHECK(contract.of({}) == told);  // nobody to ask: still the form of zeros
  CHECK(input_of(contract.of(both)) == "float32[batch, 8]");
  CHECK_FALSE(contract.is_doubted());
}

TEST_CASE("who does not know the expert is passed over, and when nobody does that is said") {
  const auto server = serve("e.0", 4);
  const skep::dht::DHT dht = skep::test::client_of(*server);
  const ExpertInfo known{"e.0", server->dht().peer_id()}, unknown{"e.9", server->dht().peer_id()};
  MixtureContract contract(dht, 5s);
  CHECK_THROWS_WITH_AS((void)contract.of({unknown}), doctest::Contains("has no expert"), skep::RemoteError);
  CHECK(input_of(contract.of({unknown, known})) == "float32[batch, 4]");
}
