#include "skep/moe/server/serving.hpp"

#include <memory>
#include <stdexcept>

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

CO_TEST_CASE(
    "C2.3, H-25, H-28, H-30: serving opens the door, declares the experts, tells its load, and withdraws them when it "
    "is "
    "asked to leave") {
  const auto executor = co_await skep::this_executor;
  Host host(executor, {.listen = {"/ip4/127.0.0.1/tcp/0"}});
  const skep::dht::NodeOptions alone;
  auto node = co_await skep::dht::Node<Host>::create(host, alone);
  const Runtime idle;
  const BackendOptions options{.expert = {.hidden_dim = 4}, .scheduler = idle.scheduler()};
  const ExpertTable experts{{"nop.0", std::make_shared<ModuleBackend<Nop>>("nop.0", options)}};
  const auto network = std::make_shared<serving::ServerOnNetwork>();
  skep::Scope scope(executor);
  const serving::ServingOptions how{.period = 20ms, .expiration = 10s, .load_period = 5ms};
  scope.spawn(serving::serve_experts(network, node, experts, how));
  co_await serving::wait_until_declared(network);
  const double first = co_await declared_until(node);
  CHECK(first > node.now().seconds);
  for (double again = first; again <= first;) {
    co_await host.sleep_until(host.steady_now() + 5ms);
    again = co_await declared_until(node);
  }
  const auto replicas = co_await find_replicas(node, "nop.0");
  REQUIRE(replicas.size() == 1);
  CHECK(replicas[0].peer_id == node.peer_id());
  // H-25: the load stands beside the expert
  const std::vector<std::string> where{"nop.0."};
  std::optional<ServerLoad> load;
  while (!load) {
    co_await host.sleep_until(host.steady_now() + 5ms);
    const auto found = co_await node.get_many(where);
    for (const auto& item : found[0]->items) load = load ? load : load_of_item(item);
  }
  CHECK(*load == ServerLoad{host.self(), 0s});  // nothing was asked yet

  co_await serving::ask_to_leave(network);
  co_await scope.join();
  const auto nobody = co_await node.get(replicas_key("nop.0"));
  REQUIRE(nobody);
  CHECK(nobody->items.at(0).value.is_nil());
  const auto gone = co_await get_experts(node, {"nop.0"}, {.latest = true});
  CHECK_FALSE(gone[0]);
  co_await leave(node, host);
}

namespace {
// A directory whose first declarations fail, each in its own way.
struct Faulty {
  Host host;
  std::shared_ptr<int> stores = std::make_shared<int>(0);
  std::shared_ptr<std::vector<std::size_t>> sizes = std::make_shared<std::vector<std::size_t>>();

  [[nodiscard]] skep::p2p::PeerId peer_id() const { return host.self(); }
  [[nodiscard]] skep::WallTime now() const { return {1000}; }
  [[nodiscard]] Host& network() { return host; }
  skep::awaitable<std::vector<skep::dht::StoreResult>> store_many(std::vector<skep::dht::StoreItem> items,
                                                                  skep::dht::StoreOptions) {
    ++*stores;
    sizes->push_back(items.size());
    if (*stores == 1) throw std::runtime_error("the disk is full");
    if (*stores == 2) throw skep::Error(skep::errc::timed_out, "nobody answers");
    co_return std::vector<skep::dht::StoreResult>(items.size(), {.accepted = 1});
  }
  skep::awaitable<std::vector<std::optional<skep::dht::Found>>> get_many(std::vector<std::string> keys,
                                                                         skep::dht::GetOptions) {
    co_return std::vector<std::optional<skep::dht::Found>>(keys.size());
  }
};
}  // namespace

CO_TEST_CASE("C2.3, C2.4, H-21: a declaration that throws is logged and the next one comes, of all records again") {
  const auto executor = co_await skep::this_executor;
  Faulty directory{Host(executor)};
  const auto network = std::make_shared<serving::ServerOnNetwork>();
  network->declared.emplace(executor);
  skep::Scope scope(executor);
  const std::vector<std::string> uids{"nop.0", "ffn.1.2"};
  scope.spawn(serving::keep_declared(network, directory, uids, 20ms, 10s));
  while (*directory.stores < 4) co_await directory.host.sleep_until(directory.host.steady_now() + 2ms);
  CHECK(network->declared->is_set());
  CHECK(network->declared_until == skep::WallTime{1010});
  // two uids and a place of each, or both among their replicas
  CHECK(std::ranges::all_of(*directory.sizes, [](std::size_t size) { return size == 4 || size == 2; }));
  scope.cancel();
  co_await scope.join();
  CHECK_FALSE(scope.failure());
  directory.host.close();
  co_await directory.host.join();
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
