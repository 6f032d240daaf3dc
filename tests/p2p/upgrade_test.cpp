#include "skep/p2p/upgrade.hpp"

#include "skep/p2p/identity.hpp"

#include <doctest/doctest.h>

using namespace skep;
using namespace skep::p2p;

namespace {

/// Carries bytes between two ends, `step` bytes at a time, until nobody has anything to say.
/// @return the first error
std::error_code talk(Upgrade& dialer, Upgrade& listener, std::size_t step) {
  Bytes to_dialer, to_listener, at_dialer, at_listener;
  dialer.start(to_listener);
  listener.start(to_dialer);
  const auto move = [&](Upgrade& end, Bytes& wire, Bytes& in, Bytes& out) -> std::error_code {
    const std::size_t n = std::min(step, wire.size());
    append(in, BytesView(wire).first(n));
    wire.erase(wire.begin(), wire.begin() + static_cast<std::ptrdiff_t>(n));
    const auto taken = end.receive(in, out);
    if (!taken) return taken.error();
    in.erase(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(*taken));
    return {};
  };
  while (!to_dialer.empty() || !to_listener.empty()) {
    if (const auto error = move(listener, to_listener, at_listener, to_dialer)) return error;
    if (const auto error = move(dialer, to_dialer, at_dialer, to_listener)) return error;
  }
  return {};
}

}  // namespace

TEST_CASE("two ends know each other after the upgrade, however the bytes are cut") {
  const auto alice = std::make_shared<const NoiseCredentials>(Identity::generate());
  const auto bob_identity = Identity::generate();
  const auto bob = std::make_shared<const NoiseCredentials>(bob_identity);
  for (const std::size_t step : {1U, 7U, 100U, 100000U}) {
    Upgrade dialer(yamux::Role::dialer, alice, bob_identity.id()), listener(yamux::Role::listener, bob);
    CHECK_FALSE(talk(dialer, listener, step));
    REQUIRE(dialer.done());
    REQUIRE(listener.done());
    CHECK(dialer.peer() == bob_identity.id());

    auto sealing = dialer.take_transport();
    auto opening = listener.take_transport();
    const Bytes text = to_bytes("hello");
    const BytesView piece(text);
    Bytes record(NoiseTransport::sealed_size(text.size()));
    REQUIRE(sealing.seal(std::span(&piece, 1), record));
    const auto opened = opening.open(record);
    REQUIRE(opened);
    CHECK(as_text(opened->plain) == "hello");
  }
}

TEST_CASE("somebody else than who was dialled is refused") {
  const auto credentials = std::make_shared<const NoiseCredentials>(Identity::generate());
  Upgrade dialer(yamux::Role::dialer, credentials, Identity::generate().id());
  Upgrade listener(yamux::Role::listener, std::make_shared<const NoiseCredentials>(Identity::generate()));
  CHECK(talk(dialer, listener, 100000) == make_error_code(p2p::errc::wrong_peer));
}

TEST_CASE("a listener that is no libp2p is refused at its first words") {
  Upgrade dialer(yamux::Role::dialer, std::make_shared<const NoiseCredentials>(Identity::generate()));
  Bytes out, in = to_bytes("HTTP/1.1 400 Bad Request\r\nServer: something that has never heard of libp2p\r\n\r\n");
  dialer.start(out);
  CHECK_FALSE(dialer.receive(in, out));
}

TEST_CASE("the multiplexer is agreed on in the handshake or behind it, whoever names what") {
  const std::vector<std::string> yamux_only{"/yamux/1.0.0"};
  const std::vector<std::string> rows[][2] = {{{}, yamux_only},
                                              {yamux_only, {}},
                                              {{}, {}},
                                              {{"/mplex/6.7.0"}, yamux_only},
                                              {{"/mplex/6.7.0", "/yamux/1.0.0"}, yamux_only}};
  const auto alice = Identity::generate();
  const auto bob = Identity::generate();
  for (const auto& row : rows) {
    for (const std::size_t step : {1U, 100000U}) {
      Upgrade dialer(yamux::Role::dialer, std::make_shared<const NoiseCredentials>(alice, row[0]), bob.id());
      Upgrade listener(yamux::Role::listener, std::make_shared<const NoiseCredentials>(bob, row[1]));
      CHECK_FALSE(talk(dialer, listener, step));
      CHECK(dialer.done());
      CHECK(listener.done());
      CHECK(listener.peer() == alice.id());
    }
  }
}

TEST_CASE("the dialer saves a round trip: its proposal and the first handshake message leave together") {
  Upgrade dialer(yamux::Role::dialer, std::make_shared<const NoiseCredentials>(Identity::generate()));
  Bytes out;
  dialer.start(out);
  CHECK(out.size() == 20 + 8 + 34);
}

TEST_CASE("what ends an upgrade, and what does not") {
  const auto code = [](yamux::Role role, Bytes input) {
    Upgrade end(role, std::make_shared<const NoiseCredentials>(Identity::generate()));
    Bytes out;
    end.start(out);
    const auto taken = end.receive(input, out);
    return taken ? std::error_code() : taken.error();
  };
  const auto tokens = [](std::initializer_list<const char*> names) {
    Bytes out;
    for (const char* const name : names) append_multistream_token(out, name);
    return out;
  };
  CHECK(code(yamux::Role::dialer, tokens({"/multistream/1.0.0", "na"})) == p2p::errc::protocol_not_supported);
  CHECK_FALSE(code(yamux::Role::listener, tokens({"/multistream/1.0.0", "/tls/1.0.0"})));  // another may follow
  Bytes garbage = tokens({"/multistream/1.0.0", "/noise"});
  append(garbage, Bytes{0, 5, 1, 2, 3, 4, 5});
  CHECK(code(yamux::Role::dialer, garbage) == p2p::errc::handshake_failed);
  CHECK(code(yamux::Role::listener, garbage) == p2p::errc::handshake_failed);
}
