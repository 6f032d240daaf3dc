#include "skep/codec/frame.hpp"

#include <doctest/doctest.h>

#include "support/vectors.hpp"

using namespace skep;
using skep::codec::append_frame;
using skep::codec::read_frame;
using skep_test::unhex;

TEST_CASE("frames are read one by one from a buffer") {
  Bytes buffer;
  append_frame(buffer, Bytes{1, 2, 3});
  append_frame(buffer, {});
  append_frame(buffer, Bytes(200, 7));
  BytesView rest = buffer;
  for (const Bytes& expected : {Bytes{1, 2, 3}, Bytes{}, Bytes(200, 7)}) {
    const auto frame = read_frame(rest, 200);
    REQUIRE(frame);
    CHECK(to_bytes(frame->body) == expected);
    rest = rest.subspan(frame->size);
  }
  CHECK(rest.empty());
  CHECK(read_frame(rest, 200).error() == errc::truncated);
}

TEST_CASE("every prefix of a frame needs more bytes") {
  Bytes buffer;
  append_frame(buffer, Bytes(300, 1));
  for (std::size_t size = 0; size < buffer.size(); ++size) {
    CHECK(read_frame(BytesView(buffer).first(size), 300).error() == errc::truncated);
  }
}

TEST_CASE("a length above the limit is refused by its prefix alone") {
  Bytes prefix;
  append_varint(prefix, 301);
  CHECK(read_frame(prefix, 300).error() == errc::limit_exceeded);
  CHECK(read_frame(unhex("ffffffffffffffffff01"), 300).error() == errc::limit_exceeded);
}

TEST_CASE("a length that is not in its shortest form is refused") {
  CHECK(read_frame(unhex("810001"), 300).error() == errc::malformed);
}

TEST_CASE("a live identify answer is one frame") {
  const Bytes stream = skep_test::vector_bytes("identify", "p2pd_fresh", "stream_bytes");
  const auto frame = read_frame(stream, 8192);
  REQUIRE(frame);
  CHECK(frame->size == stream.size());
}
