#include "skep/p2p/multistream.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "support/vectors.hpp"

using skep::Bytes;
using skep::BytesView;
using skep::p2p::append_multistream_token;
using skep::p2p::errc;
using skep::p2p::MultistreamClient;
using skep::p2p::MultistreamServer;
using skep::p2p::read_multistream_token;
using skep_test::unhex;

namespace {

const std::string header_hex = "132f6d756c746973747265616d2f312e302e300a";
const std::string noise_hex = "072f6e6f6973650a";
const std::string tls_hex = "0b2f746c732f312e302e300a";
const std::string na_hex = "036e610a";

bool speaks_noise(std::string_view name) { return name == "/noise"; }
bool speaks_nothing(std::string_view) { return false; }

/// What a server does with bytes that come in pieces of `piece`; the transport's buffer is `pending`.
struct Driven {
  Bytes out;
  Bytes pending;
  std::error_code error;

  template <class Machine, class... More>
  void feed(Machine& machine, BytesView bytes, std::size_t piece, More... more) {
    for (std::size_t at = 0; at < bytes.size() && !error; at += piece) {
      skep::append(pending, bytes.subspan(at, std::min(piece, bytes.size() - at)));
      const auto taken = machine.receive(pending, out, more...);
      if (!taken) {
        error = taken.error();
      } else {
        pending.erase(pending.begin(), pending.begin() + static_cast<std::ptrdiff_t>(*taken));
      }
    }
  }
};

}  // namespace

TEST_CASE("tokens are those of the specification") {
  Bytes out;
  append_multistream_token(out, "/multistream/1.0.0");
  append_multistream_token(out, "/noise");
  append_multistream_token(out, "/tls/1.0.0");
  append_multistream_token(out, "na");
  CHECK(skep::to_hex(out) == header_hex + noise_hex + tls_hex + na_hex);
  out.clear();
  append_multistream_token(out, "DHTProtocol.rpc_ping");
  CHECK(skep::to_hex(out) == "1544485450726f746f636f6c2e7270635f70696e670a");
}

TEST_CASE("a token is read when it is complete, and nothing after it") {
  const Bytes bytes = unhex(noise_hex + "ff");
  for (std::size_t n = 0; n < 8; ++n) CHECK(read_multistream_token(BytesView(bytes).first(n))->size == 0);
  CHECK(read_multistream_token(bytes)->name == "/noise");
  CHECK(read_multistream_token(bytes)->size == 8);
}

TEST_CASE("a token has 1 to 1024 bytes, a minimal length and a newline") {
  const auto token_of = [](std::size_t length) {
    Bytes bytes;
    append_multistream_token(bytes, std::string(length - 1, 'x'));
    return bytes;
  };
  CHECK(read_multistream_token(token_of(1))->name.empty());
  CHECK(read_multistream_token(token_of(1024))->size == 1026);
  CHECK(read_multistream_token(token_of(1025)).error() == errc::negotiation_failed);
  CHECK(read_multistream_token(unhex("8108")).error() == errc::negotiation_failed);  // 1025, before it has arrived
  CHECK(read_multistream_token(unhex("8008"))->size == 0);
  for (const char* bad : {"00", "87002f6e6f6973650a", "072f6e6f69736565", "ffff", "8080808080"}) {
    CAPTURE(bad);
    CHECK(read_multistream_token(unhex(bad)).error() == errc::negotiation_failed);
  }
}

TEST_CASE("a server echoes what it supports and refuses the rest, however the bytes are cut") {
  const Bytes request = unhex(header_hex + tls_hex + noise_hex + "0020aabb");  // Noise's first bytes follow at once
  for (std::size_t piece = 1; piece <= request.size(); ++piece) {
    CAPTURE(piece);
    MultistreamServer server;
    Driven driven;
    driven.feed(server, request, piece, speaks_noise);
    REQUIRE(!driven.error);
    CHECK(server.done());
    CHECK(server.protocol() == "/noise");
    CHECK(skep::to_hex(driven.out) == header_hex + na_hex + noise_hex);
    CHECK(skep::to_hex(driven.pending) == "0020aabb");
  }
}

