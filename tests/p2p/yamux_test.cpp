#include "skep/p2p/yamux.hpp"

#include <deque>
#include <map>
#include <memory>
#include <string>

#include "skep/core/random.hpp"
#include "support/vectors.hpp"

#include <doctest/doctest.h>

namespace {

namespace yamux = skep::p2p::yamux;
using skep::Bytes;
using skep::BytesView;
using yamux::FrameHeader;
using yamux::FrameType;
using yamux::Role;
using Mux = yamux::Session<std::shared_ptr<int>>;
using Kind = Mux::Event::Kind;

Bytes frame(FrameType type, int flags, std::uint32_t stream, std::uint32_t length, BytesView payload = {}) {
  Bytes out = skep::to_bytes(BytesView(FrameHeader{type, static_cast<std::uint16_t>(flags), stream, length}.encode()));
  skep::append(out, payload);
  return out;
}
Bytes data(int flags, std::uint32_t stream, const std::string& text) {
  return frame(FrameType::data, flags, stream, static_cast<std::uint32_t>(text.size()), skep::as_bytes(text));
}
Bytes window(int flags, std::uint32_t stream, std::uint32_t credit = 0) {
  return frame(FrameType::window_update, flags, stream, credit);
}

/// All that a session wants to send.
Bytes taken(Mux& session) {
  Bytes out;
  Mux::Batch batch;
  while (session.pending()) {
    session.take(batch, 1 << 20);
    if (batch.pieces.empty()) break;
    for (const BytesView piece : batch.pieces) skep::append(out, piece);
  }
  return out;
}

/// The headers of all that a session wants to send.
std::vector<FrameHeader> frames(Mux& session) {
  const Bytes all = taken(session);
  std::vector<FrameHeader> out;
  for (BytesView rest = all; !rest.empty();) {
    const auto header = FrameHeader::decode(rest.first(yamux::header_size));
    REQUIRE(header);
    rest = rest.subspan(yamux::header_size + (header->type == FrameType::data ? header->length : 0));
    out.push_back(*header);
  }
  return out;
}

/// "opened 1, data 1 hello, ended 1": what a session makes of some bytes. Data is consumed at once.
std::string events(Mux& session, BytesView input) {
  std::string out;
  for (;;) {
    auto event = session.read(input);
    if (!event) return out + "error " + event.error().message();
    if (event->kind == Kind::none) break;
    if (!out.empty()) out += ", ";
    const std::string id = event->stream ? std::to_string(event->stream->id()) : "";
    switch (event->kind) {
      case Kind::opened: out += "opened " + id; break;
      case Kind::data:
        out += "data " + id + " " + std::string(skep::as_text(event->data));
        session.consumed(*event->stream, event->data.size());
        break;
      case Kind::ended: out += "ended " + id; break;
      case Kind::reset: out += "reset " + id; break;
      case Kind::pong: out += "pong " + std::to_string(event->value); break;
      case Kind::went_away: out += "went away " + std::to_string(event->value); break;
      case Kind::none: break;
    }
  }
  return out;
}

Bytes join(std::initializer_list<Bytes> parts) {
  Bytes out;
  for (const auto& part : parts) skep::append(out, part);
  return out;
}

}  // namespace

