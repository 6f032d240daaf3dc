#include "skep/moe/server/background_server.hpp"

#include <chrono>
#include <string>

#include "moe/server/experts.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep::moe;  // NOLINT(*-using-namespace)

namespace {
using Background = BackgroundServer<Nop>;
skep::dht::DHTOptions here() { return {.host_maddrs = {"/ip4/127.0.0.1/tcp/0"}}; }
std::string refusal(BackgroundServerOptions options) {
  try {
    const Background server(std::move(options));
  } catch (const skep::Error& e) {
    return e.what();
  }
  return "";
}
}  // namespace

TEST_CASE("C1.4, C1.13: a server in the background is ready when it is there, and gone from the DHT when it is gone") {
  skep::dht::DHT first(here());
  skep::dht::DHTOptions joining = here();
  joining.initial_peers = first.visible_maddrs();
  const auto find = [&] {
    return first.run_coroutine([](auto node) { return get_experts(node, {"nop.0"}, {.latest = true}); })[0];
  };
  {
    Background server({.server = {.experts = {{.expert_uids = {"nop.0"}, .expert = {4}}}}, .dht = joining});
    CHECK(server.server().ready());
    REQUIRE(find());
    CHECK(find()->peer_id == server.peer_id());
    CHECK_FALSE(server.visible_maddrs().empty());
  }
  CHECK_FALSE(find());
}

TEST_CASE("C1.6, C1.13: a start that fails says why and leaves nothing behind") {
  CHECK(refusal({.dht = here()}) ==
        "skep: the server failed to start: a server without experts serves nothing; give it some in `experts`");
  CHECK(refusal({.server = {.experts = {{.expert_cls = "ffn", .num_experts = 1}}}, .dht = here()}) ==
        "skep: the server failed to start: \"ffn\" is no class of experts of this server; it has nop");
  CHECK(refusal({.server = {.experts = {{.num_experts = 1}}, .checkpoints = {.directory = "/nowhere"}}, .dht = here()})
            .starts_with("skep: the server failed to start: the folder of checkpoints, /nowhere, does not exist"));
  skep::dht::DHTOptions wrong = here();
  wrong.host_maddrs = {"/ip4/127.0.0.1/tcp/x"};
  CHECK(refusal({.server = {.experts = {{.num_experts = 1}}}, .dht = wrong})
            .starts_with("skep: the server failed to start: "));
}
