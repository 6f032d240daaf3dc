// Against the real p2pd of Hivemind 1.1.12: both directions of everything that p2p/ does.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "skep/async/when_all.hpp"
#include "skep/codec/dht_messages.hpp"
#include "skep/p2p/host.hpp"
#include "support/coroutine.hpp"
#include "support/driver.hpp"
#include "support/vectors.hpp"

#include <doctest/doctest.h>

using namespace std::chrono_literals;
using nlohmann::json;
using skep::awaitable;
using skep::Bytes;
using skep::BytesView;
using skep::codec::NodeInfo;
using skep::p2p::Host;
using skep::p2p::Multiaddr;
using skep::p2p::Payload;
using skep::p2p::PeerId;
using skep::p2p::Request;
using skep::p2p::Stream;
using skep_test::Driver;

namespace {

/// A daemon of the driver's.
struct Daemon {
  PeerId peer;
  std::vector<std::string> addresses;
};

awaitable<Daemon> start(Driver& driver, std::string name, json options = json::object()) {
  options["name"] = name;
  const json started = co_await driver("start", std::move(options));
  co_return Daemon{*PeerId::from_text(started.at("peer").get<std::string>()),
                   started.at("addresses").get<std::vector<std::string>>()};
}

std::vector<std::string> texts(const Host& host) {
  std::vector<std::string> out;
  for (const auto& address : host.addresses()) out.push_back(address.to_string());
  return out;
}

Host make_host(const skep::Executor& executor) {
  skep::set_log_hook([](skep::LogLevel, std::string_view component, std::string_view line) noexcept {
    std::fprintf(stderr, "%.*s: %.*s\n", static_cast<int>(component.size()), component.data(),
                 static_cast<int>(line.size()), line.data());
  });
  return Host(executor, {.listen = {"/ip4/127.0.0.1/tcp/0"}});
}

Bytes node(BytesView bytes) { return skep::codec::encode_message(NodeInfo{.node_id = skep::to_bytes(bytes)}); }
Bytes node(const std::string& text) { return node(skep::as_bytes(text)); }

/// Waits for something that another process brings about, looking again whenever a little time has passed.
template <class Condition>
awaitable<bool> eventually(Host& host, Condition condition) {
  for (const auto end = host.steady_now() + 20s; host.steady_now() < end;) {
    const bool there = co_await condition();
    if (there) co_return true;
    co_await host.sleep_until(host.steady_now() + 50ms);
  }
  co_return false;
}

void serve(Host& host) {
  host.handle("Cpp.echo", [](Request request) -> awaitable<Payload> { co_return std::move(request.body); });
  host.handle("Cpp.boom", [](Request) -> awaitable<Payload> {
    throw std::runtime_error("boom");
    co_return Payload();
  });
  host.handle("Cpp.empty", [](Request) -> awaitable<Payload> { co_return Payload(); });
  host.handle_stream("Cpp.double", [](Stream stream) -> awaitable<void> {
    for (;;) {
      auto message = co_await stream.receive();
      if (!message) co_return;
      co_await stream.send(*message);
      co_await stream.send(*std::move(message));
    }
  });
  host.handle_stream("Cpp.echo_stream", [](Stream stream) -> awaitable<void> {
    for (;;) {
      auto message = co_await stream.receive();
      if (!message) co_return;
      co_await stream.send(*std::move(message));
    }
  });
  host.handle_stream("Cpp.drop", [](Stream stream) -> awaitable<void> {
    auto message = co_await stream.receive();
    co_await stream.send(*std::move(message));
    throw std::runtime_error("no second");
  });
}

}  // namespace

