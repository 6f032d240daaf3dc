#include "skep/p2p/host.hpp"

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "skep/async/scope.hpp"
#include "skep/async/when_all.hpp"
#include "support/coroutine.hpp"
#include "support/hosts.hpp"

#include <doctest/doctest.h>

using namespace std::chrono_literals;
using skep::awaitable;
using skep::Bytes;
using skep::Error;
using skep::p2p::Host;
using skep::p2p::Payload;
using skep::p2p::Request;
using skep_test::connected_hosts;
using skep_test::echo;
using skep_test::failure_of;
using skep_test::listening_host;
using skep_test::shut;

CO_TEST_CASE("a call and its answer, both ways over one connection") {
  auto [server, client] = co_await connected_hosts();
  server.handle("Echo.rpc_say", echo);
  client.handle("Echo.rpc_back", echo);
  for (int i = 0; i < 100; ++i) {
    const auto answer = co_await client.call(server.self(), "Echo.rpc_say", skep::to_bytes(std::to_string(i)));
    CHECK(answer == skep::to_bytes(std::to_string(i)));
  }
  const auto back = co_await server.call(client.self(), "Echo.rpc_back", skep::to_bytes("back"));
  CHECK(back == skep::to_bytes("back"));
  const auto nothing = co_await client.call(server.self(), "Echo.rpc_say", Payload());
  CHECK(nothing.empty());
  CHECK(server.peers() == std::vector{client.self()});
  const auto ping = co_await client.ping(server.self());
  CHECK(ping > 0s);
  co_await shut({server, client});
}

CO_TEST_CASE("bodies up to the limit of unary calls, and not beyond") {
  auto [server, client] = co_await connected_hosts();
  server.handle("Echo.rpc_say", echo);
  Bytes body(4 * 1024 * 1024 - 200);
  skep::Random(7).fill(body);
  const auto answer = co_await client.call(server.self(), "Echo.rpc_say", body);
  CHECK(answer == body);
  for (const Host& host : {server, client}) {
    for (const auto bytes : {host.traffic().received, host.traffic().sent}) {
      CHECK(bytes > body.size());
      CHECK(bytes < body.size() + body.size() / 50);
    }
  }

  body.resize(4 * 1024 * 1024);
  const auto refused = co_await failure_of(client.call(server.self(), "Echo.rpc_say", body));
  CHECK(refused.code == skep::errc::limit_exceeded);
  CHECK(refused.words.find("use a streaming call") != std::string::npos);

  server.handle("Echo.rpc_large", [](Request) -> awaitable<Payload> { co_return Bytes(5'000'000); });
  const auto too_large = co_await failure_of(client.call(server.self(), "Echo.rpc_large", Payload()));
  CHECK(too_large.code == skep::errc::remote);
  CHECK(too_large.words.find("use a streaming call") != std::string::npos);
  const auto limited =
      co_await failure_of(client.call(server.self(), "Echo.rpc_say", Bytes(2000), {.max_response = 1999}));
  CHECK(limited.code == skep::errc::limit_exceeded);
  co_await shut({server, client});
}

CO_TEST_CASE("segments leave from where they lie and land where the sinks say") {
  auto [server, client] = co_await connected_hosts();
  struct Tensor final : skep::p2p::AnyBodySink {
    std::error_code start(std::size_t size) override {
      if (size > 3'000'000) return make_error_code(skep::errc::limit_exceeded);
      bytes.resize(size);
      return {};
    }
    skep::MutableBytes destination() override {
      return skep::MutableBytes(bytes).subspan(at, std::min<std::size_t>(1000, bytes.size() - at));
    }
    std::error_code filled(std::size_t n) override {
      at += n;
      return {};
    }
    Bytes bytes;
    std::size_t at = 0;
  };
  server.handle(
      "Echo.rpc_sink",
      [](Request request) -> awaitable<Payload> {
        CHECK(request.body.empty());
        const auto tensor = std::static_pointer_cast<Tensor>(request.sink);
        Payload answer(skep::to_bytes("head"));
        answer.append(tensor->bytes, tensor);
        co_return answer;
      },
      [](const skep::p2p::PeerId&) { return std::make_shared<Tensor>(); });
  auto segment = std::make_shared<Bytes>(2'500'000);
  skep::Random(1).fill(*segment);
  Payload request(skep::to_bytes("to"));
  request.append(*segment, segment);
  request.append(skep::to_bytes("tail"));
  Bytes expected = skep::to_bytes("headto");
  skep::append(expected, *segment);
  skep::append(expected, skep::to_bytes("tail"));
  const auto sink = std::make_shared<Tensor>();
  co_await client.call_into(server.self(), "Echo.rpc_sink", std::move(request), sink);
  CHECK(sink->bytes == expected);
  CHECK(segment.use_count() == 1);  // the network has let go of it

  const auto refused = co_await failure_of(client.call(server.self(), "Echo.rpc_sink", Bytes(3'100'000)));
  CHECK(refused.code == skep::errc::remote);
  CHECK(refused.words == "a limit is exceeded");
  co_await shut({server, client});
}

