#include "skep/p2p/inbound.hpp"

#include "support/hosts.hpp"
// doctest last
#include "support/coroutine.hpp"

using namespace skep_test;
namespace yamux = skep::p2p::yamux;

TEST_CASE("protocols are found by name, and gone when they are erased") {
  skep::p2p::ProtocolTable table;
  table.insert("b", {});
  table.insert("a", {});
  CHECK(table.names() == std::vector<std::string>{"a", "b"});
  CHECK(table.contains("a"));
  CHECK(table.erase("a"));
  CHECK_FALSE(table.erase("a"));
  CHECK(table.find("a") == nullptr);
}

CO_TEST_CASE("names are proposed one by one until one is known") {
  auto server = listening_host(co_await asio::this_coro::executor);
  auto peer = co_await RawPeer::dial(server);
  Bytes words;
  skep::p2p::append_multistream_token(words, skep::p2p::multistream_header);
  skep::p2p::append_multistream_token(words, "/no/such/protocol");
  co_await peer.write(yamux::FrameType::data, yamux::syn, 1, words);
  Bytes heard;
  Bytes expected;
  skep::p2p::append_multistream_token(expected, skep::p2p::multistream_header);
  skep::p2p::append_multistream_token(expected, "na");
  while (heard.size() < expected.size()) {
    const auto frame = co_await peer.read_of(1);
    REQUIRE(frame);
    skep::append(heard, frame->payload);
  }
  CHECK(heard == expected);

  words.clear();
  skep::p2p::append_multistream_token(words, "/ipfs/ping/1.0.0");
  co_await peer.write(yamux::FrameType::data, 0, 1, words);
  heard.clear();
  while (heard.size() < words.size()) {
    const auto frame = co_await peer.read_of(1);
    REQUIRE(frame);
    skep::append(heard, frame->payload);
  }
  CHECK(heard == words);
  co_await shut(server);
}

CO_TEST_CASE("who opens a stream and says nothing is reset after the limit") {
  HostOptions options;
  options.limits.negotiation_timeout = 50ms;
  auto server = listening_host(co_await asio::this_coro::executor, options);
  auto peer = co_await RawPeer::dial(server);
  co_await peer.write(yamux::FrameType::window_update, yamux::syn, 1);
  const auto rest = co_await peer.rest_of(1);
  CHECK(rest.reset);
  co_await shut(server);
}