CO_TEST_CASE("we connect to p2pd: identify, ping, unary calls both ways and their errors") {
  const auto executor = co_await asio::this_coro::executor;
  Driver driver(executor, "p2pd_driver.py");
  const Daemon daemon = co_await start(driver, "d");
  co_await driver("serve", {{"name", "d"}});
  Host host = make_host(executor);
  serve(host);
  const auto peer = co_await host.connect(daemon.addresses.front());
  CHECK(peer == daemon.peer);
  const auto ping = co_await host.ping(peer);
  CHECK(ping < 5s);

  const auto answer = co_await host.call(peer, "Py.echo", node("hello"));
  CHECK(answer == node("hello"));
  std::string words;
  try {
    co_await host.call(peer, "Py.boom", node("x"));
  } catch (const skep::RemoteError& error) {
    words = error.text();
  }
  CHECK(words == "ValueError('boom')");
  std::error_code code;
  try {
    co_await host.call(peer, "Py.nothing", node("x"));
  } catch (const skep::Error& error) {
    code = error.code();
  }
  CHECK(code == skep::p2p::errc::protocol_not_supported);
  Bytes large(4'000'000);
  skep::Random(3).fill(large);
  const auto big = co_await host.call(peer, "Py.echo", node(large));
  CHECK(big == node(large));

  const json back = co_await driver(
      "call", {{"name", "d"}, {"peer", host.self().to_string()}, {"method", "Cpp.echo"}, {"body", "0102"}});
  CHECK(back == "0102");
  const json empty = co_await driver(
      "call", {{"name", "d"}, {"peer", host.self().to_string()}, {"method", "Cpp.empty"}, {"body", "01"}});
  CHECK(empty == "");
  const json wide = co_await driver(
      "call_large", {{"name", "d"}, {"peer", host.self().to_string()}, {"method", "Cpp.echo"}, {"size", 4'000'000}});
  CHECK(wide == true);
  std::string python;
  try {
    co_await driver("call", {{"name", "d"}, {"peer", host.self().to_string()}, {"method", "Cpp.boom"}, {"body", "01"}});
  } catch (const std::runtime_error& error) {
    python = error.what();
  }
  CHECK(python == "P2PHandlerError: boom");
}

CO_TEST_CASE("a call that is given up is cancelled at p2pd's handler") {
  const auto executor = co_await asio::this_coro::executor;
  Driver driver(executor, "p2pd_driver.py");
  const Daemon daemon = co_await start(driver, "d");
  co_await driver("serve", {{"name", "d"}});
  Host host = make_host(executor);
  co_await host.connect(daemon.addresses.front());
  std::error_code code;
  try {
    co_await host.call(daemon.peer, "Py.slow", node("x"), {.timeout = 300ms});
  } catch (const skep::Error& error) {
    code = error.code();
  }
  CHECK(code == skep::errc::timed_out);
  const bool cancelled = co_await eventually(host, [&]() -> awaitable<bool> {
    const json names = co_await driver("cancellations");
    co_return names == json{"Py.slow"};
  });
  CHECK(cancelled);
}

