#include "skep/moe/client/call.hpp"

#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "skep/sim/network.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;
using moe::CallOutcome;
using moe::ExpertCall;

namespace {

constexpr auto forward = "ConnectionHandler.rpc_forward";

struct Answer : p2p::AnyBodySink {
  std::error_code start(std::size_t size) override {
    text.assign(size, 0);
    at = 0;
    return {};
  }
  MutableBytes destination() override { return MutableBytes(text).subspan(at); }
  std::error_code filled(std::size_t n) override {
    at += n;
    return {};
  }
  Bytes text;
  std::size_t at = 0;
};

}  // namespace

TEST_CASE("a call brings its answer into its sink, and an expert's own error with the expert's name") {
  sim::World world;
  sim::Host server(world);
  sim::Host client(world);
  server.handle(forward, [](p2p::Request request) -> awaitable<p2p::Payload> {
    if (as_text(request.body) == "bad") throw std::runtime_error("out of order");
    co_return p2p::Payload(to_bytes("done"));
  });
  const auto answer = std::make_shared<Answer>();
  ExpertCall call{.expert = {"e.1", server.self()},
                  .method = forward,
                  .messages = {p2p::Payload(to_bytes("good"))},
                  .sink = answer};
  world.run(moe::call_expert(client, call, {}));
  CHECK(as_text(answer->text) == "done");
  call.messages = {p2p::Payload(to_bytes("bad"))};
  CHECK_THROWS_WITH_AS(world.run(moe::call_expert(client, call, {})),
                       doctest::Contains(("expert e.1 on " + server.self().to_string()).c_str()), RemoteError);
}

TEST_CASE("metadata goes before the first message, and nowhere when it says nothing") {
  ExpertCall call{.messages = {p2p::Payload(to_bytes("body"))}};
  call.attach_metadata();
  CHECK(call.messages.front().size() == 4);
  call.metadata.timeout = 3s;
  call.attach_metadata();
  CHECK(call.messages.front().size() > 4);
  ExpertCall empty;
  empty.metadata.timeout = 3s;
  CHECK_NOTHROW(empty.attach_metadata());
}

TEST_CASE("a server that cannot be reached has failed, one that says no or is late has not") {
  const auto failed = [](std::error_code code) { return CallOutcome{.code = code, .sentence = {}}.server_failed(); };
  CHECK(CallOutcome{}.answered());
  CHECK_FALSE(failed({}));
  CHECK(failed(make_error_code(errc::unreachable)));
  CHECK(failed(std::make_error_code(std::errc::connection_reset)));
  CHECK(failed(std::make_error_code(std::errc::broken_pipe)));
  CHECK_FALSE(failed(make_error_code(errc::timed_out)));
  CHECK_FALSE(failed(make_error_code(errc::remote)));
}
