#include "skep/cli/server_main.hpp"

#include <cstdlib>
#include <filesystem>
#include <regex>
#include <string>
#include <vector>

#include "cli/http_client.hpp"
#include "cli/process.hpp"

using namespace skep;
using skep::test::failure;
using skep::test::get;
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

TEST_CASE("C1.2 D1 D3 servers declare their experts, a second one joins by the pasted address, both end on a signal") {
  Process first(serve, flags({"--expert_uids", "ffn.0.1", "ffn.2.3", "--num_handlers", "4"}));
  first.line_with("--num_handlers: one thread handles all connections");
  first.line_with("Running DHT node on ['/ip4/127.0.0.1/tcp/");
  const auto address = address_in(first.line_with("Running a DHT instance. To connect other peers to this one, use "));
  first.line_with("Reachable from this machine at 127.0.0.1:");
  Process second(
      serve, flags({"--num_experts", "3", "--expert_pattern", "nop.[0:3]", "--expert_cls", "nop", "--optimizer", "none",
                    "--stats_report_interval", "0.1", "--metrics", "127.0.0.1:0", "--initial_peers", address}));
  first.line_with("Computing with 1 thread");
  first.line_with("Server started with 2 modules:");
  first.line_with("[INFO] ffn.0.1: FeedforwardBlock, 568 parameters");
  first.line_with("[INFO] ffn.0.1_forward starting");
  first.line_with("[INFO] Started");
  second.line_with("Generating 3 expert uids from pattern nop.[0:3]");
  second.line_with("Server started with 3 modules:");
  const auto url = second.line_with("Serving metrics at http://127.0.0.1:");
  second.line_with("[INFO] Started");
  second.line_with("Processed 0 batches in last ");
  const auto page = get(url.substr(url.find("http://")));
  CHECK(page.starts_with("HTTP/1.1 200 OK\r\n"));
  CHECK(page.find("\nskep_experts 3\n") != std::string::npos);
  CHECK(page.find("\nskep_dht_peers 1\n") != std::string::npos);
  CHECK(page.find("\nskep_requests_total{expert=\"nop.2\",pass=\"forward\"} 0\n") != std::string::npos);

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

TEST_CASE("D1 D3.4 experts are kept in --checkpoint_dir, and the next server goes on from them") {
  std::string folder = "/tmp/skep-server-test-XXXXXX";
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  Process first(serve, flags({"--expert_uids", "ffn.7", "--checkpoint_dir", folder}));
  first.line_with("[INFO] Started");
  first.signal(SIGTERM);
  first.line_with("Server shutdown successfully");
  CHECK(first.exit_code() == 0);
  CHECK(std::filesystem::exists(folder + "/ffn.7/checkpoint_last.pt"));
  Process second(serve, flags({"--num_experts", "1", "--expert_pattern", "ffn.[0:100]", "--checkpoint_dir", folder}));
  second.line_with("Located 1 checkpoints for experts [");
  second.line_with("ffn.7: restored after 0 updates from ");
  second.line_with("[INFO] ffn.7: FeedforwardBlock, 568 parameters");
  std::filesystem::remove_all(folder);
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

TEST_CASE("a port in use, to listen on or for metrics, ends with one sentence and code 1") {
  Process first(serve, flags({"--num_experts", "1", "--metrics", "127.0.0.1:0"}));
  const auto address = address_in(first.line_with("--initial_peers"));
  const auto url = first.line_with("Serving metrics at ");
  const auto port = url.substr(url.rfind(':') + 1, url.rfind('/') - url.rfind(':') - 1);
  const auto listen = failure(serve, {"--num_experts", "1", "--host_maddrs", address.substr(0, address.find("/p2p/"))});
  CHECK(listen.first == 1);
  CHECK(listen.second.ends_with("command: cannot listen on " + address.substr(0, address.find("/p2p/")) +
                                ": the port is in use; choose another, or 0 for any free one"));
  Process metrics(serve, flags({"--num_experts", "1", "--metrics", "127.0.0.1:" + port}));
  CHECK(metrics.exit_code() == 1);
  CHECK(metrics.output().find("command: --metrics: cannot listen on /ip4/127.0.0.1/tcp/" + port +
                              ": the port is in use; choose another, or 0 for any free one\n") != std::string::npos);
}

TEST_CASE("a file that is no TorchScript, and a codec or device that is not here, end with one sentence and code 2") {
  Process wrong(serve, flags({"--num_experts", "1", "--torchscript", "/proc/self/status"}));
  CHECK(wrong.exit_code() == 2);
  CHECK(wrong.output().find("command: cannot read the TorchScript file /proc/self/status: ") != std::string::npos);
  if (!at::hasCUDA()) {
    CHECK(failure(serve, {"--num_experts", "1", "--device", "cuda"}) ==
          std::pair(2, std::string("command: --device: this LibTorch knows no CUDA; leave out --device, or give cpu")));
  }
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
