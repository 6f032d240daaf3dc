#include "skep/dht/dht.hpp"

#include <chrono>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

using namespace skep;
using dht::DHT;
using dht::DHTOptions;
using dht::Node;

namespace {
DHTOptions loopback(std::vector<std::string> initial_peers = {}) {
  DHTOptions options;
  options.initial_peers = std::move(initial_peers);
  options.host_maddrs = {"/ip4/127.0.0.1/tcp/0"};
  return options;
}
std::string words_of(DHTOptions options) {
  try {
    DHT dht(std::move(options));
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}
bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
}  // namespace

TEST_CASE("A1.5 three processes' worth of DHTs share a notebook over real sockets") {
  DHT a(loopback());
  DHT b(loopback(a.visible_maddrs()));
  DHTOptions client = loopback(b.visible_maddrs());
  client.client_mode = true;
  DHT c(client);
  CHECK(c.client_mode());
  CHECK(c.visible_maddrs().empty());
  CHECK(a.peer_id() != b.peer_id());

  CHECK(c.store("greeting", "hello", expires_in(10min)) == dht::StoreResult{.accepted = 2});
  for (DHT* each : {&a, &b, &c}) {
    const auto found = each->get("greeting");
    REQUIRE(found);
    CHECK(found->value == "hello");
  }
  CHECK(b.store_subkey("members", "b", {{"age", 3}}, expires_in(10min)));
  CHECK(c.store_subkey("members", 7, {1, 2.5, nullptr}, expires_in(10min)));
  const auto members = a.get("members", {.latest = true});
  REQUIRE(members);
  CHECK(members->is_dictionary);
  CHECK(members->value == nlohmann::json({{"7", {1, 2.5, nullptr}}, {"b", {{"age", 3}}}}));

  const auto stored = a.store_many({{"x", 1, expires_in(1min)}, {"y", 2, expires_in(1min)}, {"z", 3, expires_in(-1s)}});
  REQUIRE(stored.size() == 3);
  CHECK(stored[0]);
  CHECK_FALSE(stored[2]);
  const auto found = c.get_many({"x", "nothing", "y"});
  REQUIRE(found.size() == 3);
  CHECK(found[0]->value == 1);
  CHECK_FALSE(found[1]);
  CHECK(found[2]->value == 2);

  auto later = b.get_many_future({"x"});
  auto put = b.store_many_future({{"w", 9, expires_in(1min)}});
  CHECK(later.get().front()->value == 1);
  CHECK(put.get().front());
}

TEST_CASE("A1.7 run_coroutine runs on the DHT's thread and hands over values and errors") {
  DHT dht(loopback());
  const int answer = dht.run_coroutine([](Node<> node) -> awaitable<int> {
    CHECK(on_io_thread());
    co_await node.store("k", 41, node.now() + 60s);
    const auto found = co_await node.get("k");
    co_return static_cast<int>(*found->value.get_if<std::int64_t>()) + 1;
  });
  CHECK(answer == 42);
  CHECK_THROWS_WITH(dht.run_coroutine([](Node<>) -> awaitable<void> { throw std::runtime_error("mine"); }), "mine");
}

TEST_CASE("A1.6 a blocking call from the I/O thread fails at once instead of deadlocking") {
  DHT dht(loopback());
  for (const int which : {0, 1, 2, 3}) {
    const auto blocked = dht.run_coroutine([&](Node<>) -> awaitable<bool> {
      try {
        if (which == 0) (void)dht.get("k");
        if (which == 1) (void)dht.store("k", 1, expires_in(1min));
        if (which == 2) (void)dht.visible_maddrs();
        if (which == 3) DHT nested(loopback());
      } catch (const Error& error) {
        co_return error.code() == errc::wrong_thread;
      }
      co_return false;
    });
    CHECK(blocked);
  }
}

TEST_CASE("A1.12 calls before start and after shutdown fail at once with a sentence") {
  DHTOptions options = loopback();
  options.start = false;
  DHT dht(options);
  CHECK_THROWS_WITH_AS((void)dht.get("k"), "skep: the DHT has not been started; call start() first", Error);
  CHECK_THROWS_AS((void)dht.visible_maddrs(), Error);
  dht.start();
  CHECK_THROWS_AS(dht.start(), Error);
  CHECK(dht.store("k", 1, expires_in(1min)));
  const DHT copy = dht;
  dht.shutdown();
  dht.shutdown();
  CHECK_THROWS_WITH_AS((void)dht.get("k"), "skep: the DHT is closed", Error);
  CHECK_THROWS_WITH_AS((void)copy.peer_id(), "skep: the DHT is closed", Error);
  CHECK_THROWS_AS(dht.start(), Error);
}

TEST_CASE("A1.3 errors of joining reach the constructor and say what is wrong") {
  CHECK(words_of(loopback({"/ip4/1.2.3/tcp/80"})) ==
        "skep: initial_peers: \"/ip4/1.2.3/tcp/80\" is not a multiaddress: \"1.2.3\" is not an IPv4 address");
  CHECK(contains(words_of(loopback({"/ip4/127.0.0.1/tcp/80"})), "does not name its peer"));
  std::string nobody;
  {
    DHT gone(loopback());
    nobody = gone.visible_maddrs().front();
  }
  const std::string words = words_of(loopback({nobody}));
  CHECK(contains(words, "none of the 1 initial peers answered a ping"));
  CHECK(contains(words, "refused"));
  DHT other(loopback());
  DHTOptions taken = loopback();
  taken.host_maddrs = {other.visible_maddrs().front().substr(0, other.visible_maddrs().front().find("/p2p/"))};
  CHECK_FALSE(words_of(taken).empty());
}

TEST_CASE("a peer id that does not match is refused") {
  DHT a(loopback());
  DHT b(loopback());
  std::string address = a.visible_maddrs().front();
  address = address.substr(0, address.find("/p2p/")) + "/p2p/" + b.peer_id().to_string();
  const auto start = std::chrono::steady_clock::now();
  CHECK_FALSE(words_of(loopback({address})).empty());
  CHECK(std::chrono::steady_clock::now() - start < 10s);
}

TEST_CASE("shutdown ends calls that run") {
  DHT a(loopback());
  auto slow = a.run_coroutine_future(
      [](Node<> node) -> awaitable<void> { co_await node.network().sleep_until(node.network().steady_now() + 1h); });
  const auto start = std::chrono::steady_clock::now();
  a.shutdown();
  CHECK(std::chrono::steady_clock::now() - start < 3s);
  CHECK_THROWS_AS(slow.get(), Error);
}

TEST_CASE("the last handle may go on the DHT's own thread") {
  std::promise<void> released;
  {
    auto dht = std::make_shared<DHT>(loopback());
    auto held = dht->run_coroutine_future([dht, &released](Node<> node) -> awaitable<void> {
      co_await node.network().sleep_until(node.network().steady_now() + 20ms);
      released.set_value();
    });
    dht.reset();
  }
  released.get_future().wait();
}

TEST_CASE("a handle outlives the variable it came from") {
  DHT kept(loopback());
  {
    DHT first(loopback());
    kept = first;
  }
  CHECK(kept.store("k", 1, expires_in(1min)));
  CHECK(kept.get("k")->value == 1);
}

TEST_CASE("A8.4 a DHT whose validator refuses what others may not write") {
  struct Small : dht::LeavesValues {
    bool validate(const dht::RecordView& record) const { return record.value.size() < 10; }
  };
  dht::BasicDHT<Small> dht(loopback());
  CHECK(dht.store("k", "short", expires_in(10min)));
  CHECK_FALSE(dht.store("k", "much too long for this swarm", expires_in(11min)));
  CHECK(dht.get("k")->value == "short");
  CHECK(dht.run_coroutine([](auto node) -> awaitable<std::size_t> { co_return node.record_count(); }) == 1);
}

TEST_CASE("A1.3 A1.4 starting need not be waited for, and says when it failed") {
  DHTOptions options = loopback({"/ip4/127.0.0.1/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"});
  options.node.wait_timeout = 500ms;
  options.await_ready = false;
  DHT dht(options);
  CHECK_THROWS_AS((void)dht.get("k"), Error);
  CHECK_THROWS_AS(dht.wait_until_ready(), Error);
  CHECK_THROWS_AS((void)dht.get("k"), Error);
  options.initial_peers.clear();
  DHT alone(options);
  alone.wait_until_ready(10s);
  CHECK(alone.store("k", 1, expires_in(1min)));
  options.start = false;
  DHT fresh(options);
  CHECK_THROWS_WITH_AS(fresh.wait_until_ready(), "skep: the DHT has not been started; call start() first", Error);
  fresh.shutdown();
  CHECK_THROWS_WITH_AS(fresh.wait_until_ready(), "skep: the DHT is closed", Error);
}

TEST_CASE("A1.4 another thread may wait while one starts the DHT") {
  DHTOptions options = loopback();
  options.start = false;
  DHT dht(options);
  std::thread other([dht]() mutable {
    for (bool ready = false; !ready;) {
      try {
        dht.wait_until_ready();
        ready = true;
      } catch (const Error&) {  // not started yet
        std::this_thread::yield();
      }
    }
  });
  dht.start();
  other.join();
  CHECK(dht.store("k", 1, expires_in(1min)));
}

TEST_CASE("A1.2 A1.8 calls run beside each other; cancelling a future ends one, and the others go on") {
  DHT dht(loopback());
  CHECK(dht.store("k", 1, expires_in(1min)));
  auto slow = dht.run_coroutine_future([](Node<> node) -> awaitable<int> {
    co_await node.network().sleep_until(node.network().steady_now() + 1h);
    co_return 1;
  });
  auto futures = dht.get_many_futures({"k", "k"});
  slow.cancel();
  CHECK_THROWS_WITH_AS(slow.get(), "skep: the call was cancelled", Error);
  CHECK(futures[1].get().front()->value == 1);
}

TEST_CASE("A1.10 visible addresses end in the peer's id; a client has none and serves nothing") {
  DHT dht(loopback());
  for (const auto& address : dht.visible_maddrs()) CHECK(address.ends_with("/p2p/" + dht.peer_id().to_string()));
  DHTOptions announced = loopback();
  announced.announce_maddrs = {"/ip4/10.1.2.3/tcp/4567"};
  DHT hidden(announced);
  const std::string expected = "/ip4/10.1.2.3/tcp/4567/p2p/" + hidden.peer_id().to_string();
  CHECK(hidden.visible_maddrs() == std::vector{expected});
}
