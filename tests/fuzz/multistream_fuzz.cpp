// multistream-select against whatever comes, on both sides: never a byte of the protocol itself is taken, and the
// result does not depend on how the bytes are cut.
#include "skep/p2p/multistream.hpp"

#include "fuzz/fuzz.hpp"

using namespace skep;
using namespace skep::p2p;

namespace {

struct Negotiated {
  std::error_code error;
  bool done = false;
  std::string protocol;
  Bytes written;
  std::size_t taken = 0;

  friend bool operator==(const Negotiated&, const Negotiated&) = default;
};

/// Feeds what is left, growing by `piece` bytes at a time, as a connection's read buffer does.
template <class Machine, class Receive>
Negotiated drive(Machine machine, BytesView bytes, std::size_t piece, Receive receive) {
  Negotiated out;
  machine.start(out.written);
  std::size_t available = 0;
  while (!machine.done() && available < bytes.size()) {
    available = std::min(bytes.size(), available + piece);
    const BytesView buffer = bytes.subspan(out.taken, available - out.taken);
    const auto taken = receive(machine, buffer, out.written);
    if (!taken) return {.error = taken.error()};
    SKEP_FUZZ_CHECK(*taken <= buffer.size());
    out.taken += *taken;
  }
  out.done = machine.done();
  if (out.done) out.protocol = machine.protocol();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  skep_test::FuzzInput input({data, size});
  const std::size_t piece = input.byte() % 40 + 1;
  const BytesView bytes = input.rest();

  const auto serve = [](MultistreamServer& server, BytesView buffer, Bytes& out) {
    return server.receive(buffer, out,
                          [](std::string_view name) { return name == "/noise" || name == "/yamux/1.0.0"; });
  };
  const Negotiated served = drive(MultistreamServer(), bytes, bytes.size() + 1, serve);
  SKEP_FUZZ_CHECK(drive(MultistreamServer(), bytes, piece, serve) == served);
  SKEP_FUZZ_CHECK(!served.done || served.protocol == "/noise" || served.protocol == "/yamux/1.0.0");
  SKEP_FUZZ_CHECK(served.written.size() <= 4096);  // at most a hundred refusals

  static const std::vector<std::string> proposals{"/noise", "/tls/1.0.0", "/plaintext/2.0.0"};
  const auto choose = [](MultistreamClient& client, BytesView buffer, Bytes& out) {
    return client.receive(buffer, out);
  };
  const Negotiated chosen = drive(MultistreamClient(proposals), bytes, bytes.size() + 1, choose);
  SKEP_FUZZ_CHECK(drive(MultistreamClient(proposals), bytes, piece, choose) == chosen);
  return 0;
}

static std::vector<Bytes> seeds() {
  const auto of = [](std::initializer_list<std::string_view> names, std::string_view after) {
    Bytes out{3};
    for (const auto name : names) append_multistream_token(out, name);
    append(out, as_bytes(after));
    return out;
  };
  return {of({multistream_header, "/noise"}, "application bytes"),
          of({multistream_header, "/unknown", "/yamux/1.0.0"}, "x"),
          of({multistream_header, "na", "na", "/plaintext/2.0.0"}, ""),
          of({multistream_header, "na", "/tls/1.0.0"}, "y"), of({multistream_header, std::string(1023, 'x')}, "")};
}

SKEP_FUZZ_TEST("multistream-select outlives whatever comes", seeds(), 20'000)
