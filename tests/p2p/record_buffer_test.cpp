#include "skep/p2p/record_buffer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>

using namespace skep;
using p2p::RecordBuffer;

namespace {

/// Reads so many bytes, counted from `first`.
void arrive(RecordBuffer& buffer, std::size_t size, std::uint8_t first = 0) {
  const MutableBytes room = buffer.room();
  REQUIRE(room.size() >= size);
  for (std::size_t i = 0; i < size; ++i) room[i] = static_cast<std::uint8_t>(first + i);
  buffer.add(size);
}

}  // namespace

TEST_CASE("what has arrived is there in its order until it is taken") {
  RecordBuffer buffer(Bytes{0, 4, 1, 2});
  arrive(buffer, 3, 3);
  CHECK(std::ranges::equal(buffer.arrived(), Bytes{0, 4, 1, 2, 3, 4, 5}));
  buffer.take(6);
  CHECK(std::ranges::equal(buffer.arrived(), Bytes{5}));
  arrive(buffer, 2, 6);
  CHECK(std::ranges::equal(buffer.arrived(), Bytes{5, 6, 7}));
}

TEST_CASE("the rest of a record finds room, however long it is") {
  RecordBuffer buffer(Bytes{0xff, 0xff});
  CHECK(buffer.room().size() == 0xffff);
  arrive(buffer, 1000, 0);
  CHECK(buffer.room().size() == 0xffff - 1000);
}

TEST_CASE("a buffer that was filled grows up to its limit, one that is used little gives its memory back") {
  RecordBuffer buffer(Bytes{});
  CHECK(buffer.room().size() == RecordBuffer::small);
  const auto fill = [&](std::size_t size) {
    arrive(buffer, size);
    buffer.take(size);
  };
  fill(RecordBuffer::small);
  CHECK(buffer.room().size() == 4 * RecordBuffer::small);
  for (int i = 0; i < 5; ++i) fill(buffer.room().size());
  CHECK(buffer.room().size() == RecordBuffer::large);
  for (int i = 1; i < RecordBuffer::small_reads_to_shrink; ++i) fill(10);
  CHECK(buffer.room().size() == RecordBuffer::large);
  fill(10);
  CHECK(buffer.room().size() == RecordBuffer::small);
}

TEST_CASE("a buffer in use does not shrink") {
  RecordBuffer buffer(Bytes{});
  arrive(buffer, RecordBuffer::small);
  buffer.take(RecordBuffer::small);
  for (int i = 0; i < 2 * RecordBuffer::small_reads_to_shrink; ++i) {
    arrive(buffer, 2, 0);  // one byte remains each time
    buffer.take(i == 0 ? 1 : 2);
  }
  CHECK(buffer.arrived().size() == 1);
  CHECK(buffer.room().size() == 4 * RecordBuffer::small - 1);
}
