#include "skep/p2p/yamux_outbox.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

using namespace skep;
using namespace skep::p2p::yamux;

namespace {

using Box = Outbox<int>;

struct Sent {
  std::vector<FrameHeader> frames;
  int ended = 0;
};
Sent take(Box& box, std::size_t budget = 1 << 20) {
  Batch<int> batch;
  Sent sent;
  box.take(batch, budget, [&](Stream<int>&) { ++sent.ended; });
  for (const BytesView piece : batch.pieces) {
    if (piece.size() == header_size) sent.frames.push_back(*FrameHeader::decode(piece));
  }
  return sent;
}

}  // namespace

TEST_CASE("an outbox without anything has nothing to send, and neither has an idle stream") {
  Box box(Limits{});
  Stream<int> stream;
  box.schedule(stream);
  CHECK_FALSE(box.urgent());
  CHECK_FALSE(box.pending());
  CHECK(take(box).frames.empty());
}

TEST_CASE("frames of the session leave in their order, and are a flood above the limit") {
  Box box(Limits{.max_control = 2});
  box.push({.type = FrameType::ping, .flags = ack, .stream = 0, .length = 7});
  CHECK_FALSE(box.is_full());
  box.push({.type = FrameType::window_update, .flags = rst, .stream = 3});
  CHECK(box.is_full());
  CHECK(box.urgent());
  const Sent sent = take(box);
  REQUIRE(sent.frames.size() == 2);
  CHECK(sent.frames[0].type == FrameType::ping);
  CHECK(sent.frames[0].length == 7);
  CHECK(sent.frames[1].stream == 3);
  CHECK_FALSE(box.is_full());
  CHECK_FALSE(box.pending());
}
