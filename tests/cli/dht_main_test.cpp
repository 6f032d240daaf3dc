#include "skep/cli/dht_main.hpp"

#include <regex>
#include <string>

#include "cli/process.hpp"

using namespace skep;
using skep::cli::dht_main;
using skep::test::failure;
using skep::test::Process;

namespace {

const std::vector<std::string> loopback = {"--host_maddrs", "/ip4/127.0.0.1/tcp/0", "--refresh_period", "0.2"};

std::vector<std::string> with(std::vector<std::string> arguments, const std::vector<std::string>& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

/// What stands behind "use " in the invitation, as flags.
std::vector<std::string> pasted(const std::string& line) {
  const auto text = line.substr(line.find("--initial_peers "));
  return {text.substr(0, text.find(' ')), text.substr(text.find(' ') + 1)};
}

const std::string somebody = "/p2p/12D3KooWSCufgHzV4fCwRijfH2k3abrpAJxTKxEvN1FDuRXA2U9x";

}  // namespace

TEST_CASE(
    "D2 D3.1 D3.2 D3.3 a second node joins by pasting the first one's line; both see each other and end on a signal") {
  Process first(dht_main, loopback);
  const auto invitation = first.line_with("Running a DHT instance. To connect other peers to this one, use ");
  CHECK(std::regex_match(invitation,
                         std::regex("[A-Z][a-z]{2} \\d{2} [0-9:.]{12} \\[INFO\\] Running a DHT instance. To connect "
                                    "other peers to this one, use --initial_peers "
                                    "/ip4/127\\.0\\.0\\.1/tcp/\\d+/p2p/12D3KooW\\w+")));
  first.line_with("Full list of visible multiaddresses: /ip4/127.0.0.1/tcp/");
  first.line_with("1 DHT nodes (including this one) are in the local routing table");
  first.line_with("Local storage contains 0 keys");

  Process second(dht_main, with(loopback, pasted(invitation)));
  second.line_with("2 DHT nodes (including this one) are in the local routing table");
  first.line_with("2 DHT nodes (including this one) are in the local routing table");

  second.signal(SIGINT);
  second.line_with("Caught signal 2 (Interrupt), shutting down");
  CHECK(second.exit_code() == 0);
  first.signal(SIGTERM);
  first.line_with("Caught signal 15 (Terminated), shutting down");
  CHECK(first.exit_code() == 0);
}

TEST_CASE("D2.1 every period the node reports and searches, so that a peer which died leaves the table") {
  Process first(dht_main, loopback);
  const auto invitation = first.line_with("--initial_peers");
  Process second(dht_main, with(loopback, pasted(invitation)));
  first.line_with("2 DHT nodes (including this one)");
  second.signal(SIGKILL);
  first.line_with("1 DHT nodes (including this one)");
  first.line_with("Local storage contains 0 keys");
}

TEST_CASE("a malformed initial peer ends with one line and code 2") {
  const auto [code, text] = failure(dht_main, {"--initial_peers", "/ip4/1.2.3/tcp/80"});
  CHECK(code == 2);
  CHECK(text ==
        "skep-dht: --initial_peers: \"/ip4/1.2.3/tcp/80\" is not a multiaddress: \"1.2.3\" is not an IPv4 address");
}

TEST_CASE("an initial peer that cannot be reached ends with one line and code 1") {
  const auto [code, text] = failure(dht_main, with(loopback, {"--initial_peers", "/ip4/127.0.0.1/tcp/1" + somebody}));
  CHECK(code == 1);
  CHECK(text.starts_with("skep-dht: "));
  CHECK(text.find("connection refused") != std::string::npos);
  CHECK(text.find('\n') == std::string::npos);
}

TEST_CASE("an initial peer with another id than it is said to have ends with one line and code 1") {
  Process first(dht_main, loopback);
  const auto invitation = first.line_with("--initial_peers");
  const auto address = pasted(invitation)[1];
  const auto [code, text] =
      failure(dht_main, with(loopback, {"--initial_peers", address.substr(0, address.find("/p2p/")) + somebody}));
  CHECK(code == 1);
  CHECK(text.find("not the one that was dialled") != std::string::npos);
  CHECK(text.find('\n') == std::string::npos);
}

TEST_CASE("a port in use ends with one line that says what to do and code 1") {
  Process first(dht_main, loopback);
  const auto address = pasted(first.line_with("--initial_peers"))[1];
  const auto [code, text] = failure(dht_main, {"--host_maddrs", address.substr(0, address.find("/p2p/"))});
  CHECK(code == 1);
  CHECK(text.find("cannot listen on ") != std::string::npos);
  CHECK(text.find("the port is in use; choose another") != std::string::npos);
  CHECK(text.find('\n') == std::string::npos);
}

TEST_CASE("--help prints the flags and ends with code 0") {
  Process process(dht_main, {"--help"});
  CHECK(process.exit_code() == 0);
  CHECK(process.output().find("--initial_peers MADDR ...") != std::string::npos);
}

TEST_CASE("D2 --identity_path keeps the peer id over restarts") {
  const std::string path = "/tmp/skep-dht-test-" + std::to_string(::getpid()) + ".key";
  std::string ids[2];
  for (auto& id : ids) {
    Process process(dht_main, with(loopback, {"--identity_path", path}));
    const auto line = process.line_with("--initial_peers");
    id = line.substr(line.find("/p2p/"));
    process.signal(SIGTERM);
    CHECK(process.exit_code() == 0);
  }
  ::unlink(path.c_str());
  CHECK(ids[0] == ids[1]);
}
