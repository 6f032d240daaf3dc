#include "skep/cli/identity_check.hpp"

#include <unistd.h>

#include <string>
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;

namespace {

std::string lines;  // what the command itself said
void keep(LogLevel level, std::string_view, std::string_view message) noexcept {
  if (level == LogLevel::info) lines += std::string(message) + "\n";
}

}  // namespace

TEST_CASE("D3.4 a new identity is announced; one that a peer of the swarm uses is refused, until that peer is gone") {
  set_log_hook(keep);
  const std::string path = "/tmp/skep-identity-test-" + std::to_string(::getpid()) + ".key";
  const dht::DHTOptions here{.host_maddrs = {"/ip4/127.0.0.1/tcp/0"}};
  dht::DHT first(here);
  const auto peers = first.visible_maddrs();

  cli::check_identity(path, peers);
  CHECK(lines == "Generating new identity to be saved in `" + path + "`\n");
  lines.clear();
  auto options = here;
  options.initial_peers = peers;
  options.identity_path = path;
  dht::DHT second(options);

  const auto id = second.peer_id().to_string();
  CHECK_THROWS_WITH_AS(cli::check_identity(path, peers),
                       ("skep: --identity_path: " + id + ", the identity from `" + path +
                        "`, is already taken by another peer; give this one a file of its own")
                           .c_str(),
                       Error);
  CHECK(lines == "Checking that identity from `" + path + "` is not used by other peers\n");

  const auto own = second.visible_maddrs();
  second.shutdown();
  CHECK_NOTHROW(cli::check_identity(path, peers));
  CHECK_NOTHROW(cli::check_identity(path, own));  // a list of initial peers that names this peer too
  CHECK_NOTHROW(cli::check_identity(path, {}));
  CHECK_NOTHROW(cli::check_identity("", peers));
  first.shutdown();
  ::unlink(path.c_str());
  set_log_hook(nullptr);
}
