#include "skep/codec/unary_reader.hpp"

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <vector>

#include "skep/codec/frame.hpp"
#include "skep/core/random.hpp"
#include "support/hostile.hpp"
#include "support/vectors.hpp"

using namespace skep;
using namespace skep::codec;
using skep_test::unhex;
using skep_test::vector_bytes;

namespace {

struct Reading {
  std::error_code error;
  bool done = false;
  UnaryKind kind{};
  CallId call_id{};
  std::string proto;
  Bytes body;
  std::size_t used = 0;

  friend bool operator==(const Reading&, const Reading&) = default;
};

/// Drives a reader over bytes that arrive in pieces of at most `piece` bytes.
Reading drive(BytesView bytes, std::size_t piece) {
  UnaryReader reader;
  Reading out;
  while (!reader.done()) {
    if (reader.at_body()) {
      const std::size_t n = std::min({reader.body_left(), piece, bytes.size()});
      if (n == 0 && reader.body_left() > 0) return out;
      append(out.body, bytes.first(n));
      bytes = bytes.subspan(n);
      out.used += n;
      if (const auto taken = reader.body_taken(n); !taken) return {.error = taken.error()};
      continue;
    }
    if (bytes.empty()) return out;
    const auto fed = reader.feed(bytes.first(std::min(piece, bytes.size())));
    if (!fed) return {.error = fed.error()};
    bytes = bytes.subspan(*fed);
    out.used += *fed;
  }
  out.done = true;
  out.kind = reader.kind();
  out.call_id = reader.call_id();
  out.proto = reader.proto();
  return out;
}

Bytes framed(BytesView message) {
  Bytes out;
  append_frame(out, message);
  return out;
}

constexpr const char* id_hex = "0a10000102030405060708090a0b0c0d0e0f";

}  // namespace

TEST_CASE("live messages, in pieces of every size") {
  for (const auto& [name, key, kind, proto, body] :
       {std::tuple{"unary_echo", "request", UnaryKind::request, "T.echo", "120568656c6c6f"},
        {"unary_echo", "response", UnaryKind::response, "", "120568656c6c6f"},
        {"unary_boom", "response", UnaryKind::error, "", "56616c75654572726f722827626f6f6d2729"},
        {"unary_empty", "response", UnaryKind::response, "", ""},
        {"unary_from_p2pd", "request", UnaryKind::request, "U.ok", "12026869"}}) {
    const Bytes bytes = vector_bytes("rpc", name, key);
    for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
      CAPTURE(name);
      CAPTURE(piece);
      const Reading out = drive(bytes, piece);
      CHECK_FALSE(out.error);
      CHECK(out.done);
      CHECK(out.kind == kind);
      CHECK(out.proto == proto);
      CHECK(to_hex(out.body) == body);
      CHECK(out.used == bytes.size());
    }
  }
}

TEST_CASE("nothing behind the message is taken") {
  Bytes bytes = vector_bytes("rpc", "unary_echo", "request");
  const std::size_t size = bytes.size();
  append(bytes, Bytes{1, 2, 3});
  CHECK(drive(bytes, 1000).used == size);
  CHECK(drive(bytes, 1).used == size);
}

TEST_CASE("unknown fields and any order of the others") {
  const std::string call = "0a0101 e206026162 1203532e6d 1a0107 98060a f906 0102030405060708 fd0601020304";
  const std::string nested = "1a" + to_hex(Bytes{static_cast<std::uint8_t>(unhex(call).size())}) + call;
  const std::string data_first = "1a0b 1a0107 0a0101 1203532e6d";
  for (const std::string& hex :
       std::vector<std::string>{id_hex + nested, nested + id_hex, "aa06026162" + nested + "980601" + id_hex + "a20600",
                                data_first + id_hex}) {
    const Bytes bytes = framed(unhex(hex));
    for (const std::size_t piece : {std::size_t{1}, std::size_t{3}, bytes.size()}) {
      CAPTURE(hex);
      const Reading out = drive(bytes, piece);
      CHECK_FALSE(out.error);
      CHECK(out.done);
      CHECK(out.proto == "S.m");
      CHECK(to_hex(out.body) == "07");
      CHECK(out.call_id[15] == 15);
    }
  }
}

