#include "skep/moe/server/serving.hpp"

#include <memory>

#include "skep/async/scope.hpp"
#include "skep/moe/server/layers.hpp"
#include "skep/moe/server/module_backend.hpp"
#include "support/coroutine.hpp"

using namespace skep::moe;  // NOLINT(*-using-namespace)
using namespace std::chrono_literals;
using skep::p2p::Host;
namespace serving = skep::moe::detail;

namespace {
skep::awaitable<void> leave(skep::dht::Node<Host> node, Host host) {
  node.close();
  co_await node.join();
  host.close();
  co_await host.join();
}
skep::awaitable<double> declared_until(skep::dht::Node<Host> node) {
  const auto found = co_await node.get("nop.0");
  co_return found ? found->expiration.seconds : 0;
}
}  // namespace

CO_TEST_CASE("C2.3 serving opens the door, declares the experts, and ends when it is asked to leave") {
  const auto executor = co_await skep::this_executor;
  Host host(executor, {.listen = {"/ip4/127.0.0.1/tcp/0"}});
  const skep::dht::NodeOptions alone;
  auto node = co_await skep::dht::Node<Host>::create(host, alone);
  const Runtime idle;
  const BackendOptions options{.expert = {.hidden_dim = 4}, .scheduler = idle.scheduler()};
  const ExpertTable experts{{"nop.0", std::make_shared<ModuleBackend<Nop>>("nop.0", options)}};
  const auto network = std::make_shared<serving::ServerOnNetwork>();
  skep::Scope scope(executor);
  scope.spawn(serving::serve_experts(network, node, experts, {.period = 20ms, .expiration = 10s}));
  co_await serving::wait_until_declared(network);
  const double first = co_await declared_until(node);
  CHECK(first > node.now().seconds);
  for (double again = first; again <= first;) {
    co_await host.sleep_until(host.steady_now() + 5ms);
    again = co_await declared_until(node);
  }
  co_await serving::ask_to_leave(network);
  co_await scope.join();
  co_await leave(node, host);
}

CO_TEST_CASE("a server that was closed before it came does not open the door") {
  const auto executor = co_await skep::this_executor;
  Host host(executor, {.listen = {"/ip4/127.0.0.1/tcp/0"}});
  const skep::dht::NodeOptions alone;
  auto node = co_await skep::dht::Node<Host>::create(host, alone);
  const auto network = std::make_shared<serving::ServerOnNetwork>();
  co_await serving::ask_to_leave(network);
  const ExpertTable none;
  co_await serving::serve_experts(network, node, none, {});
  co_await serving::wait_until_declared(network);
  co_await leave(node, host);
}
