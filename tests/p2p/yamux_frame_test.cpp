#include "skep/p2p/yamux_frame.hpp"

#include <doctest/doctest.h>

namespace yamux = skep::p2p::yamux;
using yamux::FrameHeader;
using yamux::FrameType;

TEST_CASE("the headers of wire 3.5, byte for byte") {
  struct Row {
    FrameHeader header;
    const char* bytes;
  };
  const Row rows[] = {
      {{FrameType::window_update, yamux::syn, 1, 0}, "000100010000000100000000"},
      {{FrameType::window_update, yamux::ack, 1, 0}, "000100020000000100000000"},
      {{FrameType::data, 0, 2, 36}, "000000000000000200000024"},
      {{FrameType::window_update, yamux::fin, 1, 0}, "000100040000000100000000"},
      {{FrameType::window_update, yamux::rst, 1, 0}, "000100080000000100000000"},
      {{FrameType::ping, yamux::syn, 0, 7}, "000200010000000000000007"},
      {{FrameType::ping, yamux::ack, 0, 7}, "000200020000000000000007"},
      {{FrameType::go_away, 0, 0, 1}, "000300000000000000000001"},
      {{FrameType::data, yamux::syn | yamux::fin, 0xfffffffdU, 0xffffffffU}, "00000005fffffffdffffffff"},
  };
  for (const auto& row : rows) {
    const auto bytes = row.header.encode();
    CHECK(skep::to_hex(bytes) == row.bytes);
    const auto back = FrameHeader::decode(bytes);
    REQUIRE(back);
    CHECK(*back == row.header);
  }
}

TEST_CASE("another version or an unknown type is refused") {
  auto bytes = FrameHeader{}.encode();
  bytes[0] = 1;
  CHECK(FrameHeader::decode(bytes).error() == skep::p2p::errc::protocol_error);
  bytes[0] = 0;
  bytes[1] = 4;
  CHECK(FrameHeader::decode(bytes).error() == skep::p2p::errc::protocol_error);
  CHECK(FrameHeader::decode(skep::BytesView(bytes).first(11)).error() == skep::errc::truncated);
}