TEST_CASE("a server answers the header before a protocol is named, or writes its own at once") {
  MultistreamServer server;
  Driven driven;
  driven.feed(server, unhex(header_hex), 20, speaks_noise);
  CHECK(skep::to_hex(driven.out) == header_hex);

  MultistreamServer eager;
  Bytes out;
  eager.start(out);
  CHECK(*eager.receive(unhex(header_hex + noise_hex), out, speaks_noise) == 28);
  CHECK(skep::to_hex(out) == header_hex + noise_hex);
}

TEST_CASE("ls is an unknown protocol") {
  MultistreamServer server;
  Bytes out;
  REQUIRE(server.receive(unhex(header_hex + "036c730a"), out, speaks_noise));
  CHECK(skep::to_hex(out) == header_hex + na_hex);
  CHECK(!server.done());
}

TEST_CASE("a server closes on another header, a broken token and endless proposals") {
  for (const std::string& bad : {noise_hex, std::string("00"), header_hex + "00", header_hex + "ffff"}) {
    CAPTURE(bad);
    MultistreamServer server;
    Bytes out;
    CHECK(server.receive(unhex(bad), out, speaks_noise).error() == errc::negotiation_failed);
  }
  MultistreamServer server;
  Bytes request = unhex(header_hex);
  for (int i = 0; i <= MultistreamServer::max_refusals; ++i) skep::append(request, unhex(tls_hex));
  Driven driven;
  driven.feed(server, request, 100, speaks_nothing);
  CHECK(driven.error == errc::negotiation_failed);
}

TEST_CASE("a client falls back along its list, however the answers are cut") {
  const std::vector<std::string> proposals{"/tls/1.0.0", "/noise"};
  const Bytes answers = unhex(header_hex + na_hex + noise_hex + "0020aabb");
  for (std::size_t piece = 1; piece <= answers.size(); ++piece) {
    CAPTURE(piece);
    MultistreamClient client(proposals);
    Driven driven;
    client.start(driven.out);
    CHECK(skep::to_hex(driven.out) == header_hex + tls_hex);
    driven.out.clear();
    driven.feed(client, answers, piece);
    REQUIRE(!driven.error);
    CHECK(client.done());
    CHECK(client.protocol() == "/noise");
    CHECK(skep::to_hex(driven.out) == noise_hex);
    CHECK(skep::to_hex(driven.pending) == "0020aabb");
  }
}

TEST_CASE("a pipelined client sends its first bytes with the only proposal") {
  const std::string protocol = "/noise";
  MultistreamClient client(protocol);
  Bytes out;
  client.start(out);
  skep::append(out, unhex("0020aabb"));

  MultistreamServer server;
  Bytes answer;
  CHECK(*server.receive(out, answer, speaks_noise) == out.size() - 4);
  out.clear();
  CHECK(*client.receive(answer, out) == answer.size());
  CHECK(client.done());
  CHECK(out.empty());
}

TEST_CASE("a client says which way it failed") {
  const std::string protocol = "/noise";
  const auto failure = [&](const std::string& answers) {
    MultistreamClient client(protocol);
    Bytes out;
    return client.receive(unhex(answers), out).error();
  };
  CHECK(failure(header_hex + na_hex) == errc::protocol_not_supported);
  CHECK(failure(header_hex + tls_hex) == errc::negotiation_failed);
  CHECK(failure(header_hex + header_hex) == errc::negotiation_failed);
  CHECK(failure(noise_hex) == errc::negotiation_failed);
  CHECK(failure(na_hex) == errc::negotiation_failed);
  CHECK(failure("00") == errc::negotiation_failed);

  const std::vector<std::string> both{"/noise", "/tls/1.0.0"};
  MultistreamClient client(both);
  Bytes out;
  CHECK(client.receive(unhex(header_hex + na_hex + na_hex), out).error() == errc::protocol_not_supported);
}
