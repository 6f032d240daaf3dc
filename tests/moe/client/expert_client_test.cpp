#include "skep/moe/client/expert_client.hpp"

#include <string>

#include "moe/client/swarm.hpp"
#include "moe/server/experts.hpp"
#include "skep/async/event.hpp"
#include "support/members.hpp"
#include "support/words_of.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep::moe;
using skep::test::words_of;
using torch::Tensor;
using namespace std::chrono_literals;

namespace {

const std::string backward_method = "ConnectionHandler.rpc_backward";
const std::string forward_method = "ConnectionHandler.rpc_forward";

BackendOptions width(int64_t hidden_dim) { return {.expert = {.hidden_dim = hidden_dim}, .optimizer = sgd(0.5)}; }

/// The client of one expert, and its calls from this thread.
struct Caller {
  Caller(const std::string& uid, skep::test::ExpertServer& server)
      : dht(skep::test::client_of(server)),
        client(std::make_shared<ExpertClient>(ExpertInfo{uid, server.dht().peer_id()}, dht, RemoteExpertOptions{})) {}

  template <class... Inputs>
  ExpertOutputs forward(const Inputs&... inputs) {
    return client->network().block_on(client->forward(ExpertInputs::of(inputs...)), 60s);
  }
  std::vector<Tensor> backward(const ExpertTarget& target, std::vector<Tensor> inputs, std::vector<Tensor> gradients) {
    return client->network().block_on(client->backward(target, std::move(inputs), std::move(gradients)), 60s);
  }

  skep::dht::DHT dht;
  std::shared_ptr<ExpertClient> client;
};

/// Two servers of one expert; who asks goes to the first.
struct Replicas {
  Replicas() : first({}, width(4)), second(first.addresses(), width(4)) {
    backends = {&first.add<Scale>("scale.0"), &second.add<Scale>("scale.0")};
    first.start();
    second.start();
    caller.emplace("scale.0", first);
  }
  std::array<ModuleBackend<Scale>*, 2> backends{};
  skep::test::ExpertServer first;
  skep::test::ExpertServer second;
  std::optional<Caller> caller;
  const Tensor x = torch::ones({3, 4});
};

}  // namespace

TEST_CASE("B2.1 the schema is asked once, calls need no autograd") {
  skep::test::ExpertServer server({}, {.expert = {.hidden_dim = 4}, .optimizer = nullptr});
  server.add<Scale>("scale.0");
  server.start();
  Caller caller("scale.0", server);
  const auto& client = caller.client;
  CHECK_FALSE(client->known_contract());
  const auto contract = client->network().block_on(client->contract(), 60s);
  CHECK(client->known_contract() == contract);
  CHECK(client->network().block_on(client->contract(), 60s) == contract);
  CHECK(contract->inputs.at(0).to_string() == "float32[batch, 4]");

  const Tensor w = torch::linspace(1, 2, 4);
  const auto outputs = caller.forward(torch::ones({3, 4}));
  CHECK(outputs.tensors.at(0).allclose(w.expand({3, 4})));
  const auto gradients = caller.backward(outputs.target, {torch::ones({3, 4})}, {torch::full({3, 4}, 2.F)});
  CHECK(gradients.at(0).allclose((2 * w).expand({3, 4})));
}

TEST_CASE("B2.1 a server that changed its expert is asked again, and the call goes on or says what changed") {
  skep::test::ExpertServer server({}, width(4));
  server.add<Nop>("nop.0");
  server.start();
  Caller caller("nop.0", server);
  const auto before = caller.forward(torch::ones({2, 4}));
  server.replace("nop.0", std::make_shared<ModuleBackend<Nop>>("nop.0", server.options(8)));

  // refused here by the schema that is known, fits the new one
  const Tensor wide = torch::rand({2, 8});
  CHECK(caller.forward(wide).tensors.at(0).equal(wide));
  CHECK(caller.client->known_contract()->inputs.at(0).to_string() == "float32[batch, 8]");
  // a graph of before the change cannot be trained any more
  CHECK(words_of([&] { caller.backward(before.target, {torch::ones({2, 4})}, {torch::ones({2, 4})}); })
            .find("(the server has changed expert nop.0: it is (float32[batch, 8]) -> float32[batch, 8] now, it was "
                  "(float32[batch, 4]) -> float32[batch, 4])") != std::string::npos);

  // refused by the server, and fits the new one no more
  server.replace("nop.0", std::make_shared<ModuleBackend<Nop>>("nop.0", server.options(4)));
  const std::string words = words_of([&] { (void)caller.forward(wide); });
  CHECK(words.find("input 0 is float32[2, 8], expected float32[batch, 4] (the server has changed expert nop.0") !=
        std::string::npos);
  CHECK(caller.forward(torch::ones({2, 4})).tensors.size() == 1);

  // the same inputs, another answer
  server.replace("nop.0", std::make_shared<ModuleBackend<torch::nn::Linear>>("nop.0", torch::nn::Linear(4, 3), row(4),
                                                                             server.options(4)));
  CHECK(caller.forward(torch::ones({2, 4})).tensors.at(0).sizes() == at::IntArrayRef({2, 3}));
}

