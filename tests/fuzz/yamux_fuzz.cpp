// A yamux session between a peer that sends anything and a driver that does anything it may: no frame that breaks the
// rules leaves, and never more than the peer has granted.
#include "skep/p2p/yamux.hpp"

#include <map>

#include "fuzz/fuzz.hpp"
#include "support/vectors.hpp"

using namespace skep;
using namespace skep::p2p;
using yamux::FrameHeader;
using yamux::FrameType;
using Session = yamux::Session<int>;

namespace {

constexpr std::size_t max_streams = 40;

/// One side of a connection, watched.
class Watched {
 public:
  explicit Watched(yamux::Role role)
      : session_(role, {.max_inbound = 20, .max_outbound = 20, .max_unacknowledged = 5, .max_control = 50}) {}

  /// @return false when the session has ended the connection
  bool receive(BytesView bytes) {
    note_grants(bytes);
    while (true) {
      const std::size_t before = bytes.size();
      const auto event = session_.read(bytes);
      if (!event) return false;
      if (event->kind == Session::Event::Kind::none) {
        SKEP_FUZZ_CHECK(bytes.empty());
        break;
      }
      if (event->kind == Session::Event::Kind::opened) event->stream->owner = 1;
      if (event->kind == Session::Event::Kind::data) {
        SKEP_FUZZ_CHECK(!event->data.empty() && bytes.size() < before);
        session_.consumed(*event->stream, event->data.size());
      }
    }
    SKEP_FUZZ_CHECK(session_.inbound() <= 20 && session_.outbound() <= 20);
    return true;
  }

  void act(skep_test::FuzzInput& input) {
    const std::size_t what = input.byte() % 8;
    if (what == 0) {
      if (const auto opened = session_.open(1)) (*opened)->owner = 2;
      return;
    }
    if (what == 1) {
      send();
      return;
    }
    std::vector<Session::Stream*> streams;
    session_.for_each([&](Session::Stream& stream) { streams.push_back(&stream); });
    SKEP_FUZZ_CHECK(streams.size() <= max_streams);
    if (streams.empty()) return;
    std::sort(streams.begin(), streams.end(), [](auto* a, auto* b) { return a->id() < b->id(); });
    Session::Stream& stream = *streams[input.byte() % streams.size()];
    const auto urgency = input.byte() % 2 == 0 ? yamux::Urgency::now : yamux::Urgency::lazy;
    switch (what) {
      case 2: session_.finish(stream, urgency); break;
      case 3: session_.reset(stream); break;
      case 4: session_.expect(stream, input.byte() * 65536); break;
      default:
        if (!stream.local_closed()) session_.write(stream, zeros().first(input.byte() * 1024 + 1), urgency);
    }
  }

  /// Hands out frames and looks at each.
  void send() {
    Session::Batch batch;
    session_.take(batch, 64 * 1024);
    Bytes bytes;
    for (const BytesView piece : batch.pieces) append(bytes, piece);
    SKEP_FUZZ_CHECK(bytes.size() == batch.size);
    for (BytesView rest = bytes; !rest.empty();) {
      SKEP_FUZZ_CHECK(rest.size() >= yamux::header_size);
      const auto header = FrameHeader::decode(rest.first<yamux::header_size>());
      SKEP_FUZZ_CHECK(header);
      rest = rest.subspan(yamux::header_size);
      if (header->type != FrameType::data) continue;
      SKEP_FUZZ_CHECK(rest.size() >= header->length);
      rest = rest.subspan(header->length);
      sent_[header->stream] += header->length;
      if (!reused_) SKEP_FUZZ_CHECK(sent_[header->stream] <= granted(header->stream));
    }
  }

 private:
  static BytesView zeros() {
    static const Bytes bytes(256 * 1024, 0);
    return bytes;
  }

  [[nodiscard]] std::uint64_t granted(std::uint32_t stream) const {
    const auto found = granted_.find(stream);
    return yamux::initial_window + (found == granted_.end() ? 0 : found->second);
  }

