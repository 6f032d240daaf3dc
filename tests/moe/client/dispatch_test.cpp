#include "skep/moe/client/dispatch.hpp"

#include <algorithm>
#include <map>

#include "dht/password.hpp"
#include "skep/sim/network.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;
using moe::CallOutcome;
using moe::Dispatcher;
using moe::DispatchOptions;
using moe::ExpertCall;

namespace {

constexpr auto forward = "ConnectionHandler.rpc_forward";

/// A server whose experts answer "name" with their own name after a delay each.
struct Server {
  explicit Server(sim::World& world) : host(world) {
    host.handle(forward, [this](p2p::Request request) { return answer(delays, failing, host, std::move(request)); });
    host.handle_stream(std::string(forward) + "_stream", [](sim::Stream stream) { return echo(std::move(stream)); });
  }
  static awaitable<p2p::Payload> answer(const std::map<std::string, Duration>& delays, const std::string& failing,
                                        sim::Host host, p2p::Request request) {
    const std::string uid(as_text(request.body));
    const auto delay = delays.find(uid);
    if (delay != delays.end()) co_await host.sleep_until(deadline_after(host.steady_now(), delay->second));
    if (uid == failing) throw std::runtime_error("no such expert");
    co_return p2p::Payload(to_bytes(uid));
  }
  static awaitable<void> echo(sim::Stream stream) {
    for (;;) {
      auto message = co_await stream.receive();
      if (!message) co_return;
      co_await stream.send(p2p::Payload(std::move(*message)));
    }
  }

  sim::Host host;
  std::map<std::string, Duration> delays;
  std::string failing;
};

struct Answers : p2p::AnyBodySink {  // keeps every message
  std::error_code start(std::size_t size) override {
    messages.emplace_back(size, std::uint8_t{0});
    at = 0;
    return {};
  }
  MutableBytes destination() override { return MutableBytes(messages.back()).subspan(at); }
  std::error_code filled(std::size_t n) override {
    at += n;
    return {};
  }
  std::vector<Bytes> messages;
  std::size_t at = 0;
};

ExpertCall call(const sim::Host& server, const std::string& uid, std::vector<std::uint32_t> rows) {
  return {.expert = {uid, server.self()},
          .method = forward,
          .messages = {p2p::Payload(to_bytes(uid))},
          .sink = std::make_shared<Answers>(),
          .rows = std::move(rows)};
}

struct Run {
  std::vector<CallOutcome> outcomes;
  Duration took{};
  [[nodiscard]] std::string answered() const {
    std::string which;
    for (const auto& outcome : outcomes) which += outcome.answered() ? 'x' : '-';
    return which;
  }
};

Run dispatch(sim::World& world, sim::Host client, std::vector<ExpertCall> calls, DispatchOptions options,
             moe::Backup backup = {}) {
  Run run;
  world.run([&]() -> awaitable<void> {
    const SteadyTime start = client.steady_now();
    run.outcomes = co_await Dispatcher(client).run(std::move(calls), options, std::move(backup));
    run.took = client.steady_now() - start;
  }());
  return run;
}

}  // namespace

TEST_CASE("all requests are under way at once, each answer lands in its sink") {
  sim::World world({.latency = sim::constant(20ms)});
  Server a(world);
  Server b(world);
  sim::Host client(world);
  std::vector<ExpertCall> calls{call(a.host, "e.0", {0, 1}), call(a.host, "e.1", {0}), call(b.host, "e.2", {1})};
  std::vector<std::shared_ptr<p2p::AnyBodySink>> sinks;
  for (const auto& c : calls) sinks.push_back(c.sink);
  const Run run = dispatch(world, client, std::move(calls), {});
  CHECK(run.answered() == "xxx");
  CHECK(run.took == 20ms);
  for (std::size_t i = 0; i < sinks.size(); ++i) {
    const auto& answers = dynamic_cast<Answers&>(*sinks[i]);
    REQUIRE(answers.messages.size() == 1);
    CHECK(as_text(answers.messages[0]) == "e." + std::to_string(i));
    CHECK(run.outcomes[i].latency == 20ms);
    CHECK(run.outcomes[i].bytes == 3);
  }
  CHECK(world.calls(forward) == 3);
}

