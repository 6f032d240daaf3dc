#include "skep/p2p/noise_transport.hpp"

#include <doctest/doctest.h>

#include <array>

#include "skep/core/random.hpp"
#include "support/vectors.hpp"

using skep::as_bytes;
using skep::Bytes;
using skep::BytesView;
using skep::MutableBytes;
using skep::crypto::Secret;
using skep::p2p::errc;
using skep::p2p::NoiseTransport;

namespace {

Secret<32> key_of(std::uint8_t value) {
  Secret<32> key;
  key.writable()[0] = value;
  return key;
}
NoiseTransport left() { return {key_of(1), key_of(2)}; }
NoiseTransport right() { return {key_of(2), key_of(1)}; }

Bytes pattern(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(i * 31 + i / 256);
  return bytes;
}

Bytes sealed(NoiseTransport& transport, std::vector<BytesView> pieces) {
  std::size_t plain = 0;
  for (const BytesView piece : pieces) plain += piece.size();
  Bytes out(NoiseTransport::sealed_size(plain));
  const auto written = transport.seal(pieces, out);
  REQUIRE(written);
  CHECK(*written == out.size());
  return out;
}

/// Everything in `records`, which must end with a whole one.
Bytes opened(NoiseTransport& transport, Bytes records) {
  Bytes plain;
  MutableBytes rest(records);
  while (!rest.empty()) {
    const auto record = transport.open(rest);
    REQUIRE(record);
    REQUIRE(record->consumed > 0);
    skep::append(plain, record->plain);
    rest = rest.subspan(record->consumed);
  }
  return plain;
}

}  // namespace

TEST_CASE("what is sealed at one end is opened at the other, in both directions") {
  auto a = left();
  auto b = right();
  for (const std::string_view text : {"one", "two", "three"}) {
    CHECK(opened(b, sealed(a, {as_bytes(text)})) == skep::to_bytes(text));
    CHECK(opened(a, sealed(b, {as_bytes(text)})) == skep::to_bytes(text));
  }
}

TEST_CASE("records are filled to the limit, whatever the pieces are") {
  const Bytes text = pattern(200'000);
  auto whole = left();
  const Bytes expected = sealed(whole, {text});
  CHECK(expected.size() == 200'000 + 4 * NoiseTransport::overhead);
  CHECK(expected[0] == 0xff);
  CHECK(expected[1] == 0xff);
  const BytesView view(text);
  auto a = left();
  CHECK(sealed(a, {view.first(12), {}, view.subspan(12, 65507), view.subspan(65519, 1), view.subspan(65520), {}}) ==
        expected);
  auto b = right();
  CHECK(opened(b, expected) == text);
}

TEST_CASE("short and long pieces in any order give the bytes of one piece") {
  skep::Random random(7);
  const Bytes text = pattern(400'000);
  for (int run = 0; run < 200; ++run) {
    const BytesView whole = BytesView(text).first(1 + random.below(text.size() >> random.below(12)));
    std::vector<BytesView> pieces;
    for (BytesView rest = whole; !rest.empty(); rest = rest.subspan(pieces.back().size())) {
      const std::size_t limit = random.below(2) == 0 ? 200 : 30'000;
      pieces.push_back(rest.first(std::min<std::size_t>(rest.size(), random.below(limit))));
    }
    auto a = left();
    auto b = left();
    REQUIRE(sealed(a, pieces) == sealed(b, {whole}));
  }
}

TEST_CASE("the size of what is sealed is known before") {
  CHECK(NoiseTransport::sealed_size(0) == 0);
  CHECK(NoiseTransport::sealed_size(1) == 19);
  CHECK(NoiseTransport::sealed_size(65519) == 65537);
  CHECK(NoiseTransport::sealed_size(65520) == 65520 + 36);
  for (const std::size_t room : {0UL, 17UL, 18UL, 19UL, 65536UL, 65537UL, 65538UL, 65555UL, 65556UL, 262144UL}) {
    CAPTURE(room);
    CHECK(NoiseTransport::sealed_size(NoiseTransport::plain_room(room)) <= room);
    CHECK(NoiseTransport::sealed_size(NoiseTransport::plain_room(room) + 1) > room);
  }
  auto a = left();
  CHECK(sealed(a, {}).empty());
  CHECK(sealed(a, {BytesView(), BytesView()}).empty());
}

TEST_CASE("a record is opened in the reader's buffer when it is complete") {
  auto a = left();
  auto b = right();
  Bytes buffer = sealed(a, {as_bytes("hello")});
  const std::size_t first = buffer.size();
  skep::append(buffer, sealed(a, {as_bytes("again")}));
  for (std::size_t size = 0; size < first; ++size) {
    const auto record = b.open(MutableBytes(buffer).first(size));
    REQUIRE(record);
    CHECK(record->consumed == 0);
  }
  const auto record = b.open(buffer);
  REQUIRE(record);
  CHECK(record->consumed == first);
  CHECK(skep::as_text(record->plain) == "hello");
  CHECK(record->plain.data() == buffer.data() + 2);
}

TEST_CASE("an empty record is a record") {
  auto b = right();
  Bytes record(18);
  record[1] = 16;
  REQUIRE(skep::crypto::AeadSealer(key_of(1)).seal(0, {}, {}, record.data() + 2));
  const auto opened = b.open(record);
  REQUIRE(opened);
  CHECK(opened->consumed == 18);
  CHECK(opened->plain.empty());
}

TEST_CASE("what is not authentic ends the connection and hands out nothing") {
  auto a = left();
  const Bytes first = sealed(a, {as_bytes("hello")});
  const Bytes second = sealed(a, {as_bytes("again")});
  for (std::size_t i = 2; i < first.size(); ++i) {
    auto b = right();
    Bytes altered = first;
    altered[i] ^= 1;
    CHECK(b.open(altered).error() == errc::not_authentic);
    CHECK(skep::as_text(altered).find("ell") == std::string_view::npos);
    Bytes good = first;
    CHECK(b.open(good).error() == errc::not_authentic);
  }
  const auto failure = [](std::vector<Bytes> records) {
    auto b = right();
    std::error_code code;
    for (Bytes& record : records) code = b.open(record).error();
    return code;
  };
  CHECK(failure({first, second}) == std::error_code());
  CHECK(failure({second}) == errc::not_authentic);        // left out
  CHECK(failure({first, first}) == errc::not_authentic);  // repeated
  auto own = left();
  Bytes reflected = first;
  CHECK(own.open(reflected).error() == errc::not_authentic);
}

TEST_CASE("a record shorter than its tag is refused") {
  for (std::uint8_t size = 0; size < 16; ++size) {
    auto b = right();
    Bytes record(2 + size);
    record[1] = size;
    CHECK(b.open(record).error() == errc::not_authentic);
  }
}
