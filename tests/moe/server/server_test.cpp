#include "skep/moe/server/server.hpp"

#include <chrono>
#include <filesystem>
#include <iterator>
#include <string>
#include <thread>

#include "moe/server/experts.hpp"
#include "skep/dht/dht.hpp"
#include "skep/dht/ed25519_validator.hpp"
#include "support/members.hpp"
#include "support/temporary_folder.hpp"
#include "support/words_of.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep::moe;  // NOLINT(*-using-namespace)
using skep::awaitable;
using skep::dht::DHT;
using skep::test::words_of;
using namespace std::chrono_literals;

namespace {
DHT local_dht(std::vector<std::string> initial_peers = {}, std::shared_ptr<skep::dht::Authorizer> authorizer = {}) {
  return DHT({.initial_peers = std::move(initial_peers),
              .host_maddrs = {"/ip4/127.0.0.1/tcp/0"},
              .node = {.authorizer = std::move(authorizer)}});
}
std::string refusal(ServerOptions options) {
  static DHT dht = local_dht();
  try {
    const Server<Nop, Gated> server(dht, std::move(options));
  } catch (const skep::Error& e) {
    return e.what();
  }
  return "";
}
// Calls nop on the server of `peer` from another DHT's host.
awaitable<std::vector<Tensor>> forward(skep::dht::Node<> node, skep::p2p::PeerId peer, std::string uid, Tensor x) {
  auto sink = std::make_shared<TensorSink>();
  const std::vector<Tensor> inputs{x};
  co_await node.network().call_into(peer, "ConnectionHandler.rpc_forward", tensor_message(uid, inputs), sink);
  co_return *sink->take();
}
// One request to nop.0 by any of the methods; what is wrong with it, or nothing.
awaitable<std::string> refusal_of(skep::dht::Node<> node, skep::p2p::PeerId peer, std::string method,
                                  skep::Bytes ticket) {
  const RequestMetadata metadata{.ticket = std::move(ticket)};
  const std::vector<Tensor> tensors(method.find("backward") == std::string::npos ? 1 : 2, torch::ones({1, 4}));
  auto sink = std::make_shared<TensorSink>();
  try {
    if (method.ends_with("info")) {
      co_await node.network().call(peer, method, skep::codec::ExpertUID{"nop.0", metadata.encode()}.encode());
    } else if (!method.ends_with("stream")) {
      auto message = tensor_message("nop.0", tensors);
      metadata.prepend_to(message);
      co_await node.network().call_into(peer, method, std::move(message), sink);
    } else {
      auto stream = co_await node.network().open(peer, method);
      auto messages = tensor_stream("nop.0", tensors);
      metadata.prepend_to(messages.front());
      for (auto& message : messages) co_await stream.send(std::move(message));
      co_await stream.end_of_input();
      for (bool more = true; more;) more = co_await stream.receive_into(sink);
    }
  } catch (const skep::RemoteError& error) {
    co_return error.text();
  }
  co_return "";
}
std::vector<std::optional<ExpertInfo>> find(DHT& dht, std::vector<std::string> uids) {
  return dht.run_coroutine([uids](auto node) { return get_experts(node, uids, {.latest = true}); });
}
}  // namespace

