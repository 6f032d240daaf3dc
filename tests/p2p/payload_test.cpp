#include "skep/p2p/payload.hpp"

#include <string>
#include <string_view>

#include "support/coroutine.hpp"

using skep::as_bytes;
using skep::as_text;
using skep::Bytes;
using skep::BytesView;
using skep::errc;
using skep::to_bytes;
using skep::p2p::BytesSink;
using skep::p2p::Payload;

namespace {
/// Appends text that lies elsewhere, kept alive by its owner.
void append_elsewhere(Payload& payload, std::string_view text) {
  auto owner = std::make_shared<const std::string>(text);
  payload.append(as_bytes(*owner), owner);
}
std::string text_of(Payload payload) {
  const Bytes bytes = std::move(payload).flatten();
  return std::string(as_text(bytes));
}
}  // namespace

TEST_CASE("a payload of bytes is one head and flattens without a copy") {
  Bytes bytes = to_bytes("hello");
  const auto* where = bytes.data();
  Payload payload(std::move(bytes));
  CHECK(payload.size() == 5);
  CHECK(payload.segments().empty());
  const Bytes flat = std::move(payload).flatten();
  CHECK(flat.data() == where);
}

TEST_CASE("own bytes join the head until something lies elsewhere, then become segments, in order") {
  Payload payload;
  payload.append(Bytes{});
  payload.append(to_bytes("a"));
  payload.append(to_bytes("b"));
  CHECK(as_text(payload.head()) == "ab");
  append_elsewhere(payload, "cd");
  payload.append(to_bytes("e"));
  payload.append(BytesView{}, nullptr);
  CHECK(payload.segments().size() == 2);
  payload.prepend(to_bytes("0"));
  CHECK(payload.size() == 6);
  CHECK(text_of(std::move(payload)) == "0abcde");
}

TEST_CASE("a payload behind a payload keeps the order and the owners") {
  Payload front(to_bytes("1")), back(to_bytes("3"));
  append_elsewhere(front, "2");
  append_elsewhere(back, "4");
  const auto* storage = back.segments().front().bytes.data();
  const std::weak_ptr<const void> owner = back.segments().front().owner;
  front.append(std::move(back));
  CHECK(front.segments().back().bytes.data() == storage);
  CHECK_FALSE(owner.expired());
  CHECK(text_of(std::move(front)) == "1234");
  CHECK(owner.expired());
}

TEST_CASE("the ordinary sink gathers pieces of any size") {
  BytesSink sink(8);
  REQUIRE_FALSE(sink.start(5));
  std::string_view left = "hello";
  for (const std::size_t n : {1U, 3U, 1U}) {
    const auto destination = sink.destination();
    REQUIRE(destination.size() == left.size());
    std::ranges::copy(as_bytes(left.substr(0, n)), destination.begin());
    REQUIRE_FALSE(sink.filled(n));
    left.remove_prefix(n);
  }
  CHECK(sink.destination().empty());
  CHECK(as_text(std::move(sink).take()) == "hello");
}

TEST_CASE("the ordinary sink takes its limit and refuses one byte more before it allocates") {
  CHECK_FALSE(BytesSink(4).start(4));
  CHECK_FALSE(BytesSink(0).start(0));
  CHECK(BytesSink(4).start(5) == errc::limit_exceeded);
  CHECK(BytesSink(4).start(SIZE_MAX) == errc::limit_exceeded);
}