  /// What the peer's window updates add up to, read independently of the session.
  void note_grants(BytesView bytes) {
    for (const std::uint8_t byte : bytes) {
      if (skip_ > 0) {
        --skip_;
        continue;
      }
      head_.push_back(byte);
      if (head_.size() < yamux::header_size) continue;
      const auto length = load_be<std::uint32_t>(head_.data() + 8);
      const auto stream = load_be<std::uint32_t>(head_.data() + 4);
      const auto flags = load_be<std::uint16_t>(head_.data() + 2);
      if (head_[1] == 0) skip_ = length;
      if (head_[1] == 1) granted_[stream] += length;
      if ((flags & yamux::syn) != 0 && !seen_.insert({stream, true}).second) reused_ = true;
      head_.clear();
    }
  }

  Session session_;
  Bytes head_;
  std::uint64_t skip_ = 0;
  std::map<std::uint32_t, std::uint64_t> granted_, sent_;
  std::map<std::uint32_t, bool> seen_;
  bool reused_ = false;  // the peer took an id twice after a reset: counts of the two streams cannot be told apart
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  skep_test::FuzzInput input({data, size});
  Watched side(input.byte() % 2 == 0 ? yamux::Role::listener : yamux::Role::dialer);
  while (!input.empty()) {
    const std::size_t what = input.byte();
    if (what < 128) {
      if (!side.receive(input.take(what % 64 + 1))) return 0;
    } else {
      side.act(input);
    }
  }
  for (int i = 0; i < 4; ++i) side.send();
  return 0;
}

/// A conversation: the peer's bytes cut into pieces, with the driver's acts between them.
static Bytes conversation(std::uint8_t role, const Bytes& from_peer, std::uint64_t seed) {
  Random random(seed);
  Bytes out{role};
  for (BytesView rest = from_peer; !rest.empty();) {
    const std::size_t n = std::min<std::size_t>(random.below(64) + 1, rest.size());
    out.push_back(static_cast<std::uint8_t>(n - 1));
    append(out, rest.first(n));
    rest = rest.subspan(n);
    for (auto acts = random.below(4); acts > 0; --acts) {
      const std::uint8_t act[] = {static_cast<std::uint8_t>(128 + random.below(128)),
                                  static_cast<std::uint8_t>(random()), static_cast<std::uint8_t>(random()),
                                  static_cast<std::uint8_t>(random())};
      append(out, act);
    }
  }
  return out;
}

static std::vector<Bytes> seeds() {
  std::vector<Bytes> out;
  for (const auto& [name, role] : {std::pair<const char*, std::uint8_t>{"we_dialled", 1}, {"p2pd_dialled", 0}}) {
    Bytes from_peer;
    for (const auto& frame : skep_test::vector_of("yamux", name).at("frames")) {
      if (frame.at("from") == "p2pd") append(from_peer, skep_test::unhex(frame.at("bytes").get<std::string>()));
    }
    for (std::uint64_t seed = 0; seed < 3; ++seed) out.push_back(conversation(role, from_peer, seed));
  }
  Bytes busy;  // a peer that opens, grants, sends, closes and resets
  Random random(5);
  for (int i = 0; i < 60; ++i) {
    const auto type = static_cast<FrameType>(random.below(3));
    const auto flags = static_cast<std::uint16_t>(random.below(3) == 0 ? 1U << random.below(4) : 0);
    const auto stream = type == FrameType::ping ? 0 : static_cast<std::uint32_t>(random.below(12));
    const auto length =
        static_cast<std::uint32_t>(type == FrameType::window_update ? random() % 300'000 : random() % 20);
    const FrameHeader header{type, flags, stream, length};
    append(busy, header.encode());
    if (type == FrameType::data) append(busy, Bytes(length, 1));
  }
  for (std::uint64_t seed = 0; seed < 4; ++seed) out.push_back(conversation(seed % 2, busy, seed));
  return out;
}

SKEP_FUZZ_TEST("yamux outlives whatever comes and keeps the rules itself", seeds(), 5'000)