TEST_CASE("C1.1 a server hosts experts of several classes, is found through the DHT and answers") {
  DHT dht = local_dht();
  const auto made = [](const std::string& uid, const BackendOptions& options) {
    return std::make_shared<ModuleBackend<Nop>>(uid, options);
  };
  Server<Nop, Gated> server(dht, {.experts = {{.expert_cls = "nop", .expert_uids = {"nop.0"}, .expert = {4}},
                                              {.expert_uids = {"nop.5.7"}, .expert = {4}, .make = made},
                                              {.expert_cls = "gated", .num_experts = 2, .expert = {8}}}});
  CHECK(server.uids() == std::vector<std::string>{"expert.0", "expert.1", "nop.0", "nop.5.7"});
  CHECK(Server<Nop, Gated>::class_names() == std::vector<std::string>{"nop", "gated"});
  CHECK_FALSE(server.ready());
  server.run_in_background();
  CHECK(server.ready());

  DHT client = local_dht(dht.visible_maddrs());
  const auto found = find(client, {"nop.0", "nop.5.7", "expert.1", "nop.9"});
  REQUIRE(found[1]);
  CHECK(found[1]->peer_id == dht.peer_id());
  CHECK(found[0].has_value());
  CHECK(found[2].has_value());
  CHECK_FALSE(found[3].has_value());

  const auto x = torch::randn({3, 4});
  const auto y = client.run_coroutine([&](auto node) { return forward(node, dht.peer_id(), "nop.5.7", x); });
  CHECK(at::equal(y[0], x));
  const ServerStatistics statistics = server.statistics();
  CHECK(statistics.pools.at("nop.5.7_forward").samples == 3);
  CHECK(statistics.experts.at("nop.5.7").forward == 1);
  CHECK(statistics.experts.at("nop.5.7").bytes_in == 48);
  CHECK(statistics.experts.at("nop.5.7").bytes_out == 48);
  CHECK(statistics.updates.at("nop.5.7") == 0);
  server.shutdown();
  CHECK_FALSE(server.ready());
  CHECK_THROWS(client.run_coroutine([&](auto node) { return forward(node, dht.peer_id(), "nop.5.7", x); }));
}

TEST_CASE("C1.15 servers of one pattern take the uids that the others left") {
  DHT first = local_dht();
  DHT second = local_dht(first.visible_maddrs());
  const ServerOptions options{.experts = {{.num_experts = 2, .expert_pattern = "nop.[0:2].[0:2]", .expert = {4}}}};
  Server<Nop> one(first, options);
  one.start();
  Server<Nop> two(second, options);
  two.start();
  auto uids = one.uids();
  for (const auto& uid : two.uids()) uids.push_back(uid);
  std::ranges::sort(uids);
  CHECK(uids == std::vector<std::string>{"nop.0.0", "nop.0.1", "nop.1.0", "nop.1.1"});
  try {
    const Server<Nop> three(second, options);
    FAIL("there was no free uid");
  } catch (const skep::Error& e) {
    CHECK(
        std::string(e.what()) ==
        "skep: no free expert uid was found in the pattern nop.[0:2].[0:2]: all that were tried are served by others");
  }
}

TEST_CASE("C2.3 experts are declared again before they expire") {
  DHT dht = local_dht();
  DHT client = local_dht(dht.visible_maddrs());
  Server<Nop> server(
      dht, {.experts = {{.expert_uids = {"nop.0"}, .expert = {4}}}, .update_period = 100ms, .expiration = 500ms});
  server.start();
  const auto declared = [&] {
    const auto found = client.get("nop.0", {.latest = true});
    return found ? found->expiration : skep::WallTime{};
  };
  const auto first = declared();
  const auto begin = std::chrono::steady_clock::now();
  while (declared() <= first && std::chrono::steady_clock::now() - begin < 20s) std::this_thread::yield();
  CHECK(declared() > first);
}

TEST_CASE("C1.6 options that do not fit are told before anything is started") {
  CHECK(refusal({}) == "skep: a server without experts serves nothing; give it some in `experts`");
  CHECK(refusal({.experts = {{}}}) ==
        "skep: give either expert_uids or num_experts, possibly with expert_pattern, but not both");
  CHECK(refusal({.experts = {{.expert_uids = {"nop.0"}, .num_experts = 1}}}) ==
        "skep: give either expert_uids or num_experts, possibly with expert_pattern, but not both");
  CHECK(refusal({.experts = {{.expert_uids = {"nop"}}}}).starts_with("skep: \"nop\" is not an expert uid: "));
  CHECK(refusal({.experts = {{.expert_uids = {"nop.0", "nop.0"}}}}) == "skep: expert nop.0 is listed twice");
  CHECK(refusal({.experts = {{.expert_cls = "ffn", .num_experts = 1}}}) ==
        "skep: \"ffn\" is no class of experts of this server; it has nop, gated");
  CHECK(refusal({.experts = {{.num_experts = 1, .expert_pattern = "nop.[0:x]"}}})
            .starts_with("skep: \"nop.[0:x]\" is not an expert pattern: "));
  CHECK(refusal({.experts = {{.num_experts = 1}}, .expiration = 1s})
            .starts_with("skep: expiration must be longer than update_period"));
  CHECK(refusal({.experts = {{.num_experts = 1}}, .min_batch_size = 10, .max_batch_size = 5}).size() > 0);
}

