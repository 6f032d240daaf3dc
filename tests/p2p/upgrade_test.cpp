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