TEST_CASE("A10.5, H-36: in a moderated swarm each call brings a ticket for its server and method") {
  sim::World world;
  Server server(world);
  sim::Host client(world);
  const auto send = [&](std::uint8_t secret) {
    std::vector<ExpertCall> calls{call(server.host, "e.0", {0})};
    const auto sink = calls.front().sink;
    const auto outcome =
        world.run(Dispatcher(client, std::make_shared<skep_test::Password>(secret)).run(std::move(calls), {})).front();
    return std::pair(outcome, dynamic_cast<Answers&>(*sink).messages);
  };
  const auto [outcome, echoed] = send(7);
  REQUIRE(outcome.answered());
  CHECK(outcome.bytes == echoed.at(0).size());
  moe::RequestMetadata received;
  REQUIRE(codec::read_fields(BytesView(echoed.at(0)).first(outcome.bytes - 3),
                             [&](codec::FieldReader& field) -> Result<void> {
                               received = moe::RequestMetadata::decode(codec::bytes_of(field));
                               return {};
                             }));
  dht::CallGuard<sim::Host> door(server.host, std::make_shared<skep_test::Password>(7));
  CHECK(door.authorize(client.self(), forward, received.ticket));
  CHECK(send(0).first.sentence == "expert e.0: no access");
}

TEST_CASE("no calls, no waiting") {
  sim::World world;
  const Run run = dispatch(world, sim::Host(world), {}, {});
  CHECK(run.outcomes.empty());
  CHECK(run.took == 0ms);
}

TEST_CASE("a call without rows is awaited, alone and beside others") {
  sim::World world({.latency = sim::constant(20ms)});
  Server server(world);
  server.delays["e.1"] = 100ms;
  for (const bool alone : {true, false}) {
    std::vector<ExpertCall> calls{call(server.host, "e.1", {})};
    if (!alone) calls.push_back(call(server.host, "e.0", {0}));
    const Run run = dispatch(world, sim::Host(world), std::move(calls), {.timeout_after_k_min = 10ms});
    CHECK(run.answered() == (alone ? "x" : "xx"));
    CHECK(run.took == 120ms);
  }
}

TEST_CASE("B5.3 after k_min answers for every row the rest has timeout_after_k_min") {
  sim::World world({.latency = sim::constant(20ms)});
  Server server(world);
  server.delays["e.3"] = 500ms;
  const auto calls = [&] {
    std::vector<ExpertCall> four;
    for (int i = 0; i < 4; ++i) four.push_back(call(server.host, "e." + std::to_string(i), {0}));
    return four;
  };
  sim::Host client(world);
  SUBCASE("a straggler is cut off") {
    const Run run = dispatch(world, client, calls(), {.timeout_after_k_min = 100ms, .k_min = 3});
    CHECK(run.took == 120ms);
    CHECK(run.answered() == "xxx-");
    CHECK(run.outcomes[3].code == make_error_code(errc::timed_out));
    CHECK(run.outcomes[3].sentence ==
          "expert e.3 on " + server.host.self().to_string() + " did not answer within 100 ms after enough others had");
  }
  SUBCASE("a straggler within that time is not") {
    server.delays["e.3"] = 50ms;
    const Run run = dispatch(world, client, calls(), {.timeout_after_k_min = 100ms, .k_min = 3});
    CHECK(run.took == 70ms);
    CHECK(run.answered() == "xxxx");
  }
  SUBCASE("unset, all are awaited") { CHECK(dispatch(world, client, calls(), {.k_min = 3}).took == 520ms); }
  SUBCASE("the timeout for all holds in any case") {
    const Run run = dispatch(world, client, calls(), {.timeout = 90ms, .timeout_after_k_min = 100ms, .k_min = 3});
    CHECK(run.took == 90ms);
    CHECK(run.answered() == "xxx-");
    CHECK(run.outcomes[3].sentence.find("within 90 ms") != std::string::npos);
  }
  SUBCASE("a row without its k_min keeps everyone waiting") {
    std::vector<ExpertCall> more = calls();
    more.push_back(call(server.host, "e.3", {1}));  // row 1 has only the slow expert
    const Run run = dispatch(world, client, std::move(more), {.timeout_after_k_min = 100ms, .k_min = 1});
    CHECK(run.took == 520ms);
    CHECK(run.answered() == "xxxxx");
  }
}

TEST_CASE("B5.4, H-18: with k_min 0 the further time begins at once") {
  sim::World world({.latency = sim::constant(20ms)});
  Server server(world);
  server.delays["e.1"] = 500ms;
  std::vector<ExpertCall> calls{call(server.host, "e.0", {0}), call(server.host, "e.1", {0})};
  const Run run = dispatch(world, sim::Host(world), std::move(calls), {.timeout_after_k_min = 100ms, .k_min = 0});
  CHECK(run.took == 100ms);
  CHECK(run.answered() == "x-");
}

