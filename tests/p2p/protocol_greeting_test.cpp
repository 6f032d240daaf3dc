#include "skep/p2p/protocol_greeting.hpp"

#include <doctest/doctest.h>

using namespace skep;
using namespace skep::p2p;

TEST_CASE("a greeting is the header and the name, each with its length and a newline") {
  CHECK(to_hex(protocol_greeting("/noise")) == "132f6d756c746973747265616d2f312e302e300a072f6e6f6973650a");
}

TEST_CASE("an echo is recognised in pieces of any size, and what follows it is left alone") {
  const Bytes greeting = protocol_greeting("Echo.rpc_say");
  Bytes in = greeting;
  append(in, as_bytes("more"));
  for (std::size_t cut = 0; cut <= in.size(); ++cut) {
    GreetingReader reader;
    const auto first = reader.receive(greeting, BytesView(in).first(cut));
    REQUIRE(first);
    const auto second = reader.receive(greeting, BytesView(in).subspan(*first));
    REQUIRE(second);
    CHECK(reader.done(greeting));
    CHECK(*first + *second == greeting.size());
  }
}

TEST_CASE("a refusal and nonsense are told apart") {
  const Bytes greeting = protocol_greeting("Echo.rpc_say");
  Bytes refusal = to_bytes(BytesView(greeting).first(20));
  append(refusal, as_bytes("\x03na\n"));
  CHECK(GreetingReader().receive(greeting, refusal).error() == make_error_code(p2p::errc::protocol_not_supported));
  CHECK(GreetingReader().receive(greeting, as_bytes("HTTP/1.1 400")).error() ==
        make_error_code(p2p::errc::negotiation_failed));
}
