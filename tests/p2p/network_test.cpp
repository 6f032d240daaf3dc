#include "skep/p2p/network.hpp"

#include "skep/p2p/host.hpp"
#include "skep/sim/network.hpp"
#include "support/coroutine.hpp"

using skep::awaitable;
using skep::p2p::CallOptions;
using skep::p2p::MessageStream;
using skep::p2p::Network;
using skep::p2p::PeerId;

namespace {
/// The least that is a message stream.
struct Silence {
  PeerId peer() { return {}; }
  awaitable<void> send(skep::p2p::Payload) { co_return; }
  awaitable<void> end_of_input() { co_return; }
  awaitable<std::optional<skep::Bytes>> receive() { co_return std::nullopt; }
  awaitable<bool> receive_into(std::shared_ptr<skep::p2p::AnyBodySink>) { co_return false; }
  void reset() {}
};
struct Deaf : Silence {
  awaitable<skep::Bytes> receive() { co_return skep::Bytes{}; }  // cannot say that the other side has ended
};
}  // namespace

static_assert(MessageStream<Silence> && !MessageStream<Deaf> && !MessageStream<int>);
static_assert(Network<skep::p2p::Host> && Network<skep::sim::Host>);
static_assert(!Network<Silence> && !Network<int>);

TEST_CASE("a call that says nothing waits a minute and takes the unary limit") {
  constexpr CallOptions options;
  CHECK(options.timeout == std::chrono::seconds(60));
  CHECK(options.max_response == 4 * 1024 * 1024);
}

CO_TEST_CASE("the least message stream ends at once") {
  Silence stream;
  const auto message = co_await stream.receive();
  CHECK_FALSE(message);
}