CO_TEST_CASE("a handler that throws answers with its words, and fails alone") {
  auto [server, client] = co_await connected_hosts();
  server.handle("Echo.rpc_say", echo);
  server.handle("Echo.rpc_boom", [](Request) -> awaitable<Payload> {
    throw std::runtime_error("boom\n");
    co_return Payload();
  });
  server.handle("Echo.rpc_odd", [](Request) -> awaitable<Payload> {
    throw 7;
    co_return Payload();
  });
  const auto boom = co_await failure_of(client.call(server.self(), "Echo.rpc_boom", Payload()));
  CHECK(boom.code == skep::errc::remote);
  CHECK(boom.words == "boom\\x0a");
  const auto odd = co_await failure_of(client.call(server.self(), "Echo.rpc_odd", Payload()));
  CHECK(odd.words == "an exception of unknown type");
  const auto good = co_await client.call(server.self(), "Echo.rpc_say", skep::to_bytes("still"));
  CHECK(good == skep::to_bytes("still"));
  co_await shut({server, client});
}

CO_TEST_CASE("a method that the peer does not have") {
  auto [server, client] = co_await connected_hosts();
  const auto missing = co_await failure_of(client.call(server.self(), "Echo.rpc_none", Payload()));
  CHECK(missing.code == skep::p2p::errc::protocol_not_supported);
  CHECK(missing.words == "skep: the call of Echo.rpc_none at " + server.self().to_string() +
                             " was refused: the peer has no such method");
  server.handle("Echo.rpc_none", echo);
  const auto there = co_await client.call(server.self(), "Echo.rpc_none", skep::to_bytes("now"));
  CHECK(there == skep::to_bytes("now"));
  server.remove_handler("Echo.rpc_none");
  const auto gone = co_await failure_of(client.call(server.self(), "Echo.rpc_none", Payload()));
  CHECK(gone.code == skep::p2p::errc::protocol_not_supported);
  co_await shut({server, client});
}

CO_TEST_CASE("a thousand calls at once") {
  auto [server, client] = co_await connected_hosts();
  server.handle("Echo.rpc_say", echo);
  std::vector<awaitable<Bytes>> calls;
  for (int i = 0; i < 1000; ++i) {
    calls.push_back(client.call(server.self(), "Echo.rpc_say", Bytes(static_cast<std::size_t>(i) * 17 % 5000, 1)));
  }
  const auto answers = co_await skep::when_all(std::move(calls));
  for (std::size_t i = 0; i < answers.size(); ++i) CHECK(answers[i].size() == i * 17 % 5000);
  co_await shut({server, client});
}

CO_TEST_CASE("the deadline of a call cancels its handler") {
  auto [server, client] = co_await connected_hosts();
  bool cancelled = false;
  server.handle("Echo.rpc_slow", [&server, &cancelled](Request request) -> awaitable<Payload> {
    try {
      co_await server.sleep_until(server.steady_now() + 1h);
    } catch (const std::system_error& error) {
      cancelled = skep::is_cancellation(error.code());
      throw;
    }
    co_return std::move(request.body);
  });
  const auto late = co_await failure_of(client.call(server.self(), "Echo.rpc_slow", Payload(), {.timeout = 50ms}));
  CHECK(late.code == skep::errc::timed_out);
  CHECK(late.words ==
        "skep: the call of Echo.rpc_slow at " + server.self().to_string() + " was not answered within 50 ms");
  const bool noticed = co_await skep_test::eventually(server, [&] { return cancelled; });
  CHECK(noticed);
  co_await shut({server, client});
}

