#include "skep/codec/rpc_messages.hpp"

#include <doctest/doctest.h>

#include <numeric>
#include <string>
#include <vector>

#include "skep/codec/frame.hpp"
#include "support/hostile.hpp"
#include "support/vectors.hpp"

using namespace skep;
using namespace skep::codec;
using skep_test::unhex;
using skep_test::vector_bytes;

namespace {

CallId counting_id() {
  CallId id;
  std::iota(id.begin(), id.end(), std::uint8_t{0});
  return id;
}

BytesView body_of(const Bytes& framed) { return read_frame(framed, max_unary_message)->body; }

}  // namespace

TEST_CASE("a live unary call and its answer") {
  const Bytes framed = vector_bytes("rpc", "unary_echo", "request");
  const auto request = UnaryRequest::decode(body_of(framed));
  REQUIRE(request);
  CHECK(request->call_id == counting_id());
  CHECK(request->peer == vector_bytes("rpc", "unary_echo", "callee"));
  CHECK(request->proto == "T.echo");
  CHECK(to_hex(request->data) == "120568656c6c6f");
  CHECK(request->encode() == to_bytes(body_of(framed)));

  const Bytes answer_framed = vector_bytes("rpc", "unary_echo", "response");
  const auto answer = UnaryResponse::decode(body_of(answer_framed));
  REQUIRE(answer);
  CHECK(answer->call_id == counting_id());
  CHECK(answer->response == request->data);
  CHECK_FALSE(answer->error);
  CHECK(answer->encode() == to_bytes(body_of(answer_framed)));
}

TEST_CASE("live errors, empty answers and requests of p2pd") {
  const auto boom = UnaryResponse::decode(body_of(vector_bytes("rpc", "unary_boom", "response")));
  REQUIRE(boom);
  CHECK(boom->error == "ValueError('boom')");
  CHECK_FALSE(boom->response);
  CHECK(encode_unary_error(counting_id(), "ValueError('boom')") == vector_bytes("rpc", "unary_boom", "response"));

  const auto empty = UnaryResponse::decode(body_of(vector_bytes("rpc", "unary_empty", "response")));
  REQUIRE(empty);
  CHECK(empty->response == Bytes());
  CHECK(*encode_unary_response_head(counting_id(), 0) == vector_bytes("rpc", "unary_empty", "response"));

  const auto from_p2pd = UnaryRequest::decode(body_of(vector_bytes("rpc", "unary_from_p2pd", "request")));
  REQUIRE(from_p2pd);
  CHECK(from_p2pd->proto == "U.ok");
  CHECK(to_hex(from_p2pd->data) == "12026869");
}

TEST_CASE("the vectors of the wire document") {
  const Bytes peer = unhex("0024080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e");
  const Bytes ping = unhex("12160a14101112131415161718191a1b1c1d1e1f202122231801");
  const auto head = encode_unary_request_head(counting_id(), peer, "DHTProtocol.rpc_ping", ping.size());
  REQUIRE(head);
  CHECK(
      to_hex(*head) + to_hex(ping) ==
      "6e0a10000102030405060708090a0b0c0d0e0f1a5a0a260024080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42"
      "d474fce27e121444485450726f746f636f6c2e7270635f70696e671a1a12160a14101112131415161718191a1b1c1d1e1f202122231801");
  CHECK(to_hex(encode_unary_error(counting_id(), "ValueError('x')")).starts_with("250a10"));
}