TEST_CASE("what a listener makes of the forms that other implementations send (wire 3.7)") {
  using namespace yamux;
  struct Row {
    const char* what;
    Bytes input;
    std::string said;
  };
  const Row rows[] = {
      {"go: empty SYN, data, FIN", join({window(syn, 1), data(0, 1, "abc"), window(fin, 1)}),
       "opened 1, data 1 abc, ended 1"},
      {"js: SYN with credit", join({window(syn, 1, 1000), data(0, 1, "abc")}), "opened 1, data 1 abc"},
      {"rust: SYN on data, FIN on empty data", join({data(syn, 1, "abc"), data(fin, 1, "")}),
       "opened 1, data 1 abc, ended 1"},
      {"all in one frame", data(syn | fin, 1, "abc"), "opened 1, data 1 abc, ended 1"},
      {"RST as an ordinary ending", join({data(syn, 1, "abc"), window(rst, 1)}), "opened 1, data 1 abc, reset 1"},
      {"RST on data drops the data", join({data(syn, 1, "a"), data(rst, 1, "b"), window(syn, 3)}),
       "opened 1, data 1 a, reset 1, opened 3"},
      {"opened and given up at once", join({window(syn | rst, 1), window(syn, 3)}), "opened 3"},
      {"ids may be skipped and come out of order", join({window(syn, 9), window(syn, 5)}), "opened 9, opened 5"},
      {"frames of unknown streams are drained",
       join({data(0, 7, "lost"), window(fin, 7), window(rst, 9), window(syn, 1)}), "opened 1"},
      {"data after FIN is drained", join({data(syn | fin, 1, "a"), data(0, 1, "b"), window(syn, 3)}),
       "opened 1, data 1 a, ended 1, opened 3"},
      {"FIN twice", join({data(syn | fin, 1, "a"), window(fin, 1)}), "opened 1, data 1 a, ended 1"},
      {"pong", frame(FrameType::ping, ack, 0, 5), "pong 5"},
      {"go-away", frame(FrameType::go_away, 0, 0, 2), "went away 2"},
      {"wrong parity", window(syn, 2), "error " + make_error_code(skep::p2p::errc::protocol_error).message()},
      {"id 0", window(syn, 0), "error " + make_error_code(skep::p2p::errc::protocol_error).message()},
      {"an id in use", join({window(syn, 1), window(syn, 1)}),
       "opened 1error " + make_error_code(skep::p2p::errc::protocol_error).message()},
      {"unknown version", Bytes(12, 0xff), "error " + make_error_code(skep::p2p::errc::protocol_error).message()},
  };
  for (const auto& row : rows) {
    CAPTURE(row.what);
    Mux whole(Role::listener);
    CHECK(events(whole, row.input) == row.said);
  }
}

TEST_CASE("the same events however the bytes are cut, data excepted") {
  using namespace yamux;
  const Bytes input = join({data(syn, 1, "x"), window(0, 1, 7), data(fin, 1, "y"), frame(FrameType::ping, ack, 0, 3)});
  Mux session(Role::listener);
  std::string said;
  for (std::size_t i = 0; i < input.size(); ++i) {
    const std::string now = events(session, BytesView(input).subspan(i, 1));
    if (!now.empty()) said += (said.empty() ? "" : ", ") + now;
  }
  CHECK(said == "opened 1, data 1 x, data 1 y, ended 1, pong 3");
}

TEST_CASE("a call in one frame, its answer in one frame") {
  using namespace yamux;
  Mux caller(Role::dialer);
  Mux callee(Role::listener);
  const Bytes request = skep::to_bytes("request");
  const Bytes response = skep::to_bytes("response");
  auto opened = caller.open(std::make_shared<int>(1));
  REQUIRE(opened);
  CHECK((*opened)->id() == 1);
  CHECK_FALSE(caller.urgent());
  caller.write(**opened, request);
  CHECK(caller.urgent());
  const Bytes there = taken(caller);
  CHECK(there == data(syn, 1, "request"));
  CHECK((*opened)->drained());

  BytesView input = there;
  auto event = callee.read(input);
  REQUIRE((event && event->kind == Kind::opened));
  Mux::Stream& stream = *event->stream;
  event = callee.read(input);
  REQUIRE((event && event->kind == Kind::data));
  CHECK(skep::as_text(event->data) == "request");
  CHECK_FALSE(callee.urgent());  // the acknowledgement waits for the answer
  CHECK(callee.pending());
  callee.write(stream, response);
  callee.finish(stream);
  const Bytes back = taken(callee);
  CHECK(back == join({data(ack, 1, "response"), window(fin, 1)}));

  CHECK(events(caller, back) == "data 1 response, ended 1");
  caller.finish(**opened, Urgency::lazy);
  CHECK_FALSE(caller.urgent());  // the closing half waits for the next call
  opened = caller.open({});
  REQUIRE(opened);
  caller.write(**opened, request);
  const Bytes next = taken(caller);
  CHECK(next == join({data(syn, 3, "request"), window(fin, 1)}));
  caller.sweep();
  CHECK(caller.outbound() == 1);
  CHECK(events(callee, next) == "opened 3, data 3 request, ended 1");
  callee.sweep();
  CHECK(callee.inbound() == 1);
}

TEST_CASE("an acknowledgement is sent exactly once, also alone") {
  using namespace yamux;
  Mux session(Role::listener);
  events(session, data(syn, 1, "a"));
  CHECK(taken(session) == window(ack, 1));
  events(session, data(0, 1, "b"));
  CHECK(taken(session).empty());
}