CO_TEST_CASE("a call that is cancelled cancels its handler") {
  auto [server, client] = co_await connected_hosts();
  bool started = false;
  bool cancelled = false;
  server.handle("Echo.rpc_slow", [&](Request request) -> awaitable<Payload> {
    started = true;
    try {
      co_await server.sleep_until(server.steady_now() + 1h);
    } catch (...) {
      cancelled = true;
      throw;
    }
    co_return std::move(request.body);
  });
  skep::Scope scope(client.executor());
  scope.spawn([&client, peer = server.self()]() -> awaitable<void> {
    co_await client.call(peer, "Echo.rpc_slow", Payload(), {.timeout = skep::unlimited});
  });
  const bool running = co_await skep_test::eventually(server, [&] { return started; });
  CHECK(running);
  scope.cancel();
  co_await scope.join();
  const bool noticed = co_await skep_test::eventually(server, [&] { return cancelled; });
  CHECK(noticed);
  co_await shut({server, client});
}

CO_TEST_CASE("a peer that goes away fails the calls that wait for it, and comes back") {
  const auto executor = co_await asio::this_coro::executor;
  const auto identity = skep::p2p::Identity::generate();
  auto [server, client] = co_await connected_hosts({.identity = identity});
  server.handle("Echo.rpc_slow", [&server](Request) -> awaitable<Payload> {
    server.close();
    co_await server.sleep_until(server.steady_now() + 1h);
    co_return Payload();
  });
  const auto lost = co_await failure_of(client.call(server.self(), "Echo.rpc_slow", Payload()));
  CHECK(lost.code == std::errc::connection_reset);
  CHECK(lost.words.find("Echo.rpc_slow at " + server.self().to_string() + " failed: ") != std::string::npos);
  co_await server.join();
  const auto gone = co_await failure_of(client.call(server.self(), "Echo.rpc_say", Payload(), {.timeout = 5s}));
  CHECK(gone.code == skep::errc::unreachable);

  Host again = listening_host(executor, {.identity = identity});
  again.handle("Echo.rpc_say", echo);
  co_await client.connect(again.addresses().front());
  const auto answer = co_await client.call(again.self(), "Echo.rpc_say", skep::to_bytes("back"));
  CHECK(answer == skep::to_bytes("back"));
  co_await shut({again, client});
}

