#include "skep/p2p/stream_input.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using skep::Bytes;
using skep::BytesView;
using skep::p2p::BytesSink;
using skep::p2p::StreamInput;

namespace {

Bytes record(int kind, const std::string& body) {
  Bytes out{static_cast<std::uint8_t>(kind)};
  skep::append_be<std::uint64_t>(out, body.size());
  skep::append(out, skep::as_bytes(body));
  return out;
}
Bytes join(std::initializer_list<Bytes> parts) {
  Bytes out;
  for (const auto& part : parts) skep::append(out, part);
  return out;
}

}  // namespace

TEST_CASE("messages into the sinks that are wanted, in pieces of any size; what is not wanted waits") {
  const std::vector<std::string> bodies{"one", "", std::string(1000, 'x'), "four"};
  Bytes wire;
  for (const auto& body : bodies) skep::append(wire, record(0, body));
  skep::append(wire, record(1, "words"));
  for (const std::size_t piece : {std::size_t{1}, std::size_t{5}, std::size_t{9}, std::size_t{400}, wire.size()}) {
    CAPTURE(piece);
    StreamInput input(1000);
    std::size_t taken = 0;
    std::size_t sent = 0;
    std::vector<std::string> got;
    const auto more = [&] {
      const std::size_t n = std::min(piece, wire.size() - sent);
      const auto used = input.receive(BytesView(wire).subspan(sent, n));
      REQUIRE(used);
      sent += n;
      taken += *used;
      CHECK(taken + input.waiting() == sent);  // nothing is lost, nothing is counted twice
    };
    if (piece > 100) more();  // before anything is wanted
    while (!input.ended()) {
      BytesSink sink(1000);
      input.want(sink);
      const auto used = input.resume();
      REQUIRE(used);
      taken += *used;
      while (!input.got() && !input.ended()) more();
      if (input.got()) got.emplace_back(skep::as_text(std::move(sink).take()));
      input.unwant();
    }
    CHECK(got == bodies);
    CHECK(skep::as_text(input.last_words()) == "words");
    CHECK_FALSE(input.inside_record());
    CHECK(taken == wire.size());
  }
}

TEST_CASE("how much is still to come is known once a message has begun") {
  StreamInput input(1000);
  BytesSink sink(1000);
  input.want(sink);
  CHECK(input.body_left() == 0);
  const Bytes wire = record(0, "hello");
  REQUIRE(input.receive(BytesView(wire).first(8)));
  CHECK(input.inside_record());
  CHECK(input.body_left() == 0);
  REQUIRE(input.receive(BytesView(wire).subspan(8, 3)));
  CHECK(input.body_left() == 3);
}

TEST_CASE("what is refused, before the sink hears of it") {
  struct Deaf final : skep::p2p::AnyBodySink {
    std::error_code start(std::size_t) override {
      ++started;
      return make_error_code(skep::errc::busy);
    }
    skep::MutableBytes destination() override { return {}; }
    std::error_code filled(std::size_t) override { return {}; }
    int started = 0;
  };
  const auto code = [](const Bytes& wire, Deaf& sink) {
    StreamInput input(10);
    input.want(sink);
    const auto used = input.receive(wire);
    return used ? std::error_code() : used.error();
  };
  Deaf sink;
  CHECK(code(Bytes{2}, sink) == skep::errc::malformed);
  CHECK(code(record(0, "eleven bytes"), sink) == skep::errc::limit_exceeded);
  CHECK(code(Bytes{0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, sink) == skep::errc::limit_exceeded);
  CHECK(code(Bytes{1, 0, 0, 0, 1, 0, 0, 0, 0}, sink) == skep::errc::limit_exceeded);
  CHECK(sink.started == 0);
  CHECK(code(record(0, "five."), sink) == skep::errc::busy);
  CHECK(sink.started == 1);
}

TEST_CASE("after discard() everything is read up to the end, from the middle of a message on") {
  StreamInput input(1000);
  BytesSink sink(1000);
  input.want(sink);
  const Bytes wire = join({record(0, "one"), record(0, "two"), record(0, "three"), record(1, "")});
  REQUIRE(input.receive(BytesView(wire).first(10)));
  input.discard();
  const auto used = input.receive(BytesView(wire).subspan(10));
  REQUIRE(used);
  CHECK(*used == wire.size() - 10);
  CHECK(input.ended());
  CHECK(input.waiting() == 0);
}

TEST_CASE("bytes behind the end are not taken") {
  StreamInput input(1000);
  input.discard();
  const auto used = input.receive(join({record(1, ""), record(0, "x")}));
  REQUIRE(used);
  CHECK(*used == 9);
  CHECK(input.waiting() == 10);
}