TEST_CASE("a lazy write waits for an urgent one and shares its frame") {
  using namespace yamux;
  Mux session(Role::listener);
  const Bytes greeting = skep::to_bytes("greeting ");
  const Bytes answer = skep::to_bytes("answer");
  BytesView view;
  const Bytes input = data(syn, 1, "request");
  view = input;
  auto& stream = *session.read(view)->stream;
  session.write(stream, greeting, Urgency::lazy);
  CHECK_FALSE(session.urgent());
  SUBCASE("the answer comes") {
    session.write(stream, answer);
    session.finish(stream);
    CHECK(session.urgent());
    CHECK(taken(session) == join({data(ack, 1, "greeting answer"), window(fin, 1)}));
  }
  SUBCASE("somebody else has to write") {
    session.ping(1);
    CHECK(taken(session) == join({frame(FrameType::ping, syn, 0, 1), data(ack, 1, "greeting ")}));
  }
}

// yamux in Go acts on the flags of a frame before it has stored its data: a reader that wakes in between finds an ended
// stream and no data, and a unary answer is lost as "EOF" once in some fifty busy calls.
TEST_CASE("FIN never shares a frame with data") {
  using namespace yamux;
  for (const std::size_t size : {std::size_t{1}, std::size_t{100}, std::size_t{max_sent_payload} + 1}) {
    CAPTURE(size);
    Mux session(Role::dialer);
    const Bytes body(size, 7);
    auto stream = session.open({});
    REQUIRE(stream);
    session.write(**stream, body);
    session.finish(**stream);
    const auto sent = frames(session);
    REQUIRE_FALSE(sent.empty());
    CHECK(sent.back() == FrameHeader{FrameType::window_update, fin, 1, 0});
    for (std::size_t i = 0; i + 1 < sent.size(); ++i) CHECK_FALSE(sent[i].has(fin));
  }
}

TEST_CASE("the first frames of a live p2pd, both roles") {
  for (const char* name : {"we_dialled", "p2pd_dialled"}) {
    const bool dialled = std::string(name) == "we_dialled";
    Mux session(dialled ? Role::dialer : Role::listener);
    const std::string id = dialled ? "2" : "1";
    std::string said;
    for (const auto& one : skep_test::vector_of("yamux", name).at("frames")) {
      const Bytes bytes = skep_test::unhex(one.at("bytes").get<std::string>());
      if (one.at("from") == "us") continue;
      std::string now = events(session, bytes);
      if (!now.empty()) said += (said.empty() ? "" : ", ") + now;
    }
    CHECK(said == "opened " + id + ", data " + id + " \x13/multistream/1.0.0\n\x0f/ipfs/id/1.0.0\n, ended " + id);
    const auto sent = frames(session);
    REQUIRE(sent.size() == 2);  // pong first, then the acknowledgement
    CHECK(sent[0] == FrameHeader{FrameType::ping, yamux::ack, 0, 0});
    CHECK(sent[1] == FrameHeader{FrameType::window_update, yamux::ack, dialled ? 2U : 1U, 0});
  }
}

TEST_CASE("a sender stops at the window and goes on with the credit") {
  using namespace yamux;
  Mux session(Role::dialer);
  const Bytes body(initial_window + 10, 7);
  auto stream = session.open({});
  REQUIRE(stream);
  session.write(**stream, body);
  session.finish(**stream);
  std::size_t sent = 0;
  for (const auto& header : frames(session)) {
    CHECK(header.length <= max_sent_payload);
    CHECK_FALSE(header.has(fin));
    sent += header.length;
  }
  CHECK(sent == initial_window);
  CHECK_FALSE(session.pending());
  CHECK_FALSE((*stream)->drained());
  events(session, window(ack, 1, 4));
  events(session, window(0, 1, 6));
  const auto rest = frames(session);
  REQUIRE(rest.size() == 2);
  CHECK(rest[0] == FrameHeader{FrameType::data, 0, 1, 10});
  CHECK(rest[1] == FrameHeader{FrameType::window_update, fin, 1, 0});
  CHECK((*stream)->drained());
}

TEST_CASE("a receiver grants half a window at a time, and a reader that keeps up gets a larger one") {
  using namespace yamux;
  Mux session(Role::listener);
  const std::string quarter(initial_window / 4, 'x');
  events(session, data(syn, 1, quarter));
  CHECK(taken(session) == window(ack, 1));
  events(session, data(0, 1, quarter));
  CHECK(taken(session) == window(0, 1, initial_window / 2 + initial_window));
}