CO_TEST_CASE("errors of connecting say whom, where, why, and what was tried") {
  const auto executor = co_await asio::this_coro::executor;
  Host host(executor);
  const Host other = listening_host(executor);
  const auto somebody = skep::p2p::Identity::generate().id();
  // nobody listens
  asio::ip::tcp::acceptor closed(executor, asio::ip::tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  const std::string port = std::to_string(closed.local_endpoint().port());
  closed.close();
  const std::string address = "/ip4/127.0.0.1/tcp/" + port;
  const auto refused = co_await failure_of(host.connect(address + "/p2p/" + somebody.to_string()));
  CHECK(refused.code == skep::errc::unreachable);
  CHECK(refused.words.starts_with("skep: cannot reach " + somebody.to_string() + " at " + address +
                                  ": connection refused (tried 1 address in 0."));
  const auto anonymous = co_await failure_of(host.connect(address));
  CHECK(anonymous.words.starts_with("skep: cannot reach " + address + ": connection refused (tried 1 address in "));
  // again at once: the address is left alone
  const auto later = co_await failure_of(host.call(somebody, "Echo.rpc_say", Payload()));
  CHECK(later.words.find("left alone for another ") != std::string::npos);
  // somebody else answers
  const auto wrong = co_await failure_of(host.connect(other.addresses().front().without_peer().with_peer(somebody)));
  CHECK(wrong.code == skep::p2p::errc::wrong_peer);
  CHECK(wrong.words.find("the peer is not the one that was dialled") != std::string::npos);
  // a text that is no address
  const auto text =
      co_await failure_of([](Host& from) -> awaitable<void> { co_await from.connect("/ip4/1.2.3/tcp/80"); }(host));
  CHECK(text.words == "skep: \"/ip4/1.2.3/tcp/80\" is not a multiaddress: \"1.2.3\" is not an IPv4 address");
  // nobody knows
  const auto unknown = co_await failure_of(host.call(skep::p2p::Identity::generate().id(), "Echo.rpc_say", Payload()));
  CHECK(unknown.words.find("no address of it is known") != std::string::npos);
  // ourselves
  const auto self = co_await failure_of(host.call(host.self(), "Echo.rpc_say", Payload()));
  CHECK(self.code == skep::errc::invalid_argument);
  // a silent listener
  asio::ip::tcp::acceptor silent(executor, asio::ip::tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  const auto dumb = co_await failure_of(
      host.connect("/ip4/127.0.0.1/tcp/" + std::to_string(silent.local_endpoint().port()), {.timeout = 50ms}));
  CHECK(dumb.code == skep::errc::timed_out);
  co_await shut({other, host});
}

TEST_CASE("a port in use and a bad address are refused at once") {
  asio::io_context io;
  asio::ip::tcp::acceptor taken(io, asio::ip::tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  const std::string address = "/ip4/127.0.0.1/tcp/" + std::to_string(taken.local_endpoint().port());
  const auto words = [&](const std::string& listen) -> std::string {
    try {
      const Host host(io, {.listen = {listen}});
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  CHECK(words(address).find("cannot listen on " + address) != std::string::npos);
  CHECK(words(address).find("in use") != std::string::npos);
  CHECK(words("/ip4/1.2.3/tcp/80") ==
        "skep: \"/ip4/1.2.3/tcp/80\" is not a multiaddress: \"1.2.3\" is not an IPv4 address");
  CHECK(words("/dns/localhost/tcp/0").find("cannot listen on /dns/localhost/tcp/0") != std::string::npos);
}

CO_TEST_CASE("two hosts that dial each other at once end with a connection that works") {
  const auto executor = co_await asio::this_coro::executor;
  Host one = listening_host(executor);
  Host two = listening_host(executor);
  one.handle("Echo.rpc_say", echo);
  two.handle("Echo.rpc_say", echo);
  one.add_address(two.self(), two.addresses().front());
  two.add_address(one.self(), one.addresses().front());
  std::vector<awaitable<Bytes>> calls;
  for (int i = 0; i < 20; ++i) {
    calls.push_back(one.call(two.self(), "Echo.rpc_say", skep::to_bytes("a")));
    calls.push_back(two.call(one.self(), "Echo.rpc_say", skep::to_bytes("a")));
  }
  const auto answers = co_await skep::when_all(std::move(calls));
  for (const auto& answer : answers) CHECK(answer == skep::to_bytes("a"));
  co_await shut({one, two});
}

CO_TEST_CASE("calls that need the same connection share one dial") {
  const auto executor = co_await asio::this_coro::executor;
  Host server = listening_host(executor, {.limits = {.max_connections_per_peer = 1}});
  Host client(executor);
  server.handle("Echo.rpc_say", echo);
  client.add_address(server.self(), server.addresses().front());
  std::vector<awaitable<Bytes>> calls;
  for (int i = 0; i < 20; ++i) calls.push_back(client.call(server.self(), "Echo.rpc_say", skep::to_bytes("a")));
  const auto answers = co_await skep::when_all(std::move(calls));
  CHECK(answers.size() == 20);
  co_await shut({server, client});
}

CO_TEST_CASE("a peer whose address only a neighbour knows is found and called") {
  const auto executor = co_await asio::this_coro::executor;
  Host hub = listening_host(executor);
  Host one = listening_host(executor);
  Host two = listening_host(executor);
  two.handle("Echo.rpc_say", echo);
  co_await one.connect(hub.addresses().front());
  co_await two.connect(hub.addresses().front());
  std::string words;
  Bytes answer;
  const auto end = one.steady_now() + 10s;
  while (answer.empty() && one.steady_now() < end) {  // until the hub knows where "two" listens
    try {
      answer = co_await one.call(two.self(), "Echo.rpc_say", skep::to_bytes("found"));
    } catch (const Error& error) {
      words = error.what();
    }
  }
  CHECK_MESSAGE(answer == skep::to_bytes("found"), words);
  co_await shut(hub);
  co_await shut({one, two});
}

CO_TEST_CASE("an identity file gives a host the same name again") {
  const auto executor = co_await asio::this_coro::executor;
  const auto directory = std::filesystem::temp_directory_path() / ("skep_host_test_" + std::to_string(::getpid()));
  std::filesystem::create_directories(directory);
  const Host one(executor, {.identity_path = directory / "key"});
  const Host two(executor, {.identity_path = directory / "key"});
  CHECK(one.self() == two.self());
  std::filesystem::remove_all(directory);
}

CO_TEST_CASE("a closed host refuses, and closing twice is closing once") {
  auto [server, client] = co_await connected_hosts();
  client.close();
  client.close();
  co_await client.join();
  const auto refused = co_await failure_of(client.call(server.self(), "Echo.rpc_say", Payload()));
  CHECK(refused.code == skep::errc::closed);
  const auto connect = co_await failure_of(client.connect(server.addresses().front()));
  CHECK(connect.code == skep::errc::closed);
  co_await shut(server);
}

TEST_CASE("a host whose context ends first leaves nothing behind") {
  // calls under way, handlers asleep, dials half done: all destroyed with the context
  for (int steps = 0; steps < 400; steps += 7) {
    asio::io_context io;
    Host server = listening_host(io.get_executor());
    Host client(io);
    server.handle("Echo.rpc_say", echo);
    server.handle("Echo.rpc_slow", [&server](Request) -> awaitable<Payload> {
      co_await server.sleep_until(server.steady_now() + 1h);
      co_return Payload();
    });
    const auto body = [&]() -> awaitable<void> {
      co_await client.connect(server.addresses().front());
      co_await client.call(server.self(), "Echo.rpc_say", Bytes(100'000));
      auto stream = co_await client.open(server.self(), "Echo.rpc_slow");
      co_await stream.send(Bytes(100'000));
      co_await client.call(server.self(), "Echo.rpc_slow", Bytes(1000));
    };
    asio::co_spawn(io, body, [](std::exception_ptr) {});
    for (int i = 0; i < steps && io.run_one_for(5ms) > 0; ++i) {
    }
  }
}

TEST_CASE("closing at any moment ends everything") {
  for (int steps = 0; steps < 400; steps += 7) {
    CAPTURE(steps);
    asio::io_context io;
    Host server = listening_host(io.get_executor());
    Host client(io);
    server.handle("Echo.rpc_say", echo);
    server.handle("Echo.rpc_slow", [&server](Request) -> awaitable<Payload> {
      co_await server.sleep_until(server.steady_now() + 1h);
      co_return Payload();
    });
    server.handle_stream("Echo.rpc_stream", [](Host::Stream stream) -> awaitable<void> {
      while (auto message = co_await stream.receive()) co_await stream.send(*std::move(message));
    });
    bool over = false;
    const auto body = [&]() -> awaitable<void> {
      co_await client.connect(server.addresses().front());
      co_await client.call(server.self(), "Echo.rpc_say", Bytes(100'000));
      auto stream = co_await client.open(server.self(), "Echo.rpc_stream");
      co_await stream.send(Bytes(600'000));
      co_await stream.receive();
      co_await client.call(server.self(), "Echo.rpc_slow", Bytes(1000));
    };
    asio::co_spawn(io, body, [&](std::exception_ptr) { over = true; });
    for (int i = 0; i < steps && io.run_one_for(5ms) > 0; ++i) {
    }
    Host& first = steps % 2 == 0 ? server : client;
    Host& second = steps % 2 == 0 ? client : server;
    bool joined = false;
    asio::co_spawn(
        io,
        [&]() -> awaitable<void> {
          co_await shut(first);
          co_await shut(second);
        },
        [&](std::exception_ptr thrown) { joined = !thrown; });
    for (const auto end = std::chrono::steady_clock::now() + 10s;
         !(joined && over) && std::chrono::steady_clock::now() < end;) {
      io.run_one_for(10ms);
    }
    CHECK(over);
    CHECK(joined);
  }
}