CO_TEST_CASE("streaming calls both ways") {
  const auto executor = co_await asio::this_coro::executor;
  Driver driver(executor, "p2pd_driver.py");
  const Daemon daemon = co_await start(driver, "d");
  co_await driver("serve", {{"name", "d"}});
  Host host = make_host(executor);
  serve(host);
  co_await host.connect(daemon.addresses.front());

  auto stream = co_await host.open(daemon.peer, "Py.double");
  for (const char* const text : {"one", "two"}) co_await stream.send(node(text));
  co_await stream.end_of_input();
  std::vector<Bytes> got;
  while (auto message = co_await stream.receive()) got.push_back(*std::move(message));
  CHECK(got == std::vector<Bytes>{node("one"), node("one"), node("two"), node("two")});

  stream = co_await host.open(daemon.peer, "Py.drop");
  for (const char* const text : {"one", "two"}) co_await stream.send(node(text));
  co_await stream.end_of_input();
  const auto first = co_await stream.receive();
  CHECK(first == node("one"));
  std::string words;
  try {
    co_await stream.receive();
  } catch (const skep::RemoteError& error) {
    words = error.text();
  }
  CHECK(words.find("no second") != std::string::npos);

  const json doubled = co_await driver(
      "stream", {{"name", "d"}, {"peer", host.self().to_string()}, {"method", "Cpp.double"}, {"bodies", {"01", "02"}}});
  CHECK(doubled == json{"01", "01", "02", "02"});
  const json none = co_await driver(
      "stream",
      {{"name", "d"}, {"peer", host.self().to_string()}, {"method", "Cpp.double"}, {"bodies", json::array()}});
  CHECK(none == json::array());
  std::string python;
  try {
    co_await driver(
        "stream",
        {{"name", "d"}, {"peer", host.self().to_string()}, {"method", "Cpp.drop"}, {"bodies", {"01", "02", "03"}}});
  } catch (const std::runtime_error& error) {
    python = error.what();
  }
  CHECK(python.find("no second") != std::string::npos);
  const json bulk = co_await driver("bulk", {{"name", "d"},
                                             {"peer", host.self().to_string()},
                                             {"method", "Cpp.echo_stream"},
                                             {"size", 4 * 1024 * 1024},
                                             {"count", 8}});
  CHECK(bulk == json{{"count", 8}, {"total", 8 * 4 * 1024 * 1024}, {"good", true}});

  // 32 MiB to Python and twice as much back
  Bytes chunk(4 * 1024 * 1024);
  skep::Random(5).fill(chunk);
  stream = co_await host.open(daemon.peer, "Py.double");
  const Bytes message = node(chunk);
  std::size_t received = 0;
  std::vector<awaitable<void>> both;
  both.push_back([](Stream& to, const Bytes& body) -> awaitable<void> {
    for (int i = 0; i < 8; ++i) co_await to.send(body);
    co_await to.end_of_input();
  }(stream, message));
  both.push_back([](Stream& from, const Bytes& body, std::size_t& count) -> awaitable<void> {
    while (auto one = co_await from.receive()) count += *one == body ? 1 : 1000;
  }(stream, message, received));
  co_await skep::when_all(std::move(both));
  CHECK(received == 16);
}

CO_TEST_CASE("p2pd connects to us, admits us to its routing table, and two p2pds find each other through us") {
  const auto executor = co_await asio::this_coro::executor;
  Driver driver(executor, "p2pd_driver.py");
  Host hub = make_host(executor);
  serve(hub);
  const Daemon one = co_await start(driver, "one", {{"initial_peers", texts(hub)}});
  const Daemon two = co_await start(driver, "two", {{"initial_peers", texts(hub)}});
  co_await driver("serve", {{"name", "two"}});
  const json answer = co_await driver(
      "call", {{"name", "one"}, {"peer", hub.self().to_string()}, {"method", "Cpp.echo"}, {"body", "77"}});
  CHECK(answer == "77");
  // "one" has never heard of "two"; a peer is admitted a moment after it has connected
  std::string across;
  const bool met = co_await eventually(hub, [&]() -> awaitable<bool> {
    try {
      const json body = co_await driver(
          "call", {{"name", "one"}, {"peer", two.peer.to_string()}, {"method", "Py.echo"}, {"body", "aa"}});
      across = body.get<std::string>();
    } catch (const std::runtime_error& error) {
      across = error.what();
    }
    co_return across == "aa";
  });
  CHECK_MESSAGE(met, across);
  // a p2pd that never met us reaches us by our id, through its neighbour: we are in that one's routing table
  const Daemon three = co_await start(driver, "three", {{"initial_peers", one.addresses}});
  std::string found;
  const bool reached = co_await eventually(hub, [&]() -> awaitable<bool> {
    try {
      const json body = co_await driver(
          "call", {{"name", "three"}, {"peer", hub.self().to_string()}, {"method", "Cpp.echo"}, {"body", "33"}});
      found = body.get<std::string>();
    } catch (const std::runtime_error& error) {
      found = error.what();
    }
    co_return found == "33";
  });
  CHECK_MESSAGE(reached, found);
}

