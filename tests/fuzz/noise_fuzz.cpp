// A Noise handshake and its records with somebody in the middle: what was changed is never believed.
#include "skep/p2p/noise.hpp"

#include <array>
#include <memory>

#include "fuzz/fuzz.hpp"

using namespace skep;
using namespace skep::p2p;

namespace {

crypto::Secret<32> key_of(std::uint8_t byte) {
  std::array<std::uint8_t, 32> bytes;
  bytes.fill(byte);
  return crypto::Secret<32>(bytes);
}

struct Pair {
  std::shared_ptr<const NoiseCredentials> dialer = credentials(1);
  std::shared_ptr<const NoiseCredentials> listener = credentials(2);
  crypto::X25519KeyPair dialer_key{key_of(3)};
  crypto::X25519KeyPair listener_key{key_of(4)};

  static std::shared_ptr<const NoiseCredentials> credentials(std::uint8_t byte) {
    return std::make_shared<const NoiseCredentials>(Identity::from_seed(key_of(byte)));
  }
};

const Pair& pair() {
  static const Pair both;
  return both;
}

/// Changes bytes as the input says: a message is left alone when the input has nothing to say about it.
Bytes tampered(Bytes message, skep_test::FuzzInput& input) {
  const std::size_t what = input.byte() % 5;
  const std::size_t at = input.byte() * 256 + input.byte();
  if (what == 1 && !message.empty()) message[at % message.size()] ^= static_cast<std::uint8_t>(input.byte());
  if (what == 2) message.resize(at % (message.size() + 1));
  if (what == 3) append(message, input.take(at % 64));
  if (what == 4) message = to_bytes(input.take(at % 700));
  return message;
}

void handshake(skep_test::FuzzInput& input) {
  using Role = NoiseHandshake::Role;
  NoiseHandshake dialer(Role::initiator, pair().dialer, {}, pair().dialer_key);
  NoiseHandshake listener(Role::responder, pair().listener, {}, pair().listener_key);
  Bytes first, second, third, nothing;
  dialer.start(first);
  const Bytes first_seen = tampered(first, input);
  const auto heard = listener.receive(first_seen, second);
  if (!heard) return;
  SKEP_FUZZ_CHECK(*heard <= first_seen.size());
  if (listener.done() || second.empty()) return;
  const Bytes second_seen = tampered(second, input);
  const auto answered = dialer.receive(second_seen, third);
  if (!answered) return;
  if (dialer.done()) {
    SKEP_FUZZ_CHECK(BytesView(second_seen).size() >= second.size());
    SKEP_FUZZ_CHECK(std::equal(second.begin(), second.end(), second_seen.begin()));
  }
  if (third.empty()) return;
  const Bytes third_seen = tampered(third, input);
  const auto confirmed = listener.receive(third_seen, nothing);
  if (confirmed && listener.done()) {
    SKEP_FUZZ_CHECK(
        std::equal(third.begin(), third.end(), third_seen.begin(),
                   third_seen.begin() + static_cast<std::ptrdiff_t>(std::min(third.size(), third_seen.size()))));
    SKEP_FUZZ_CHECK(dialer.handshake_hash() == listener.handshake_hash());
  }
}

void records(skep_test::FuzzInput& input) {
  NoiseTransport sender(key_of(5), key_of(6)), receiver(key_of(6), key_of(5));
  const Bytes plain(200, 7);
  Bytes wire;
  for (int i = 0; i < 3; ++i) {
    const std::array<BytesView, 2> pieces{BytesView(plain).first(input.byte() % 100 + 1), BytesView(plain)};
    Bytes sealed(NoiseTransport::sealed_size(pieces[0].size() + pieces[1].size()));
    const auto size = sender.seal(pieces, sealed);
    SKEP_FUZZ_CHECK(size && *size == sealed.size());
    append(wire, sealed);
  }
  const Bytes original = wire;
  wire = tampered(std::move(wire), input);
  std::size_t at = 0;
  for (;;) {
    const auto opened = receiver.open(MutableBytes(wire).subspan(at));
    if (!opened || opened->consumed == 0) break;
    // whatever opens is what was sealed: the right bytes at the right place
    SKEP_FUZZ_CHECK(at + opened->consumed <= original.size());
    SKEP_FUZZ_CHECK(std::all_of(opened->plain.begin(), opened->plain.end(), [](std::uint8_t b) { return b == 7; }));
    at += opened->consumed;
  }
}

void payload(skep_test::FuzzInput& input) { (void)codec::NoiseHandshakePayload::decode(input.rest()); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  skep_test::FuzzInput input({data, size});
  switch (input.byte() % 3) {
    case 0: handshake(input); break;
    case 1: records(input); break;
    default: payload(input); break;
  }
  return 0;
}

static std::vector<Bytes> seeds() {
  return {Bytes(20, 0),                                         // nobody in the middle
          {0, 0, 0, 0, 1, 0, 50, 1},                            // one bit of message 2
          {0, 0, 0, 0, 0, 0, 0, 1, 0, 90, 1},                   // one bit of message 3
          {0, 1, 0, 1, 0x80},                                   // the length of message 1
          {0, 3, 0, 10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10},         // something behind message 1
          {1, 10, 20, 30, 0, 0, 0},                             // records left alone
          {1, 10, 20, 30, 1, 1, 44, 1},                         // one bit of the second record
          {1, 1, 1, 1, 2, 0, 9},                                // cut
          {2, 0x0a, 1, 1, 0x12, 1, 2, 0x22, 3, 0x12, 1, 'x'}};  // a payload
}

SKEP_FUZZ_TEST("Noise believes nothing that was changed", seeds(), 2'000)