TEST_CASE("B5.5, H-18: a row whose experts all fail does not keep the further time from beginning") {
  sim::World world({.latency = sim::constant(20ms)});
  Server server(world);
  server.failing = "e.0";
  server.delays["e.2"] = 500ms;
  std::vector<ExpertCall> calls{call(server.host, "e.0", {0}), call(server.host, "e.1", {1}),
                                call(server.host, "e.2", {1})};
  const Run run = dispatch(world, sim::Host(world), std::move(calls), {.timeout_after_k_min = 100ms, .k_min = 1});
  CHECK(run.took == 120ms);
  CHECK(run.answered() == "-x-");
}

TEST_CASE("failures are told apart and harm no other call") {
  sim::World world({.latency = sim::constant(20ms)});
  Server server(world);
  server.failing = "e.1";
  Server silent(world);
  Server closed(world);
  world.kill(silent.host.self());
  closed.host.close();
  std::vector<ExpertCall> calls{call(server.host, "e.0", {0}), call(server.host, "e.1", {0}),
                                call(silent.host, "e.2", {0}), call(closed.host, "e.3", {0})};
  calls.push_back(call(server.host, "e.4", {0}));
  calls.back().accept = [] { return std::optional<std::string>("the answer is nonsense"); };
  calls.push_back(call(server.host, "e.5", {0}));
  calls.back().method = "ConnectionHandler.rpc_nothing";
  const Run run = dispatch(world, sim::Host(world), std::move(calls), {.timeout = 1s});
  CHECK(run.took == 1s);
  CHECK(run.answered() == "x-----");
  CHECK(run.outcomes[1].code == make_error_code(errc::remote));
  CHECK(run.outcomes[1].sentence ==
        "expert e.1 on " + server.host.self().to_string() + " answered with an error: no such expert");
  CHECK(run.outcomes[3].sentence.starts_with("expert e.3: cannot reach"));
  CHECK(run.outcomes[2].code == make_error_code(errc::timed_out));
  CHECK(run.outcomes[3].code == make_error_code(errc::unreachable));
  CHECK(run.outcomes[3].server_failed());
  CHECK_FALSE(run.outcomes[1].server_failed());
  CHECK(run.outcomes[4].sentence == "the answer is nonsense");
  CHECK(run.outcomes[5].code == make_error_code(errc::refused));
}

TEST_CASE("a streaming call sends all its messages and takes all answers into one sink") {
  sim::World world;
  Server server(world);
  ExpertCall streamed = call(server.host, "e.0", {0});
  streamed.method += "_stream";
  streamed.streaming = true;
  streamed.messages = {p2p::Payload(to_bytes("one")), p2p::Payload(to_bytes("two"))};
  const auto sink = std::make_shared<Answers>();
  streamed.sink = sink;
  std::vector<ExpertCall> calls;
  calls.push_back(std::move(streamed));
  const Run run = dispatch(world, sim::Host(world), std::move(calls), {});
  CHECK(run.answered() == "x");
  REQUIRE(sink->messages.size() == 2);
  CHECK(as_text(sink->messages[0]) == "one");
  CHECK(as_text(sink->messages[1]) == "two");
}

TEST_CASE("cancelling the dispatcher cancels every call") {
  sim::World world({.latency = sim::constant(20ms)});
  Server server(world);
  for (const char* uid : {"e.0", "e.1"}) server.delays[uid] = 10s;
  sim::Host client(world);
  std::exception_ptr thrown;
  Duration took{};
  world.run([&]() -> awaitable<void> {
    const SteadyTime start = client.steady_now();
    std::vector<ExpertCall> calls{call(server.host, "e.0", {0}), call(server.host, "e.1", {0})};
    auto running = Dispatcher(client).run(std::move(calls), {});
    try {
      co_await with_timeout(client, 100ms, std::move(running));
    } catch (...) {
      thrown = std::current_exception();
    }
    took = client.steady_now() - start;
  }());
  CHECK(took == 100ms);
  CHECK_THROWS_AS(std::rethrow_exception(thrown), Error);
}

namespace {

/// Whoever is asked for calls instead of lost ones gives these, one each time.
moe::Backup giving(std::vector<ExpertCall> calls, std::string* lost, Duration hedge_after = unlimited) {
  moe::Backup backup;
  backup.delays = std::make_shared<moe::ExpectedDelays>();
  backup.hedge_after = hedge_after;
  const auto left = std::make_shared<std::vector<ExpertCall>>(std::move(calls));
  backup.calls_instead = [left, lost](std::vector<moe::LostCall> missing) -> awaitable<std::vector<ExpertCall>> {
    for (const auto& call : missing) *lost += std::to_string(call.call) + (call.late ? " late, " : " failed, ");
    std::vector<ExpertCall> given;
    if (!left->empty()) {
      given.push_back(std::move(left->front()));
      left->erase(left->begin());
    }
    co_return given;
  };
  return backup;
}

}  // namespace

