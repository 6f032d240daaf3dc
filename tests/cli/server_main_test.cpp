#include "skep/cli/server_main.hpp"

#include <regex>
#include <string>
#include <vector>

#include "cli/process.hpp"

using namespace skep;
using skep::test::failure;
using skep::test::Process;

namespace {

int serve(int argc, char** argv) { return cli::server_main<moe::Ffn, moe::Nop>(argc, argv); }

std::vector<std::string> flags(const std::vector<std::string>& more) {
  std::vector<std::string> all = {"--host_maddrs", "/ip4/127.0.0.1/tcp/0", "--hidden_dim", "8", "--threads", "1"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

/// The address in the invitation.
std::string address_in(const std::string& line) {
  const auto at = line.find("--initial_peers ") + std::string("--initial_peers ").size();
  return line.substr(at, line.find(' ', at) - at);
}

}  // namespace

TEST_CASE("D1 D3 servers declare their experts, a second one joins by the pasted address, both end on a signal") {
  Process first(serve, flags({"--expert_uids", "ffn.0.1", "ffn.2.3", "--num_handlers", "4"}));
  first.line_with("--num_handlers: one thread handles all connections");
  const auto address = address_in(first.line_with("Running a DHT instance. To connect other peers to this one, use "));
  Process second(serve, flags({"--num_experts", "3", "--expert_pattern", "nop.[0:3]", "--expert_cls", "nop",
                               "--optimizer", "none", "--stats_report_interval", "0.1", "--initial_peers", address}));
  first.line_with("Server started with 2 modules:");
  first.line_with("[INFO] ffn.0.1: FeedforwardBlock, 568 parameters");
  first.line_with("Started, computing with 1 thread");
  second.line_with("Generating 3 expert uids from pattern nop.[0:3]");
  second.line_with("Server started with 3 modules:");
  second.line_with("Started");
  second.line_with("Processed 0 batches in last ");

  dht::DHT dht({.initial_peers = {address}, .client_mode = true});
  const auto found = dht.run_coroutine([](dht::Node<> node) {
    return moe::get_experts(std::move(node),
                            std::vector<std::string>{"ffn.0.1", "ffn.2.3", "nop.0", "nop.1", "nop.2", "nop.3"});
  });
  REQUIRE(found.size() == 6);
  for (std::size_t i = 0; i < 5; ++i) CHECK(found[i]);
  CHECK_FALSE(found[5]);
  dht.shutdown();

  second.signal(SIGINT);
  second.line_with("Caught signal 2 (Interrupt), shutting down");
  second.line_with("Shutting down");
  second.line_with("Server shutdown successfully");
  CHECK(second.exit_code() == 0);
  first.signal(SIGTERM);
  first.line_with("Caught signal 15 (Terminated), shutting down");
  first.line_with("Server shutdown successfully");
  CHECK(first.exit_code() == 0);
}

TEST_CASE("C1.15 a server of a pattern without a free place says so with code 1") {
  Process first(serve, flags({"--expert_uids", "nop.0", "nop.1", "--expert_cls", "nop"}));
  const auto address = address_in(first.line_with("--initial_peers"));
  first.line_with("Started");
  Process second(serve, flags({"--num_experts", "2", "--expert_pattern", "nop.[0:2]", "--initial_peers", address}));
  CHECK(second.exit_code() == 1);
  CHECK(second.output().find("command: no free expert uid was found in the pattern nop.[0:2]") != std::string::npos);
}

TEST_CASE("bad flags end with one line and code 2") {
  CHECK(failure(serve, {"--num_experts", "1", "--initial_peers", "/ip4/1.2.3/tcp/80"}) ==
        std::pair(2,
                  std::string("command: --initial_peers: \"/ip4/1.2.3/tcp/80\" is not a multiaddress: \"1.2.3\" is not "
                              "an IPv4 address")));
  CHECK(failure(serve, {}).first == 2);
}

TEST_CASE("an expert listed twice ends with code 2, an unreachable swarm with code 1") {
  Process twice(serve, flags({"--expert_uids", "ffn.0", "ffn.0"}));
  CHECK(twice.exit_code() == 2);
  CHECK(twice.output().find("command: expert ffn.0 is listed twice\n") != std::string::npos);
  const auto [code, text] =
      failure(serve, flags({"--num_experts", "1", "--initial_peers",
                            "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWSCufgHzV4fCwRijfH2k3abrpAJxTKxEvN1FDuRXA2U9x"}));
  CHECK(code == 1);
  CHECK(text.find("connection refused") != std::string::npos);
  CHECK(text.find('\n') == std::string::npos);
}
