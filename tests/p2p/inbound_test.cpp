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

namespace {

Bytes tokens(std::initializer_list<const char*> names) {
  Bytes out;
  for (const char* const name : names) skep::p2p::append_multistream_token(out, name);
  return out;
}
constexpr const char* header = "/multistream/1.0.0";
constexpr const char* ping = "/ipfs/ping/1.0.0";

}  // namespace

CO_TEST_CASE("every way in which other implementations propose a protocol leads to it (wire 3.7)") {
  const Bytes body(32, 5);
  Bytes all = tokens({header, ping});
  skep::append(all, body);
  struct Row {
    std::vector<Bytes> frames;  // each is answered by itself: a client that waits is not kept waiting
    std::vector<const char*> said;
  };
  const std::vector<Row> rows{
      {{all}, {header, ping}},                                                         // go, lazy
      {{tokens({header, ping}), body}, {header, ping}},                                // js, rust
      {{tokens({header}), tokens({ping}), body}, {header, ping}},                      // py
      {{tokens({header, "/nothing/1"}), tokens({ping}), body}, {header, "na", ping}},  // a refusal first
      {{tokens({header, "/nothing/1", "/nothing/2", ping}), body}, {header, "na", "na", ping}},
  };
  auto host = listening_host(co_await asio::this_coro::executor);
  for (const auto& row : rows) {
    auto peer = co_await RawPeer::dial(host);
    Bytes expected;
    for (const char* const name : row.said) skep::append(expected, tokens({name}));
    skep::append(expected, body);
    Bytes heard;
    int flags = yamux::syn;
    for (const auto& frame : row.frames) {
      co_await peer.write(yamux::FrameType::data, flags, 1, frame);
      flags = 0;
      const auto answer = co_await peer.read_of(1);
      REQUIRE(answer);
      skep::append(heard, answer->payload);
    }
    while (heard.size() < expected.size()) {
      const auto answer = co_await peer.read_of(1);
      REQUIRE(answer);
      skep::append(heard, answer->payload);
    }
    CHECK(skep::to_hex(heard) == skep::to_hex(expected));
    co_await peer.write(yamux::FrameType::window_update, yamux::fin, 1);
    const auto rest = co_await peer.rest_of(1);
    CHECK(rest.closed);
  }
  co_await shut(host);
}

CO_TEST_CASE("a client that speaks something else, or closes before it has said what it wants, is reset") {
  HostOptions options;
  options.limits.negotiation_timeout = 100ms;  // one of them is only slow: a padded length, and then nothing
  auto host = listening_host(co_await asio::this_coro::executor, options);
  const std::vector<Bytes> rows{skep::to_bytes("GET / HTTP/1.1\r\n\r\n"),
                                Bytes{0},
                                Bytes{0xff, 0xff, 0xff},
                                Bytes{0x81, 0x08},
                                Bytes{0x93, 0x00},
                                tokens({ping})};
  auto peer = co_await RawPeer::dial(host);
  std::uint32_t id = 1;
  for (const auto& row : rows) {
    co_await peer.write(yamux::FrameType::data, yamux::syn, id, row);
    const auto rest = co_await peer.rest_of(id);
    CHECK_MESSAGE(rest.reset, id);
    id += 2;
  }
  co_await peer.write(yamux::FrameType::data, yamux::syn | yamux::fin, id, tokens({header}));
  const auto rest = co_await peer.rest_of(id);
  CHECK(rest.reset);
  co_await shut(host);
}
