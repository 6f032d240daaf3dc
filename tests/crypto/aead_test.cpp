#include "skep/crypto/aead.hpp"

#include <doctest/doctest.h>

#include "support/vectors.hpp"

using skep::as_bytes;
using skep::Bytes;
using skep::BytesView;
using skep::MutableBytes;
using skep::crypto::aead_tag_size;
using skep::crypto::AeadOpener;
using skep::crypto::AeadSealer;
using skep::crypto::Secret;

namespace {

Secret<32> counting_key() {
  Secret<32> key;
  for (std::size_t i = 0; i < 32; ++i) key.writable()[i] = static_cast<std::uint8_t>(i);
  return key;
}

constexpr std::uint64_t nonce = 0x0807060504030201U;
constexpr std::string_view plain = "piece one, piece two, piece three";
// by an independent library: associated data "head"
constexpr std::string_view sealed_hex =
    "9f8fc09bc0acc7f27593c8a6e389443bb5f8133e306d58757eb651c21880d7e05242ae921d80bb76d407a735723c4c5429";

Bytes pattern(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(i * 31 + i / 256);
  return bytes;
}

}  // namespace

TEST_CASE("a message is sealed as elsewhere") {
  AeadSealer sealer(counting_key());
  Bytes out(plain.size() + aead_tag_size);
  REQUIRE(sealer.seal(nonce, as_bytes("head"), as_bytes(plain), out.data()));
  CHECK(skep::to_hex(out) == sealed_hex);
}

TEST_CASE("pieces of any size give the same bytes, and the context serves many messages") {
  const Bytes text = pattern(70'000);
  AeadSealer sealer(counting_key());
  Bytes whole(text.size() + aead_tag_size);
  REQUIRE(sealer.seal(7, {}, text, whole.data()));
  for (const std::size_t piece : {1UL, 12UL, 15UL, 64UL, 1000UL, 65'519UL}) {
    Bytes out(whole.size());
    sealer.start(7);
    for (std::size_t at = 0; at < text.size(); at += piece) {
      sealer.update(BytesView(text).subspan(at, std::min(piece, text.size() - at)), out.data() + at);
    }
    REQUIRE(sealer.finish(out.data() + text.size()));
    CHECK(out == whole);
  }
}

TEST_CASE("a message is opened where it lies, an empty one too") {
  AeadOpener opener(counting_key());
  Bytes message = skep_test::unhex(sealed_hex);
  REQUIRE(opener.open(nonce, as_bytes("head"), message));
  CHECK(skep::as_text(BytesView(message).first(plain.size())) == plain);

  Bytes empty(aead_tag_size);
  REQUIRE(AeadSealer(counting_key()).seal(0, {}, {}, empty.data()));
  CHECK(opener.open(0, {}, empty));
}

TEST_CASE("sealing in place") {
  AeadSealer sealer(counting_key());
  Bytes buffer = skep::to_bytes(plain);
  buffer.resize(plain.size() + aead_tag_size);
  REQUIRE(sealer.seal(nonce, as_bytes("head"), BytesView(buffer).first(plain.size()), buffer.data()));
  CHECK(skep::to_hex(buffer) == sealed_hex);
}

TEST_CASE("what is not authentic is not opened, and leaves nothing behind") {
  AeadOpener opener(counting_key());
  const Bytes good = skep_test::unhex(sealed_hex);
  for (std::size_t i = 0; i < good.size(); ++i) {
    Bytes altered = good;
    altered[i] ^= 0x80;
    CHECK(!opener.open(nonce, as_bytes("head"), altered));
    CHECK(std::all_of(altered.begin(), altered.begin() + plain.size(), [](std::uint8_t byte) { return byte == 0; }));
  }
  Bytes copy = good;
  CHECK(!opener.open(nonce + 1, as_bytes("head"), copy));
  copy = good;
  CHECK(!opener.open(nonce, as_bytes("tail"), copy));
  copy = good;
  CHECK(!opener.open(nonce, {}, copy));
  for (std::size_t size = 0; size < good.size(); ++size) {
    copy = good;
    CHECK(!opener.open(nonce, as_bytes("head"), MutableBytes(copy).first(size)));
  }
  copy = good;
  CHECK(opener.open(nonce, as_bytes("head"), copy));  // the context survives all that
}
