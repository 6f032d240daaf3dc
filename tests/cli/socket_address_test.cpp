#include "skep/cli/socket_address.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace skep::cli;

TEST_CASE("addresses with ports, as other programs write them") {
  struct Case {
    std::string text, address;
  };
  for (const auto& [text, address] :
       {Case{"127.0.0.1:9100", "/ip4/127.0.0.1/tcp/9100"}, Case{"9100", "/ip4/127.0.0.1/tcp/9100"},
        Case{"localhost:0", "/ip4/127.0.0.1/tcp/0"}, Case{":9100", "/ip4/0.0.0.0/tcp/9100"},
        Case{"[::1]:9100", "/ip6/::1/tcp/9100"}, Case{"/ip4/10.0.0.1/tcp/9100", "/ip4/10.0.0.1/tcp/9100"}}) {
    CAPTURE(text);
    const auto read = socket_address(text);
    REQUIRE(read);
    CHECK(read->to_string() == address);
    CHECK(socket_address_check()(text).empty());
  }
  for (const std::string text :
       {"", ":", "here", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "::1:9100", "[127.0.0.1]:9100",
        "example.com:80", "/ip4/127.0.0.1/udp/1", "/dns4/here/tcp/1", "1.2.3:80"}) {
    CAPTURE(text);
    CHECK_FALSE(socket_address(text));
  }
  CHECK(socket_address_check()("here") == "\"here\" is not an address to listen on, such as 127.0.0.1:9100");
}
