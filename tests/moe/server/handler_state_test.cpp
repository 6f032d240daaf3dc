#include "skep/moe/server/handler_state.hpp"

#include <asio/error.hpp>
#include <asio/io_context.hpp>
#include <system_error>

#include "dht/password.hpp"
#include "moe/server/experts.hpp"
#include "skep/moe/server/layers.hpp"
#include "skep/moe/server/module_backend.hpp"
#include "skep/p2p/host.hpp"
#include "support/words_of.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep::moe;
using skep::Error;
using skep::test::words_of;

TEST_CASE("C3.2, H-36: who is unknown, not allowed or too late hears so in a sentence, and is counted") {
  asio::io_context context;
  const skep::p2p::Host host(context.get_executor(), {});
  const auto traffic = std::make_shared<ServerTraffic>(std::vector<std::string>{"nop.0"});
  ConnectionHandlerOptions options;
  options.authorize = [](const skep::p2p::PeerId&, std::string_view method, std::string_view,
                         skep::BytesView) -> std::optional<std::string> {
    if (method == "ConnectionHandler.rpc_backward") return "this peer may not train";
    return std::nullopt;
  };
  const auto nop = std::make_shared<ModuleBackend<Nop>>("nop.0", BackendOptions{.expert = {.hidden_dim = 4}});
  skep::moe::detail::HandlerState<skep::p2p::Host> state(host, {{"nop.0", nop}}, options, traffic);

  CHECK(&state.require("nop.0") == nop.get());
  CHECK(words_of([&] { (void)state.require("nop.1"); }) == "skep: this server has no expert \"nop.1\"");
  state.authorize(host.self(), "ConnectionHandler.rpc_forward", "nop.0", {});
  CHECK(words_of([&] { state.authorize(host.self(), "ConnectionHandler.rpc_backward", "nop.0", {}); }) ==
        "skep: this peer may not train");
  state.require_staying("nop.0");
  state.leaving = true;
  CHECK(words_of([&] { state.require_staying("nop.0"); }) == "skep: this server is leaving, ask another");
  CHECK(traffic->others().invalid == 1);
  CHECK(traffic->snapshots().at("nop.0").unauthorized == 1);
  CHECK(traffic->snapshots().at("nop.0").leaving == 1);
}

TEST_CASE("members_only asks for a ticket first, then whoever else has a say") {
  asio::io_context context;
  const skep::p2p::Host host(context.get_executor(), {});
  const auto second = [](const skep::p2p::PeerId&, std::string_view, std::string_view uid,
                         skep::BytesView) -> std::optional<std::string> { return "not " + std::string(uid); };
  const skep::dht::CallGuard<skep::p2p::Host> open(host, nullptr);
  CHECK_FALSE(members_only(open)(host.self(), "m", "nop.0", {}));
  CHECK(members_only(open, second)(host.self(), "m", "nop.0", {}) == "not nop.0");
  const skep::dht::CallGuard<skep::p2p::Host> closed(host, std::make_shared<skep_test::Password>(7));
  CHECK(members_only(closed, second)(host.self(), "m", "nop.0", {}) ==
        "m is for members of this swarm, and the request is refused: it carries no authorization, which this swarm "
        "asks for");
}

TEST_CASE("what a computation throws is counted by its kind") {
  TrafficCounters counters;
  const auto count = [&](std::error_code code) {
    skep::moe::detail::count_failure(counters, std::make_exception_ptr(Error(code, "no")));
  };
  count(skep::errc::busy);
  count(skep::errc::timed_out);
  count(skep::errc::closed);
  count(skep::errc::limit_exceeded);
  count(skep::errc::invalid_argument);
  count(skep::errc::not_found);
  skep::moe::detail::count_failure(counters, std::make_exception_ptr(std::runtime_error("module")));
  skep::moe::detail::count_failure(counters, std::make_exception_ptr(7));
  skep::moe::detail::count_failure(counters,
                                   std::make_exception_ptr(std::system_error(asio::error::operation_aborted)));
  const ExpertTraffic seen = snapshot(counters);
  CHECK(seen.busy == 1);
  CHECK(seen.expired == 1);
  CHECK(seen.leaving == 1);
  CHECK(seen.invalid == 2);
  CHECK(seen.failed == 3);
}