CO_TEST_CASE("we reach by its id a p2pd that only our neighbour knows") {
  const auto executor = co_await asio::this_coro::executor;
  Driver driver(executor, "p2pd_driver.py");
  const Daemon one = co_await start(driver, "one");
  const Daemon two = co_await start(driver, "two", {{"initial_peers", one.addresses}});
  co_await driver("serve", {{"name", "two"}});
  Host host = make_host(executor);
  co_await host.connect(one.addresses.front());
  std::string words;
  const bool found = co_await eventually(host, [&]() -> awaitable<bool> {
    try {
      const auto answer = co_await host.call(two.peer, "Py.echo", node("found"));
      co_return answer == node("found");
    } catch (const skep::Error& error) {
      words = error.what();
    }
    co_return false;
  });
  CHECK_MESSAGE(found, words);
}

CO_TEST_CASE("handlers that come later are pushed, both ways") {
  const auto executor = co_await asio::this_coro::executor;
  Driver driver(executor, "p2pd_driver.py");
  const Daemon daemon = co_await start(driver, "d");
  Host host = make_host(executor);
  co_await host.connect(daemon.addresses.front());
  const auto pong = co_await host.ping(daemon.peer);
  CHECK(pong < 5s);
  serve(host);
  co_await driver("serve", {{"name", "d"}});
  const auto there = co_await host.call(daemon.peer, "Py.echo", node("late"));
  CHECK(there == node("late"));
  const json back = co_await driver(
      "call", {{"name", "d"}, {"peer", host.self().to_string()}, {"method", "Cpp.echo"}, {"body", "01"}});
  CHECK(back == "01");
  host.remove_handler("Cpp.echo");
  std::string python;
  const bool refused = co_await eventually(host, [&]() -> awaitable<bool> {
    try {
      co_await driver("call",
                      {{"name", "d"}, {"peer", host.self().to_string()}, {"method", "Cpp.echo"}, {"body", "01"}});
    } catch (const std::runtime_error& error) {
      python = error.what();
    }
    co_return python.find("protocols not supported") != std::string::npos;
  });
  CHECK(refused);
}

CO_TEST_CASE("a p2pd with an RSA identity, and one that dies") {
  const auto executor = co_await asio::this_coro::executor;
  Driver driver(executor, "p2pd_driver.py");
  char directory[] = "/tmp/skep_test_XXXXXX";
  REQUIRE(mkdtemp(directory) != nullptr);
  const std::string path = std::string(directory) + "/identity";
  const Daemon daemon = co_await start(driver, "rsa", {{"identity_path", path}});
  CHECK(daemon.peer.to_string().starts_with("Qm"));
  co_await driver("serve", {{"name", "rsa"}});
  Host host = make_host(executor);
  co_await host.connect(daemon.addresses.front());
  const auto answer = co_await host.call(daemon.peer, "Py.echo", node("rsa"));
  CHECK(answer == node("rsa"));
  // the same key file serves us
  const auto identity = skep::p2p::Identity::load(path);
  CHECK(identity.id() == daemon.peer);
  co_await driver("stop", {{"name", "rsa"}});
  std::error_code code;
  std::string words;
  try {
    co_await host.call(daemon.peer, "Py.echo", node("gone"), {.timeout = 10s});
  } catch (const skep::Error& error) {
    code = error.code();
    words = error.what();
  }
  CHECK(code == skep::errc::unreachable);
  CHECK(words.starts_with("skep: cannot reach " + daemon.peer.to_string() + " at /ip4/127.0.0.1/tcp/"));
  CHECK(words.find(": connection refused (tried ") != std::string::npos);
  ::unlink(path.c_str());
  ::rmdir(directory);
}
