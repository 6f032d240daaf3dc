#include "skep/codec/auth_messages.hpp"

#include <doctest/doctest.h>

#include "support/vectors.hpp"

using namespace skep;
using namespace skep::codec;
using skep_test::unhex;

TEST_CASE("authorization fields stand in the order of their numbers, defaults left out") {
  CHECK(encode_message(RequestAuthInfo{}).empty());
  CHECK(encode_message(ResponseAuthInfo{}).empty());
  const RequestAuthInfo request{.client_access_token = AccessToken{"u", {1}, "t", {2}},
                                .service_public_key = {3},
                                .time = 1.5,
                                .nonce = {4},
                                .signature = {5}};
  CHECK(to_hex(encode_message(request)) == "0a0c0a01751201011a017422010212010319000000000000f83f2201042a0105");
  CHECK(*decode_message<RequestAuthInfo>(encode_message(request)) == request);
  const ResponseAuthInfo response{.service_access_token = AccessToken{}, .nonce = {4}, .signature = {5}};
  CHECK(to_hex(encode_message(response)) == "0a001201041a0105");
  CHECK(*decode_message<ResponseAuthInfo>(encode_message(response)) == response);
}

TEST_CASE("an optional message is there only when the bytes have it") {
  std::optional<AccessToken> token;
  CHECK(merge_optional(token, unhex("0a0175")));
  CHECK(merge_optional(token, unhex("220101")));
  CHECK(token == AccessToken{"u", {}, "", {1}});
  CHECK(merge_optional(token, unhex("0a05")).error() == errc::malformed);

  Bytes out;
  MessageWriter writer(out);
  write_optional(writer, 1, std::optional<AccessToken>());
  CHECK(out.empty());
  write_optional(writer, 1, std::optional<AccessToken>(AccessToken{}));
  CHECK(to_hex(out) == "0a00");
}

TEST_CASE("an authorization is written before the other fields and taken off again, the others untouched") {
  const ResponseAuthInfo auth{.service_access_token = {}, .nonce = {4}, .signature = {5}};
  const Bytes rest = unhex("1001 0a00");  // fields 2 and, out of order, 1
  const Bytes message = with_auth(auth, rest);
  CHECK(to_hex(message) == "0a061201041a010510010a00");
  const auto parts = split_auth<ResponseAuthInfo>(message);
  REQUIRE(parts);
  CHECK(parts->auth == auth);
  CHECK(to_bytes(parts->rest) == rest);
  CHECK(to_hex(with_auth(ResponseAuthInfo{}, {})) == "0a00");

  CHECK(split_auth<ResponseAuthInfo>({}).error() == errc::not_found);
  CHECK(split_auth<ResponseAuthInfo>(rest).error() == errc::not_found);
  CHECK(split_auth<ResponseAuthInfo>(unhex("0a")).error() == errc::truncated);
  CHECK(split_auth<ResponseAuthInfo>(unhex("0a05120104")).error() == errc::truncated);
  CHECK(split_auth<ResponseAuthInfo>(unhex("0affffffffffffffffff01")).error() == errc::truncated);
  CHECK(split_auth<ResponseAuthInfo>(unhex("0a021205")).error() == errc::malformed);
}