TEST_CASE("H-28 where a call fails others are asked in the same step, and the first ones are not asked again") {
  sim::World world({.latency = sim::constant(20ms)});
  Server server(world);
  server.failing = "e.0";
  Server other(world);
  other.failing = "e.3";
  std::string lost;
  std::vector<ExpertCall> calls{call(server.host, "e.0", {0, 1}), call(server.host, "e.1", {0, 1})};
  std::vector<ExpertCall> others{call(other.host, "e.3", {0, 1}), call(other.host, "e.4", {0, 1})};
  const Run run = dispatch(world, sim::Host(world), std::move(calls), {.timeout_after_k_min = 0s, .k_min = 2},
                           giving(std::move(others), &lost));
  CHECK(lost == "0 failed, 2 failed, ");
  CHECK(run.answered() == "-x-x");
  CHECK(run.took == 60ms);  // one after the other failed
  CHECK(run.outcomes[3].latency == 20ms);
  CHECK(world.calls(forward) == 4);
}

TEST_CASE("a call that fails while others are sought in place of another is made good after it") {
  sim::World world({.latency = sim::constant(20ms)});
  Server gone(world);
  gone.host.close();
  Server server(world);
  server.failing = "e.1";
  server.delays["e.1"] = 50ms;
  sim::Host client(world);
  std::vector<ExpertCall> others;
  for (int i = 2; i < 20; ++i) others.push_back(call(server.host, "e." + std::to_string(i), {0}));  // outcomes move
  std::string lost;
  moe::Backup backup;
  backup.calls_instead = [&](std::vector<moe::LostCall> missing) -> awaitable<std::vector<ExpertCall>> {
    for (const auto& one : missing) lost += std::to_string(one.call) + (one.server_failed ? " server, " : " call, ");
    co_await client.sleep_until(deadline_after(client.steady_now(), 100ms));
    co_return std::exchange(others, {});
  };
  std::vector<ExpertCall> calls{call(gone.host, "e.0", {0}), call(server.host, "e.1", {0})};
  const Run run = dispatch(world, client, std::move(calls), {.k_min = 2}, backup);
  CHECK(lost == "0 server, 1 call, ");
  CHECK(run.outcomes.size() == 20);
  CHECK(std::ranges::count_if(run.outcomes, &CallOutcome::answered) >= 2);
}

TEST_CASE("nobody stands in: the batch ends as it can, at its deadline where the search for others takes too long") {
  sim::World world({.latency = sim::constant(20ms)});
  Server server(world);
  server.failing = "e.0";
  sim::Host client(world);
  std::string lost;
  moe::Backup backup = giving({}, &lost);
  Duration expected = 20ms;
  SUBCASE("there are no others") {}
  SUBCASE("the search fails") {
    backup.calls_instead = [](auto) -> awaitable<std::vector<ExpertCall>> { throw Error(errc::closed, "no store"); };
  }
  SUBCASE("the search hangs") {
    backup.calls_instead = [client](auto) mutable -> awaitable<std::vector<ExpertCall>> {
      co_await client.sleep_until(deadline_after(client.steady_now(), 1h));
      co_return std::vector<ExpertCall>();
    };
    expected = 500ms;
  }
  std::vector<ExpertCall> calls{call(server.host, "e.0", {0}), call(server.host, "e.1", {0})};
  const Run run = dispatch(world, client, std::move(calls), {.timeout = 500ms}, backup);
  CHECK(run.answered() == "-x");
  CHECK(run.took == expected);
}