TEST_CASE("a head and the body that follows it are the whole message") {
  for (const std::size_t size : {0U, 1U, 127U, 128U, 16383U, 16384U, 100'000U, 2'097'152U}) {
    CAPTURE(size);
    const UnaryRequest request{counting_id(), {1, 2, 3}, "Service.method", Bytes(size, 7)};
    Bytes by_head = *encode_unary_request_head(request.call_id, request.peer, request.proto, size);
    append(by_head, request.data);
    Bytes whole;
    append_frame(whole, request.encode());
    CHECK(by_head == whole);

    Bytes answer_by_head = *encode_unary_response_head(request.call_id, size);
    append(answer_by_head, request.data);
    Bytes answer;
    append_frame(answer, UnaryResponse{counting_id(), request.data, {}}.encode());
    CHECK(answer_by_head == answer);
  }
}

TEST_CASE("the limit is of the whole message: 4194304 passes, one more does not") {
  const Bytes peer(38, 1);
  std::size_t size = max_unary_message;
  while (!encode_unary_request_head(counting_id(), peer, "S.m", size)) --size;
  const auto largest = encode_unary_request_head(counting_id(), peer, "S.m", size);
  CHECK(read_varint(*largest)->value == max_unary_message);
  CHECK(encode_unary_request_head(counting_id(), peer, "S.m", size + 1).error() == errc::limit_exceeded);
  CHECK(encode_unary_request_head(counting_id(), peer, "S.m", SIZE_MAX).error() == errc::limit_exceeded);

  size = max_unary_message;
  while (!encode_unary_response_head(counting_id(), size)) --size;
  CHECK(read_varint(*encode_unary_response_head(counting_id(), size))->value == max_unary_message);
  CHECK(encode_unary_response_head(counting_id(), SIZE_MAX).error() == errc::limit_exceeded);
  CHECK(encode_unary_error(counting_id(), std::string(max_unary_message + 1, 'x')).size() < max_unary_message);
}

TEST_CASE("all fields of a request are required, empty ones are fine") {
  const std::string id = "0a10000102030405060708090a0b0c0d0e0f";
  CHECK(UnaryRequest::decode(unhex(id + "1a06 0a00 1200 1a00")));
  for (const std::string& hex :
       std::vector<std::string>{"1a060a0012001a00", id, id + "1a00", id + "1a04 1200 1a00", id + "1a04 0a00 1a00",
                                id + "1a04 0a00 1200", "0a0100 1a06 0a00 1200 1a00", id + "2a00"}) {
    CAPTURE(hex);
    CHECK(UnaryRequest::decode(unhex(hex)).error() == errc::malformed);
  }
}

TEST_CASE("an answer is a response or an error, the last one of them") {
  const std::string id = "0a10000102030405060708090a0b0c0d0e0f";
  CHECK(UnaryResponse::decode(unhex(id + "2200")).error() == errc::malformed);
  CHECK(UnaryResponse::decode(unhex("22020a00")).error() == errc::malformed);
  const auto error = UnaryResponse::decode(unhex(id + "2205 0a00 120178"));
  REQUIRE(error);
  CHECK(error->error == "x");
  CHECK_FALSE(error->response);
}

TEST_CASE("a stream as Hivemind sends it: one message, the end of input") {
  const Bytes stream = vector_bytes("rpc", "stream_from_p2pd", "bytes");
  BytesView rest = stream;
  const auto first = StreamRecordHead::decode(rest);
  REQUIRE(first);
  CHECK(*first == StreamRecordHead{StreamRecordHead::Kind::message, 3});
  rest = rest.subspan(StreamRecordHead::size + 3);
  const auto end = StreamRecordHead::decode(rest);
  REQUIRE(end);
  CHECK(*end == StreamRecordHead{StreamRecordHead::Kind::error, 0});
  CHECK(rest.size() == StreamRecordHead::size);
  CHECK(to_bytes(end->encode()) == to_bytes(rest));
  CHECK(to_hex(first->encode()) == "000000000000000003");
}

TEST_CASE("record heads: prefixes need more, other markers are refused at once") {
  const Bytes head = unhex("000000000000000003");
  for (std::size_t size = 0; size < head.size(); ++size) {
    CHECK(StreamRecordHead::decode(BytesView(head).first(size)).error() == errc::truncated);
  }
  CHECK(StreamRecordHead::decode(unhex("02")).error() == errc::malformed);
  CHECK(StreamRecordHead::decode(unhex("01ffffffffffffffff"))->body_size == UINT64_MAX);
}

TEST_CASE("RPCError carries a text or nothing") {
  CHECK(RPCError{}.encode().empty());
  CHECK(RPCError::decode({})->message.empty());
  CHECK(RPCError::decode(RPCError{"None"}.encode())->message == "None");
  CHECK(RPCError::decode(unhex("0a05")).error() == errc::malformed);
}

TEST_CASE("hostile messages are read or refused") {
  const Bytes request = to_bytes(body_of(vector_bytes("rpc", "unary_from_p2pd", "request")));
  skep_test::for_hostile_bytes(request, [](BytesView bytes) {
    const auto message = UnaryRequest::decode(bytes);
    if (message) CHECK(*UnaryRequest::decode(message->encode()) == *message);
  });
  const Bytes answer = to_bytes(body_of(vector_bytes("rpc", "unary_boom", "response")));
  skep_test::for_hostile_bytes(answer, [](BytesView bytes) {
    const auto message = UnaryResponse::decode(bytes);
    if (message) CHECK(*UnaryResponse::decode(message->encode()) == *message);
  });
}