TEST_CASE("the length prefix is bounded before anything else is read") {
  Bytes prefix;
  append_varint(prefix, max_unary_message);
  CHECK(UnaryReader().feed(prefix));
  prefix.clear();
  append_varint(prefix, max_unary_message + 1);
  CHECK(UnaryReader().feed(prefix).error() == errc::limit_exceeded);
  CHECK(UnaryReader(10).feed(unhex("0b")).error() == errc::limit_exceeded);
  CHECK(UnaryReader().feed(unhex("ffffffffffffffffff01")).error() == errc::limit_exceeded);
  CHECK(UnaryReader().feed(unhex("ffffffffffffffffffff")).error() == errc::malformed);
}

TEST_CASE("a handler's name is bounded") {
  for (const std::size_t size : {UnaryReader::max_proto, UnaryReader::max_proto + 1}) {
    const UnaryRequest request{{}, {}, std::string(size, 'x'), {}};
    const Reading out = drive(framed(request.encode()), 100);
    CHECK(out.done == (size == UnaryReader::max_proto));
    CHECK((out.error == errc::limit_exceeded) == (size > UnaryReader::max_proto));
  }
}

TEST_CASE("what is no unary call is refused") {
  const std::string id = id_hex;
  for (const std::string& hex : std::vector<std::string>{
           "",                           // an empty message
           id,                           // no call
           id + "1a00",                  // a call without fields
           id + "2200",                  // an answer without response or error
           id + "1a07 1203532e6d 1a00",  // no peer
           id + "1a07 0a00 1203532e6d",  // no data
           id + "1a04 0a00 1a00",        // no handler's name
           "1a09 0a00 1203532e6d 1a00",  // no call id
           "0a0101",                     // a call id of another length
           id + "2a00",                  // a cancel message
           id + "2204 0a00 0a00",        // two responses
           id + "2202 0a00 2202 0a00",   // two answers
           id + "2203 0a05 00",          // a field longer than what holds it
           id + "22ff01 0a00",           // an answer longer than the message
           id + "2202 0a80",             // a length cut by the end
           id + "220108",                // a tag at the end
           id + "0b",                    // a group
           id + "22020900",              // eight bytes promised
       }) {
    CAPTURE(hex);
    for (const std::size_t piece : {1U, 1000U}) {
      const Reading out = drive(framed(unhex(hex)), piece);
      CHECK(out.error == errc::malformed);
      CHECK_FALSE(out.done);
    }
  }
}

TEST_CASE("it agrees with the whole-message decoder on hostile bytes, and does not depend on the pieces") {
  Random random(7);
  std::size_t good = 0;
  for (const auto& [name, key] :
       {std::pair{"unary_from_p2pd", "request"}, {"unary_echo", "response"}, {"unary_boom", "response"}}) {
    const Bytes bytes = vector_bytes("rpc", name, key);
    skep_test::for_hostile_bytes(
        to_bytes(read_frame(bytes, 4096)->body),
        [&](BytesView message) {
          const Bytes whole = framed(message);
          const Reading out = drive(whole, whole.size());
          CHECK(drive(whole, 1) == out);
          CHECK(drive(whole, random.below(20) + 1) == out);
          if (!out.done) return;
          ++good;
          if (out.kind == UnaryKind::request) {
            const auto request = UnaryRequest::decode(message);
            CAPTURE(to_hex(message));
            REQUIRE(request);
            CHECK(request->data == out.body);
            CHECK(request->proto == out.proto);
            CHECK(request->call_id == out.call_id);
          } else {
            const auto answer = UnaryResponse::decode(message);
            CAPTURE(to_hex(message));
            REQUIRE(answer);
            CHECK(answer->call_id == out.call_id);
            CHECK(
                (out.kind == UnaryKind::response ? answer->response == out.body : answer->error == as_text(out.body)));
          }
        },
        2000);
  }
  CHECK(good > 100);
}
