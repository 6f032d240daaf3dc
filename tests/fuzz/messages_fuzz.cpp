// Every message that a peer can send, chosen by the first byte: read, written back and read again.
#include "fuzz/fuzz.hpp"
#include "skep/codec/base32.hpp"
#include "skep/codec/dht_messages.hpp"
#include "skep/codec/frame.hpp"
#include "skep/codec/kad_messages.hpp"
#include "skep/codec/libp2p_messages.hpp"
#include "skep/codec/moe_messages.hpp"
#include "skep/codec/rpc_messages.hpp"
#include "skep/codec/unary_reader.hpp"
#include "skep/p2p/identify.hpp"
#include "skep/p2p/peer_routing.hpp"
#include "support/peers.hpp"
#include "support/vectors.hpp"

using namespace skep;
using namespace skep::codec;

namespace {

/// What was read is written, and what was written reads as the same.
template <class Message>
void round_trip(BytesView bytes) {
  const auto message = Message::decode(bytes);
  if (!message) return;
  const Bytes written = message->encode();
  const auto again = Message::decode(written);
  SKEP_FUZZ_CHECK(again);
  SKEP_FUZZ_CHECK(again->encode() == written);
}

void unary(BytesView bytes) {
  UnaryReader reader;
  Bytes body;
  std::size_t piece = 1;
  BytesView rest = bytes;
  while (!rest.empty() && !reader.done()) {
    const BytesView next = rest.first(std::min(piece, rest.size()));
    piece = piece * 3 % 17 + 1;
    if (reader.at_body()) {
      const std::size_t n = std::min(next.size(), reader.body_left());
      append(body, next.first(n));
      rest = rest.subspan(n);
      if (!reader.body_taken(n)) return;
    } else {
      const auto fed = reader.feed(next);
      if (!fed) return;
      SKEP_FUZZ_CHECK(*fed <= next.size());
      SKEP_FUZZ_CHECK(*fed > 0);
      rest = rest.subspan(*fed);
    }
  }
  SKEP_FUZZ_CHECK(body.size() <= bytes.size());
  if (!reader.done() || reader.kind() != UnaryKind::request) return;
  const auto frame = read_frame(bytes, max_unary_message);
  if (!frame) return;  // a prefix that is not minimal
  const auto whole = UnaryRequest::decode(frame->body);
  SKEP_FUZZ_CHECK(whole);
  SKEP_FUZZ_CHECK(whole->data == body);
  SKEP_FUZZ_CHECK(whole->proto == reader.proto());
}

void identify(BytesView bytes) {
  const auto remote = p2p::Multiaddr::parse("/ip4/127.0.0.1/tcp/1");
  p2p::IdentifyReader whole, cut;
  const auto fed = whole.feed(bytes);
  Result<void> step;
  for (std::size_t i = 0; i < bytes.size() && step; ++i) step = cut.feed(bytes.subspan(i, 1));
  SKEP_FUZZ_CHECK(fed.error() == step.error());
  if (!fed) return;
  const auto one = std::move(whole).finish(skep_test::peer_number(1), remote);
  const auto other = std::move(cut).finish(skep_test::peer_number(1), remote);
  SKEP_FUZZ_CHECK(one.error() == other.error());
  if (one) SKEP_FUZZ_CHECK(one->addresses == other->addresses && one->protocols == other->protocols);
}

void routing(BytesView bytes) {
  static const auto table = [] {
    p2p::PeerRouting some(skep_test::peer_number(0));
    for (std::uint32_t i = 1; i < 30; ++i) {
      const auto peer = skep_test::peer_number(i);
      if (some.identified(peer, true)) (void)some.probed(peer, {.type = KadType::find_node, .closer_peers = {{}}});
    }
    return some;
  }();
  const auto message = KadMessage::decode(bytes);
  if (!message) return;
  const auto nowhere = [](const p2p::PeerId&) { return std::vector<p2p::Multiaddr>(); };
  const auto answer = table.answer(*message, skep_test::peer_number(99), nowhere);
  if (answer && answer->type == KadType::find_node) SKEP_FUZZ_CHECK(answer->closer_peers.size() <= 21);
  p2p::FindPeer search(table, skep_test::peer_number(77));
  if (const auto peer = search.next()) (void)search.answered(*peer, *message);
}

void names(BytesView bytes) {
  if (const auto id = p2p::PeerId::from_bytes(bytes)) {
    const auto again = p2p::PeerId::from_text(id->to_string());
    SKEP_FUZZ_CHECK(again && *again == *id);
  }
  (void)p2p::PeerId::from_text(as_text(bytes));
  if (const auto address = p2p::Multiaddr::from_bytes(bytes)) {
    const auto again = p2p::Multiaddr::from_bytes(address->bytes());
    SKEP_FUZZ_CHECK(again && *again == *address);
    (void)address->to_string();
    (void)address->tcp();
    (void)address->without_peer();
    (void)p2p::scope_of(*address);
  }
  if (const auto address = p2p::Multiaddr::from_text(as_text(bytes))) {
    const auto again = p2p::Multiaddr::from_bytes(address->bytes());
    SKEP_FUZZ_CHECK(again && *again == *address);
  }
  if (const auto plain = base32_decode(as_text(bytes))) SKEP_FUZZ_CHECK(base32_encode(*plain).size() == bytes.size());
}

void heads(BytesView bytes) {
  (void)StreamRecordHead::decode(bytes);
  if (const auto frame = read_frame(bytes, 4096)) SKEP_FUZZ_CHECK(frame->size <= bytes.size());
  round_trip<RPCError>(bytes);
}

constexpr void (*readers[])(BytesView) = {
    round_trip<PublicKeyMessage>,
    round_trip<NoiseHandshakePayload>,
    round_trip<IdentifyMessage>,
    round_trip<KadMessage>,
    round_trip<SignedEnvelope>,
    round_trip<PeerRecord>,
    round_trip<PingRequest>,
    round_trip<PingResponse>,
    round_trip<StoreRequest>,
    round_trip<StoreResponse>,
    round_trip<FindRequest>,
    round_trip<FindResponse>,
    round_trip<UnaryRequest>,
    round_trip<UnaryResponse>,
    round_trip<ExpertUID>,
    round_trip<ExpertInfo>,
    unary,
    identify,
    routing,
    names,
    heads,
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  skep_test::FuzzInput input({data, size});
  const std::size_t which = input.byte() % std::size(readers);
  readers[which](input.rest());
  return 0;
}

static std::vector<Bytes> seeds() {
  using namespace skep_test;
  std::vector<Bytes> out;
  const auto add = [&](std::initializer_list<std::uint8_t> choices, const Bytes& bytes) {
    for (const std::uint8_t choice : choices) {
      Bytes seed{choice};
      append(seed, bytes);
      out.push_back(std::move(seed));
    }
  };
  add({0}, vector_bytes("identity", "rsa_peer", "public_message"));
  add({1}, vector_bytes("identity", "rsa_peer", "noise_payload"));
  const Bytes identify_stream = vector_bytes("identify", "p2pd_fresh", "stream_bytes");
  const Bytes identify_body = to_bytes(read_frame(identify_stream, 8192)->body);
  add({2}, identify_body);
  add({17}, identify_stream);
  add({4, 5}, *IdentifyMessage::decode(identify_body)->signed_peer_record);
  add({3, 18}, vector_bytes("kad", "find_node_other", "response"));
  add({3, 18}, vector_bytes("kad", "find_node_other", "request"));
  add({6}, vector_bytes("dht", "authorized_ping", "request"));
  add({7}, vector_bytes("dht", "authorized_ping", "response"));
  add({8}, vector_list("dht", "handoff", "requests").front());
  add({9}, vector_bytes("dht", "store_find", "store_response"));
  add({10}, vector_bytes("dht", "store_find", "find_request"));
  add({11}, vector_bytes("dht", "store_find", "find_response"));
  const Bytes request = vector_bytes("rpc", "unary_from_p2pd", "request");
  add({12}, to_bytes(read_frame(request, 4096)->body));
  const Bytes answer = vector_bytes("rpc", "unary_boom", "response");
  add({13}, to_bytes(read_frame(answer, 4096)->body));
  add({16}, request);
  add({16}, answer);
  add({14}, ExpertUID{"ffn.1.2"}.encode());
  add({15}, ExpertInfo{vector_bytes("moe", "info_nop.0", "bytes")}.encode());
  add({19}, vector_bytes("identity", "rsa_peer", "peer_id"));
  add({19}, to_bytes("12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"));
  add({19}, to_bytes("/ip4/192.0.2.5/tcp/4001/p2p/12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"));
  add({19}, to_bytes("/ip6zone/eth0/ip6/fe80::1/udp/7/quic-v1"));
  add({19}, to_bytes(p2p::Multiaddr::parse("/dns4/example.org/tcp/443/wss").bytes()));
  add({20}, vector_bytes("rpc", "stream_from_p2pd", "bytes"));
  return out;
}

SKEP_FUZZ_TEST("messages outlive whatever comes", seeds(), 40'000)