TEST_CASE("C1.3 a server that is not ready in time says how long was waited, and goes on starting") {
  DHT dht = local_dht();
  Server<Nop> server(dht, {.experts = {{.expert_uids = {"nop.0"}, .expert = {.hidden_dim = 4}}}});
  CHECK(words_of([&] { server.run_in_background(true, 0s); }) ==
        "skep: the server is not ready after 0 ms; it goes on starting");
  server.shutdown();
}

TEST_CASE("C1.5 shutting down is clean in every order and can be repeated") {
  const ServerOptions options{.experts = {{.expert_uids = {"nop.0"}, .expert = {4}}}};
  const auto begin = std::chrono::steady_clock::now();
  {
    DHT dht = local_dht();
    {
      const Server<Nop> never_started(dht, options);
    }
    Server<Nop> server(dht, options);
    server.start();
    server.start();
    server.shutdown();
    server.shutdown();
    CHECK_THROWS_AS(server.start(), skep::Error);
    Server<Nop> again(dht, options);
    again.start();
  }
  {
    DHT dht = local_dht();
    Server<Nop> server(dht, options);
    server.start();
    dht.shutdown();  // the DHT first
    server.shutdown();
  }
  {
    DHT dht = local_dht();
    Server<Nop> server(dht, options);
    server.run_in_background(false);
    server.shutdown();  // while it starts
    CHECK_FALSE(server.ready());
  }
  {
    DHT dht = local_dht();
    Server<Nop> server(dht, options);
    std::thread serving([&] { server.run(); });
    while (!server.ready()) std::this_thread::yield();
    server.shutdown();
    serving.join();
  }
  CHECK(std::chrono::steady_clock::now() - begin < 10s);
}

TEST_CASE("C1.7, C8.3, H-30: a server that starts again has the experts and what they have learned") {
  const skep::test::TemporaryFolder directory;
  DHT dht = local_dht();
  DHT client = local_dht(dht.visible_maddrs());
  const ServerOptions options{.experts = {{.num_experts = 2, .expert_pattern = "gated.[0:100].[0:100]", .expert = {4}}},
                              .checkpoints = {.directory = directory.path(), .period = 1h}};
  std::vector<std::string> uids;
  Tensor learned;
  {
    Server<Gated> server(dht, options);
    server.start();
    uids = server.uids();
    CHECK(find(client, uids)[0].has_value());
    const auto x = torch::ones({1, 4});
    (void)server.experts().at(uids[0])->backward({x, x, x});
    learned = server.experts().at(uids[0])->state().parameters["gate.weight"];
  }
  for (const auto& expert : find(client, uids)) CHECK_FALSE(expert.has_value());  // withdrawn at once
  Server<Gated> again(dht, options);
  CHECK(again.uids() == uids);
  CHECK(again.experts().at(uids[0])->update_count() == 1);
  CHECK(at::equal(again.experts().at(uids[0])->state().parameters["gate.weight"], learned));
  again.start();
  for (const auto& expert : find(client, uids)) CHECK(expert.has_value());
}

TEST_CASE("C9.8, H-23: a server takes one thread beside that of its DHT, however many experts it has") {
  const auto threads = [] {
    const std::filesystem::directory_iterator all("/proc/self/task");
    return std::distance(begin(all), end(all));
  };
  DHT dht = local_dht();
  const auto before = threads();
  Server<Nop> server(dht, {.experts = {{.num_experts = 16, .expert = {4}}}});
  server.start();
  CHECK(server.experts().size() == 16);
  CHECK(threads() == before + 1);
}

TEST_CASE("a group may make its experts itself") {
  DHT dht = local_dht();
  const auto make = [](const std::string& uid, const BackendOptions& options) -> std::shared_ptr<ExpertBackend> {
    return std::make_shared<ModuleBackend<Touchy>>(uid, options);
  };
  const Server<Nop> server(dht, {.experts = {{.expert_uids = {"own.0"}, .make = make}}});
  CHECK(server.experts().at("own.0")->class_name() == "Touchy");
}