TEST_CASE(
    "while others are sought the step ends as it would without them, and waits for them only where they are needed") {
  sim::World world({.latency = sim::constant(20ms)});
  Server server(world);
  sim::Host client(world);
  std::string lost;
  moe::Backup backup = giving({}, &lost, 100ms);
  Duration search = 1h;
  std::vector<ExpertCall> calls{call(server.host, "e.0", {0}), call(server.host, "e.1", {1})};
  DispatchOptions options{};
  Duration expected{};
  std::string answered;
  SUBCASE("the late one answers") {
    server.delays["e.0"] = 200ms;
    expected = 220ms;
    answered = "xx";
  }
  SUBCASE("the rest has timeout_after_k_min") {
    server.failing = "e.0";
    calls.push_back(call(server.host, "e.2", {0}));
    options.timeout_after_k_min = 50ms;
    expected = 70ms;
    answered = "-xx";
  }
  SUBCASE("a row without k_min answers has hope until the search has ended") {
    server.failing = "e.0";
    options.timeout_after_k_min = 50ms;
    search = 300ms;
    expected = 340ms;
    answered = "-xx";
  }
  SUBCASE("and no longer") {
    server.failing = "e.0";
    server.delays["e.2"] = 1h;
    calls.push_back(call(server.host, "e.2", {1}));
    options.timeout_after_k_min = 50ms;
    backup.hedge_after = unlimited;
    search = 300ms;
    expected = 370ms;
    answered = "-x-";
  }
  const bool found = answered == "-xx" && search != 1h;
  backup.calls_instead = [&](auto) -> awaitable<std::vector<ExpertCall>> {
    co_await client.sleep_until(deadline_after(client.steady_now(), search));
    std::vector<ExpertCall> others;
    if (found) others.push_back(call(server.host, "e.3", {0}));
    co_return others;
  };
  const Run run = dispatch(world, client, std::move(calls), options, backup);
  CHECK(run.answered() == answered);
  CHECK(run.took == expected);
}

TEST_CASE("H-28 a straggler is hedged: who answers first counts, and a late answer that comes first as well") {
  sim::World world({.latency = sim::constant(20ms)});
  Server server(world);
  Server slow(world);
  std::string lost;
  Duration expected{};
  std::string answered;
  SUBCASE("the stand-in is faster") {
    slow.delays["e.2"] = 10s;
    expected = 120ms;
    answered = "xx-x";
  }
  SUBCASE("the straggler is") {
    slow.delays["e.2"] = 90ms;
    expected = 110ms;
    answered = "xxx-";
  }
  SUBCASE("it is not late yet") {
    slow.delays["e.2"] = 70ms;
    expected = 90ms;
    answered = "xxx";
  }
  std::vector<ExpertCall> calls{call(server.host, "e.0", {0}), call(server.host, "e.1", {1}),
                                call(slow.host, "e.2", {0, 1})};
  std::vector<ExpertCall> others{call(server.host, "e.3", {0, 1})};
  const Run run = dispatch(world, sim::Host(world), std::move(calls), {}, giving(std::move(others), &lost, 100ms));
  CHECK(lost == (answered == "xxx" ? "" : "2 late, "));
  CHECK(run.answered() == answered);
  CHECK(run.took == expected);
  for (const auto& outcome : run.outcomes) CHECK(outcome.overtaken == !outcome.answered());
  if (answered == "xx-x") {
    CHECK(run.outcomes[2].sentence == "expert e.2 on " + slow.host.self().to_string() +
                                          " did not answer before others that were asked in its place");
  }
}

TEST_CASE("H-28 the answers of an expert and of its replica are one of k_min") {
  sim::World world({.latency = sim::constant(20ms)});
  Server server(world);
  Server slow(world);
  slow.delays["e.1"] = 150ms;
  Server replica(world);
  replica.delays["e.1"] = 60ms;
  server.delays["e.2"] = 300ms;
  std::string lost;
  std::vector<ExpertCall> calls{call(server.host, "e.0", {1}), call(slow.host, "e.1", {0}),
                                call(server.host, "e.2", {0})};
  std::vector<ExpertCall> others{call(replica.host, "e.1", {0})};
  others.front().repeats = 1;
  const Run run = dispatch(world, sim::Host(world), std::move(calls), {.timeout_after_k_min = 0s, .k_min = 2},
                           giving(std::move(others), &lost, 100ms));
  CHECK(lost.starts_with("1 late, "));
  CHECK(run.answered() == "xxxx");
  CHECK(run.took == 320ms);
}

TEST_CASE("where all servers are slow half of them are hedged, and none before any answer says what is slow") {
  sim::World world({.latency = sim::constant(20ms)});
  std::vector<std::unique_ptr<Server>> servers;
  for (int i = 0; i < 4; ++i) servers.push_back(std::make_unique<Server>(world));
  std::string lost;
  std::vector<ExpertCall> calls;
  for (std::uint32_t i = 0; i < 8; ++i) {
    Server& server = *servers[i / 2];
    server.delays["e." + std::to_string(i)] = 1s;
    calls.push_back(call(server.host, "e." + std::to_string(i), {i}));
  }
  SUBCASE("no answer") {}
  SUBCASE("one answer") { servers[3]->delays["e.7"] = 0ms; }
  const bool any = servers[3]->delays["e.7"] == 0ms;
  const Run run = dispatch(world, sim::Host(world), std::move(calls), {}, giving({}, &lost, 100ms));
  CHECK(lost == (any ? "0 late, 1 late, 2 late, 3 late, " : ""));
  CHECK(run.took == 1020ms);
}