TEST_CASE("H-28 when the server of an expert is gone, a replica answers and is gone to from then on") {
  Replicas pair;
  Caller& caller = *pair.caller;
  const auto before = caller.forward(pair.x);
  CHECK(before.target.expert.peer_id == pair.first.dht().peer_id());
  pair.first.kill();
  const auto after = caller.forward(pair.x);
  CHECK(after.tensors.at(0).equal(before.tensors.at(0)));
  CHECK(after.target.expert.peer_id == pair.second.dht().peer_id());
  CHECK(caller.client->target().expert == after.target.expert);
  CHECK(caller.client->expert().peer_id != after.target.expert.peer_id);
  pair.second.kill();
  CHECK(words_of([&] { (void)caller.forward(pair.x); }).find("failed as well") != std::string::npos);
}

TEST_CASE("H-28 backward goes to a replica when the server did not begin it, and trains once") {
  for (const std::string words : {"busy: 64 requests of this peer are in hand, retry in 100 ms",
                                  "this server is leaving, ask another", "scale.0_backward is busy: 9 tasks wait"}) {
    CAPTURE(words);
    Replicas pair;
    const auto outputs = pair.caller->forward(pair.x);
    pair.first.refuse(backward_method, words);
    const auto gradients = pair.caller->backward(outputs.target, {pair.x}, {torch::ones({3, 4})});
    CHECK(gradients.at(0).allclose(torch::linspace(1, 2, 4).expand({3, 4})));
    CHECK(pair.backends[0]->update_count() == 0);
    CHECK(pair.backends[1]->update_count() == 1);
  }
}

TEST_CASE("H-28 a server that is silent at the first call leaves a replica half of the time") {
  Replicas pair;
  skep::dht::DHT silent({.host_maddrs = {"/ip4/127.0.0.1/tcp/0"}});
  silent.run_coroutine([](auto node) -> skep::awaitable<void> {
    auto network = node.network();
    network.handle("ConnectionHandler.rpc_info", [](const skep::p2p::Request&) -> skep::awaitable<skep::p2p::Payload> {
      skep::Event never(co_await skep::this_executor);
      co_await never.wait();
      co_return skep::p2p::Payload();
    });
    co_return;
  });
  const auto address = *skep::p2p::Multiaddr::from_text(silent.visible_maddrs().front());
  const auto client = std::make_shared<ExpertClient>(ExpertInfo{"scale.0", silent.peer_id(), {address}},
                                                     pair.caller->dht, RemoteExpertOptions{.forward_timeout = 3s});
  const auto outputs = client->network().block_on(client->forward(ExpertInputs::of(pair.x)), 60s);
  CHECK(outputs.target.expert.peer_id != silent.peer_id());
  CHECK(outputs.tensors.at(0).sizes() == pair.x.sizes());
}

TEST_CASE("H-28 backward that may have begun is not repeated elsewhere") {
  Replicas pair;
  const auto outputs = pair.caller->forward(pair.x);
  pair.first.refuse(backward_method, "the device is out of memory");
  CHECK(words_of([&] {
          pair.caller->backward(outputs.target, {pair.x}, {torch::ones({3, 4})});
        }).find("answered with an error: skep: the device is out of memory") != std::string::npos);
  CHECK(pair.backends[1]->update_count() == 0);
  pair.first.refuse(forward_method, "the device is out of memory");
  CHECK(words_of([&] { (void)pair.caller->forward(pair.x); }).find("out of memory") != std::string::npos);
  pair.first.refuse(forward_method, "this server has no expert \"scale.0\"");
  CHECK(pair.caller->forward(pair.x).target.expert.peer_id == pair.second.dht().peer_id());
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
    const auto outputs = skep::moe::detail::block_on(dht, client->forward(ExpertInputs::of(x)));
    CHECK(outputs.tensors.at(0).size(0) == rows);
    CHECK(skep::moe::detail::block_on(dht, client->backward(outputs.target, {x}, {x})).at(0).size(0) == rows);
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