TEST_CASE("A10.5, H-36: a server that guards its calls serves members of the swarm only, each ticket once") {
  const skep::test::Members members;
  const ServerOptions options{.experts = {{.expert_uids = {"nop.0"}, .expert = {4}}}, .guard_calls = true};
  CHECK(
      refusal(options).starts_with("skep: guard_calls asks for tickets by the DHT's authorizer, but the DHT has none"));
  DHT dht = local_dht({}, members.join());
  DHT client = local_dht(dht.visible_maddrs(), members.join());
  Server<Nop> server(dht, options);
  server.start();

  const auto ticket = [&](const skep::p2p::PeerId& server_id, const std::string& method) {
    return client.run_coroutine([&](auto node) {
      const skep::dht::CallGuard<skep::p2p::Host> guard(node.network(), node.options().authorizer);
      return guard.ticket(server_id, method);
    });
  };
  const auto ask = [&](const std::string& method, const skep::Bytes& with) {
    return client.run_coroutine([&](auto node) { return refusal_of(node, dht.peer_id(), method, with); });
  };
  for (const char* call : {"info", "forward", "backward", "forward_stream", "backward_stream"}) {
    CAPTURE(call);
    const std::string method = std::string("ConnectionHandler.rpc_") + call;
    const std::string refused = "skep: " + method + " is for members of this swarm, and the request is refused: ";
    const skep::Bytes good = ticket(dht.peer_id(), method);
    CHECK(ask(method, {}) == refused + "it carries no authorization, which this swarm asks for");
    CHECK(ask(method, good) == "");
    CHECK(ask(method, good) == refused + "it was sent before");
    CHECK(ask(method, ticket(client.peer_id(), method)) == refused + "it was signed for another recipient");
    CHECK(ask(method, ticket(dht.peer_id(), "another method")) == refused + "it was signed for another caller");
  }
  const ExpertTraffic seen = server.statistics().experts.at("nop.0");
  CHECK(seen.unauthorized == 20);
  CHECK(seen.forward == 2);
  CHECK(server.statistics().updates.at("nop.0") == 2);
}

TEST_CASE("H-37: a server endorses its declarations as the owner whose key its DHT has") {
  using skep::dht::Ed25519SignatureValidator;
  const Ed25519SignatureValidator key(skep::crypto::Ed25519KeyPair::generate());
  const ServerOptions options{.experts = {{.expert_uids = {"nop.0"}, .expert = {4}}}, .owner_tag = key.owner_tag()};
  CHECK(refusal(options).starts_with("skep: owner_tag names an owner for whom the DHT does not sign"));
  const auto local = [](std::vector<std::string> peers, const Ed25519SignatureValidator& validator) {
    return skep::dht::BasicDHT<Ed25519SignatureValidator>(
        {.initial_peers = std::move(peers), .host_maddrs = {"/ip4/127.0.0.1/tcp/0"}}, validator);
  };
  auto dht = local({}, key);
  auto other = local(dht.visible_maddrs(), Ed25519SignatureValidator(skep::crypto::Ed25519KeyPair::generate()));
  const auto endorsed = [&] {
    return other
        .run_coroutine([&](auto node) {
          return get_endorsed_experts(std::move(node), {"nop.0"}, key.owner_tag(), {.latest = true});
        })
        .front();
  };
  Server<Nop> server(dht, options);
  server.start();
  // another declares the uid for longer, and would endorse it in the owner's name
  const auto taken = other.run_coroutine([&](auto node) {
    const auto until = node.now() + 3600s;
    return declare_experts(std::move(node), {"nop.0"}, until, {}, key.owner_tag());
  });
  CHECK(taken.front().stored);
  CHECK_FALSE(taken.back().visible());
  DHT client = local_dht(dht.visible_maddrs());
  CHECK(find(client, {"nop.0"}).front()->peer_id == other.peer_id());
  REQUIRE(endorsed());
  CHECK(endorsed()->peer_id == dht.peer_id());
  server.shutdown();
  CHECK_FALSE(endorsed());
}