TEST_CASE("nothing is granted while nothing is consumed, and a window that is ignored ends the session") {
  using namespace yamux;
  Mux session(Role::listener);
  Bytes input = data(syn, 1, std::string(initial_window, 'x'));
  BytesView view = input;
  REQUIRE(session.read(view)->kind == Kind::opened);
  const auto event = session.read(view);
  REQUIRE(event->kind == Kind::data);
  CHECK(event->data.size() == initial_window);
  CHECK(taken(session) == window(ack, 1));
  CHECK(event->stream->receive_window() == 0);
  input = data(0, 1, "x");
  view = input;
  CHECK(session.read(view).error() == skep::p2p::errc::window_exceeded);
}

TEST_CASE("a message whose size is known is let in whole, within the limits") {
  using namespace yamux;
  Mux session(Role::listener, {.max_window = 1024 * 1024, .window_budget = 1024 * 1024});
  Bytes input = data(syn, 1, "head");
  BytesView view = input;
  auto& one = *session.read(view)->stream;
  static_cast<void>(session.read(view));
  session.expect(one, 100);
  CHECK(one.receive_window() == initial_window - 4);  // there is room already
  session.expect(one, 500'000);
  CHECK(one.receive_window() == 500'000);
  CHECK(taken(session) == window(ack, 1, 500'000 - (initial_window - 4)));
  session.expect(one, 100'000'000);
  CHECK(one.receive_window() == 1024 * 1024 - 4);  // max_window, less what is not consumed
  CHECK(taken(session) == window(0, 1, 1024 * 1024 - 4 - 500'000));
  input = data(syn, 3, "head");
  view = input;
  auto& two = *session.read(view)->stream;
  session.expect(two, 100'000'000);
  CHECK(two.receive_window() <= 1024 * 1024 - (1024 * 1024 - initial_window) + initial_window);  // the budget is shared
  static_cast<void>(session.read(view));
  session.reset(one);
  session.expect(two, 100'000'000);
  CHECK(two.receive_window() == 1024 * 1024 - 4);  // and given back
}

TEST_CASE("more streams than a peer accepts unacknowledged wait in line") {
  using namespace yamux;
  Mux session(Role::dialer, {.max_unacknowledged = 2});
  const Bytes body = skep::to_bytes("x");
  for (int i = 0; i < 5; ++i) {
    auto stream = session.open({});
    REQUIRE(stream);
    session.write(**stream, body);
  }
  CHECK(taken(session) == join({data(syn, 1, "x"), data(syn, 3, "x")}));
  events(session, window(ack, 1));
  CHECK(taken(session) == data(syn, 5, "x"));
  CHECK(events(session, window(rst, 3)) == "reset 3");
  CHECK(taken(session) == data(syn, 7, "x"));
  Mux::Stream* first = nullptr;
  session.for_each([&](Mux::Stream& stream) {
    if (stream.id() == 5) first = &stream;
  });
  REQUIRE(first);
  session.reset(*first);  // giving one up returns its credit too
  CHECK(taken(session) == join({window(rst, 5), data(syn, 9, "x")}));
}

TEST_CASE("a stream that is given up in line lets the next one in") {
  using namespace yamux;
  Mux session(Role::dialer, {.max_unacknowledged = 1});
  const Bytes body = skep::to_bytes("x");
  std::vector<Mux::Stream*> streams;
  for (int i = 0; i < 3; ++i) {
    auto stream = session.open({});
    REQUIRE(stream);
    session.write(**stream, body);
    streams.push_back(*stream);
  }
  CHECK(taken(session) == data(syn, 1, "x"));
  events(session, window(ack, 1));  // 3 may go now,
  session.reset(*streams[1]);       // and is given up before it has
  CHECK(taken(session) == data(syn, 5, "x"));
}

TEST_CASE("the end of an accepted stream changes nothing in the line of those that wait") {
  using namespace yamux;
  Mux session(Role::dialer, {.max_unacknowledged = 1});
  const Bytes body = skep::to_bytes("x");
  std::vector<Mux::Stream*> streams;
  for (int i = 0; i < 4; ++i) {
    auto stream = session.open({});
    REQUIRE(stream);
    session.write(**stream, body);
    streams.push_back(*stream);
    if (i == 0) CHECK(taken(session) == data(syn, 1, "x"));
  }
  events(session, window(ack, 1));                      // 3 may go,
  CHECK(events(session, window(rst, 1)) == "reset 1");  // and that one ends before it has
  CHECK(taken(session) == data(syn, 3, "x"));
  events(session, window(ack, 3));
  CHECK(taken(session) == data(syn, 5, "x"));
}

TEST_CASE("giving up a stream that was never announced says nothing") {
  Mux session(Role::dialer);
  const Bytes body = skep::to_bytes("x");
  auto owner = std::make_shared<int>(1);
  auto stream = session.open(owner);
  session.write(**stream, body);
  session.reset(**stream);
  CHECK(taken(session).empty());
  session.sweep();
  CHECK(owner.use_count() == 1);
  CHECK(session.idle());
}

TEST_CASE("streams are served in turn and the session's own frames first") {
  using namespace yamux;
  Mux session(Role::dialer);
  const Bytes bulk(150'000, 1);
  const Bytes small = skep::to_bytes("s");
  auto one = session.open({});
  auto two = session.open({});
  session.write(**one, bulk);
  session.write(**two, small);
  session.ping(9);
  const auto sent = frames(session);
  REQUIRE(sent.size() == 5);
  CHECK(sent[0] == FrameHeader{FrameType::ping, syn, 0, 9});
  CHECK(sent[1] == FrameHeader{FrameType::data, syn, 1, max_sent_payload});
  CHECK(sent[2] == FrameHeader{FrameType::data, syn, 3, 1});
  CHECK(sent[3].stream == 1);
  CHECK(sent[4].length == 150'000 - 2 * max_sent_payload);
}

TEST_CASE("a batch keeps to its budget, about") {
  Mux session(Role::dialer);
  const Bytes bulk(200'000, 1);
  auto stream = session.open({});
  session.write(**stream, bulk);
  Mux::Batch batch;
  session.take(batch, 100'000);
  CHECK(batch.size >= 100'000);
  CHECK(batch.size < 100'000 + 65536);
  CHECK(session.urgent());
  CHECK(batch.drained.empty());
  session.take(batch, 1'000'000);
  CHECK(batch.drained.size() == 1);
}

TEST_CASE("segments of the caller are handed out where they lie") {
  Mux session(Role::dialer);
  const Bytes head = skep::to_bytes("head");
  const Bytes tensor(1000, 3);
  auto stream = session.open({});
  session.write(**stream, head);
  session.write(**stream, tensor);
  Mux::Batch batch;
  session.take(batch, 1'000'000);
  REQUIRE(batch.pieces.size() == 3);
  CHECK(batch.pieces[1].data() == head.data());
  CHECK(batch.pieces[2].data() == tensor.data());
  CHECK(batch.size == yamux::header_size + 1004);
}

TEST_CASE("limits: streams of the peer, streams of ours, pings, openings") {
  using namespace yamux;
  Mux session(Role::listener, {.max_inbound = 2, .max_outbound = 1, .max_control = 3});
  CHECK(events(session, join({window(syn, 1), window(syn, 3), data(syn | fin, 5, "x"), window(syn, 7)})) ==
        "opened 1, opened 3");
  const auto sent = frames(session);
  REQUIRE(sent.size() == 4);
  CHECK(sent[0] == FrameHeader{FrameType::window_update, rst, 5, 0});
  CHECK(sent[1] == FrameHeader{FrameType::window_update, rst, 7, 0});
  REQUIRE(session.open({}));
  CHECK(session.open({}).error() == skep::p2p::errc::too_many_streams);
  const Bytes ping = frame(FrameType::ping, syn, 0, 1);
  CHECK(events(session, join({ping, ping, ping})).empty());
  BytesView view = ping;
  CHECK(session.read(view).error() == skep::errc::limit_exceeded);
}

TEST_CASE("a peer that went away gets no new streams, the open ones go on") {
  using namespace yamux;
  Mux session(Role::dialer);
  auto stream = session.open({});
  CHECK(events(session, frame(FrameType::go_away, 0, 0, 0)) == "went away 0");
  CHECK(session.open({}).error() == skep::p2p::errc::going_away);
  CHECK(events(session, data(ack, 1, "still")) == "data 1 still");
  CHECK((*stream)->id() == 1);
}

TEST_CASE("pings are answered with their number") {
  using namespace yamux;
  Mux session(Role::listener);
  CHECK(events(session, frame(FrameType::ping, syn, 0, 77)).empty());
  CHECK(session.urgent());
  CHECK(taken(session) == frame(FrameType::ping, ack, 0, 77));
}

TEST_CASE("whatever two sessions do, every byte arrives once and in order") {
  using namespace yamux;
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    skep::Random random(seed);
    Mux sides[2] = {Mux(Role::dialer, {.max_unacknowledged = 4}), Mux(Role::listener)};
    std::deque<std::uint8_t> wire[2];  // towards side i
    struct Sent {
      Bytes body;
      bool finished = false;
    };
    std::map<std::uint32_t, Sent> sent[2];       // by side i
    std::map<std::uint32_t, Bytes> received[2];  // at side i
    std::map<std::uint32_t, bool> ended[2];
    std::map<std::uint32_t, std::size_t> unread[2];  // received at side i and not consumed
    std::map<std::uint32_t, Mux::Stream*> open[2];
    std::deque<Bytes> storage;
    const auto pump = [&](int side, bool all) {
      Mux::Batch batch;
      while (sides[side].pending()) {
        sides[side].take(batch, all ? 1'000'000 : 1 + random.below(100'000));
        if (batch.pieces.empty()) break;
        for (const BytesView piece : batch.pieces)
          wire[1 - side].insert(wire[1 - side].end(), piece.begin(), piece.end());
        if (!all) break;
      }
    };
    const auto feed = [&](int side, bool all) {
      const std::size_t size = all ? wire[side].size() : std::min<std::size_t>(wire[side].size(), random.below(70'000));
      const Bytes chunk(wire[side].begin(), wire[side].begin() + static_cast<std::ptrdiff_t>(size));
      wire[side].erase(wire[side].begin(), wire[side].begin() + static_cast<std::ptrdiff_t>(size));
      BytesView view = chunk;
      for (;;) {
        auto event = sides[side].read(view);
        REQUIRE(event);
        if (event->kind == Kind::none) break;
        const std::uint32_t id = event->stream->id();
        if (event->kind == Kind::opened) open[side][id] = event->stream;
        if (event->kind == Kind::data) {
          skep::append(received[side][id], event->data);
          unread[side][id] += event->data.size();
        }
        if (event->kind == Kind::ended) {
          ended[side][id] = true;
          if (event->stream->local_closed() && event->stream->drained()) open[side].erase(id);
        }
      }
    };
    const auto read_some = [&](int side, bool all) {
      for (auto& [id, size] : unread[side]) {
        const auto stream = open[side].find(id);
        if (size == 0 || stream == open[side].end() || ended[side][id]) continue;
        const std::size_t n = all ? size : random.below(size + 1);
        sides[side].consumed(*stream->second, n);
        size -= n;
      }
    };
    for (int step = 0; step < 300; ++step) {
      const int side = static_cast<int>(random.below(2));
      switch (random.below(6)) {
        case 0:
          if (open[side].size() < 12) {
            auto stream = sides[side].open({});
            REQUIRE(stream);
            open[side][(*stream)->id()] = *stream;
          }
          break;
        case 1:
        case 2:
          if (!open[side].empty()) {
            auto chosen = std::next(open[side].begin(), static_cast<std::ptrdiff_t>(random.below(open[side].size())));
            auto& record = sent[side][chosen->first];
            if (record.finished) break;
            Bytes body(random.below(120'000));
            random.fill(body);
            skep::append(record.body, body);
            storage.push_back(std::move(body));
            sides[side].write(*chosen->second, storage.back());
            if (random.below(4) == 0) {
              record.finished = true;
              sides[side].finish(*chosen->second, random.below(2) == 0 ? Urgency::now : Urgency::lazy);
            }
          }
          break;
        case 3: pump(side, false); break;
        case 4: feed(side, false); break;
        case 5: read_some(side, false); break;
      }
      // streams that both sides closed are gone: forget their addresses
      for (int s = 0; s < 2; ++s) {
        for (auto& [id, record] : sent[s]) {
          if (record.finished && ended[s][id]) open[s].erase(id);
        }
      }
    }
    for (int round = 0; round < 200; ++round) {
      for (int side = 0; side < 2; ++side) {
        pump(side, true);
        feed(1 - side, true);
        read_some(side, true);
      }
    }
    for (int side = 0; side < 2; ++side) {
      CHECK(wire[side].empty());
      for (const auto& [id, record] : sent[side]) CHECK(received[1 - side][id] == record.body);
    }
  }
}
