#include "skep/sim/network.hpp"

#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace skep;
using p2p::Payload;
using p2p::Request;

namespace {
void echo(sim::Host host) {
  host.handle("Echo.rpc_say",
              [](Request request) -> awaitable<Payload> { co_return Payload(std::move(request.body)); });
}
std::error_code failure_of(sim::World& world, awaitable<Bytes> call) {
  try {
    world.run(std::move(call));
  } catch (const Error& error) {
    return error.code();
  }
  return {};
}
bool is(std::error_code code, errc wanted) { return code == wanted; }
}  // namespace

TEST_CASE("a call takes one round trip of virtual time") {
  sim::World world({.latency = sim::constant(30ms)});
  sim::Host a(world);
  sim::Host b(world);
  echo(b);
  CHECK(a.self() != b.self());
  CHECK(world.run(a.call(b.self(), "Echo.rpc_say", Bytes{1, 2})) == Bytes{1, 2});
  CHECK(world.time().now() == SteadyTime(30ms));
  CHECK(world.calls("Echo.rpc_say") == 1);
}

TEST_CASE("failures look as they do on sockets") {
  sim::World world;
  sim::Host a(world);
  sim::Host b(world);
  echo(b);
  b.handle("Echo.rpc_fail", [](Request) -> awaitable<Payload> { throw std::runtime_error("no luck"); });
  CHECK(is(failure_of(world, a.call(b.self(), "Echo.rpc_none", Bytes{})), errc::refused));
  CHECK(is(failure_of(world, a.call(b.self(), "Echo.rpc_fail", Bytes{})), errc::remote));
  CHECK(is(failure_of(world, a.call(b.self(), "Echo.rpc_say", Bytes(9), {.max_response = 8})), errc::limit_exceeded));
  CHECK(is(failure_of(world, a.call(b.self(), "Echo.rpc_say", Bytes(p2p::max_unary_size + 1))), errc::limit_exceeded));
  CHECK(is(failure_of(world, a.call(*p2p::PeerId::from_bytes(Bytes{0, 1, 1}), "Echo.rpc_say", Bytes{})),
           errc::unreachable));
  const auto before = world.time().now();
  world.kill(b.self());
  CHECK(is(failure_of(world, a.call(b.self(), "Echo.rpc_say", Bytes{}, {.timeout = 3s})), errc::timed_out));
  CHECK(world.time().now() == before + 3s);
  world.revive(b.self());
  CHECK_FALSE(failure_of(world, a.call(b.self(), "Echo.rpc_say", Bytes{})));
  b.close();
  CHECK(is(failure_of(world, a.call(b.self(), "Echo.rpc_say", Bytes{})), errc::unreachable));
}

TEST_CASE("sinks and streams work as on sockets") {
  sim::World world;
  sim::Host a(world);
  sim::Host b(world);
  b.handle(
      "Sink.rpc_size",
      [](Request request) -> awaitable<Payload> {
        const auto filled = std::static_pointer_cast<p2p::BytesSink>(request.sink);
        co_return Payload(Bytes{static_cast<std::uint8_t>(std::move(*filled).take().size())});
      },
      [](const p2p::PeerId&) { return std::make_shared<p2p::BytesSink>(100); });
  const auto sink = std::make_shared<p2p::BytesSink>(10);
  world.run(a.call_into(b.self(), "Sink.rpc_size", Bytes(7), sink));
  CHECK(std::move(*sink).take() == Bytes{7});

  b.handle_stream("Echo.rpc_stream", [](sim::Stream stream) -> awaitable<void> {
    while (auto message = co_await stream.receive()) co_await stream.send(*std::move(message));
  });
  const auto body = [&]() -> awaitable<std::vector<Bytes>> {
    auto stream = co_await a.open(b.self(), "Echo.rpc_stream");
    for (std::uint8_t i = 0; i < 3; ++i) co_await stream.send(Bytes{i});
    co_await stream.end_of_input();
    std::vector<Bytes> answers;
    while (auto message = co_await stream.receive()) answers.push_back(*std::move(message));
    co_return answers;
  };
  CHECK(world.run(body()) == std::vector<Bytes>{{0}, {1}, {2}});
}

TEST_CASE("the same seed gives the same transcript, another seed another") {
  const auto run = [](std::uint64_t seed) {
    sim::World world({.seed = seed, .latency = sim::normal(90ms, 30ms), .loss = 0.1});
    sim::Host a(world);
    sim::Host b(world);
    echo(b);
    int lost = 0;
    for (int i = 0; i < 50; ++i) {
      if (failure_of(world, a.call(b.self(), "Echo.rpc_say", Bytes(a.random().below(20)), {.timeout = 1s}))) ++lost;
    }
    CHECK(lost > 0);
    CHECK(lost < 25);
    return world.transcript().hash();
  };
  CHECK(run(1) == run(1));
  CHECK(run(1) != run(2));
}
