#include "skep/moe/server/connection_handler.hpp"

#include <functional>

#include "moe/server/experts.hpp"
#include "skep/async/scope.hpp"
#include "skep/moe/server/layers.hpp"
#include "skep/moe/server/module_backend.hpp"
#include "skep/p2p/host.hpp"
#include "support/coroutine.hpp"

using namespace skep::moe;  // NOLINT(*-using-namespace)
using namespace std::chrono_literals;
using skep::awaitable;
using skep::p2p::Host;

namespace {
// A server of four experts, a client, and both ways of calling.
struct Pair {
  explicit Pair(skep::Executor executor, BackendOptions options = {.expert = {.hidden_dim = 4}},
                ConnectionHandlerOptions handling = {})
      : server(executor, {.listen = {"/ip4/127.0.0.1/tcp/0"}}), client(executor) {
    options.scheduler = runtime.scheduler();
    add<Nop>("nop.0", options);
    add<Gated>("gated.1.2", options);
    add<Touchy>("touchy.0", options);
    add<Keywords>("keywords.0", options);
    for (const auto& [uid, expert] : experts) uids.push_back(uid);
    traffic = std::make_shared<ServerTraffic>(uids);
    handler.emplace(server, experts, handling, traffic);
    client.add_address(server.self(), server.addresses().front());
    runtime.start();
  }
  ~Pair() { runtime.shutdown(); }
  awaitable<void> leave() {
    handler->close();
    client.close();
    server.close();
    co_await client.join();
    co_await server.join();
  }
  template <class M>
  void add(const std::string& uid, const BackendOptions& options) {
    experts.emplace(uid, std::make_shared<ModuleBackend<M>>(uid, options));
  }

  awaitable<std::vector<Tensor>> call(std::string method, std::string uid, std::vector<Tensor> tensors,
                                      RequestMetadata metadata = {}) {
    auto sink = std::make_shared<TensorSink>();
    auto message = tensor_message(uid, tensors);
    metadata.prepend_to(message);
    co_await client.call_into(server.self(), "ConnectionHandler.rpc_" + method, std::move(message), sink);
    co_return *sink->take();
  }
  awaitable<std::vector<Tensor>> stream(std::string method, std::string uid, std::vector<Tensor> tensors) {
    auto sink = std::make_shared<TensorSink>();
    auto open = co_await client.open(server.self(), "ConnectionHandler.rpc_" + method + "_stream", {});
    for (auto& message : tensor_stream(uid, tensors)) co_await open.send(std::move(message));
    co_await open.end_of_input();
    for (bool more = true; more;) more = co_await open.receive_into(sink);
    co_return *sink->take();
  }

  Runtime runtime;
  ExpertTable experts;
  std::vector<std::string> uids;
  std::shared_ptr<ServerTraffic> traffic;
  Host server;
  Host client;
  std::optional<ConnectionHandler<Host>> handler;
};

// The words of the refusal, empty where there is an answer.
awaitable<std::string> words(awaitable<std::vector<Tensor>> call) {
  try {
    co_await std::move(call);
  } catch (const skep::RemoteError& e) {
    co_return e.text();
  }
  co_return "";
}
}  // namespace

CO_TEST_CASE("C3.2 rpc_info answers with the schema, an unknown uid with a sentence") {
  Pair pair(co_await skep::this_executor);
  const auto ask = [&](std::string uid) {
    return pair.client.call(pair.server.self(), "ConnectionHandler.rpc_info",
                            skep::codec::ExpertUID{std::move(uid)}.encode());
  };
  const auto answer = co_await ask("keywords.0");
  const auto info = skep::codec::ExpertInfo::decode(answer);
  REQUIRE(info);
  CHECK(info->serialized_info == pair.experts.at("keywords.0")->get_info());
  std::string refusal;
  try {
    co_await ask("ffn.9");
  } catch (const skep::RemoteError& e) {
    refusal = e.text();
  }
  CHECK(refusal == "skep: this server has no expert \"ffn.9\"");
  co_await pair.leave();
}

CO_TEST_CASE("C3.1 C3.3 forward and backward, unary and streamed, give what the expert computes") {
  Pair pair(co_await skep::this_executor);
  const auto x = torch::randn({3, 4}), context = torch::randn({3, 4});
  const std::vector<Tensor> inputs{x, context};
  const auto expected = pair.experts.at("gated.1.2")->forward(inputs);
  const auto unary = co_await pair.call("forward", "gated.1.2", inputs);
  CHECK(at::equal(unary[0], expected[0]));
  const auto streamed = co_await pair.stream("forward", "gated.1.2", inputs);
  CHECK(at::equal(streamed[0], expected[0]));
  const std::vector<Tensor> with_gradient{x, context, torch::ones({3, 4})};
  const auto gradients = co_await pair.call("backward", "gated.1.2", with_gradient);
  CHECK(gradients.size() == 2);
  CHECK(pair.experts.at("gated.1.2")->update_count() == 1);
  const auto again = co_await pair.stream("backward", "gated.1.2", with_gradient);
  CHECK(again.size() == 2);
  CHECK(pair.experts.at("gated.1.2")->update_count() == 2);
  co_await pair.leave();
}

CO_TEST_CASE("a large request and its large answer are streamed") {
  Pair pair(co_await skep::this_executor, {.expert = {.hidden_dim = 1024}});
  const auto x = torch::randn({3000, 1024});  // 12 MiB: three chunks
  const std::vector<Tensor> inputs{x};
  const auto y = co_await pair.stream("forward", "nop.0", inputs);
  CHECK(at::equal(y[0], x));
  co_await pair.leave();
}

CO_TEST_CASE("a request that does not fit is refused at the door with a sentence, and the next one is served") {
  Pair pair(co_await skep::this_executor);
  const std::vector<Tensor> wide{torch::ones({16, 5})}, none, two{torch::ones({2, 4}), torch::ones({2, 4})},
      empty{torch::ones({0, 4})}, scalar{torch::tensor(1.F)}, good{torch::ones({2, 4})};
  const std::string prefix = "skep: expert nop.0 refused the request: ";
  for (const bool streamed : {false, true}) {
    CAPTURE(streamed);
    const auto refusal = [&](std::vector<Tensor> tensors) {
      return words(streamed ? pair.stream("forward", "nop.0", tensors) : pair.call("forward", "nop.0", tensors));
    };
    const auto a = co_await refusal(wide);
    CHECK(a == prefix + "input 0 is float32[16, 5], expected float32[batch, 4]");
    const auto b = co_await refusal(two);
    CHECK(b == prefix + "it has more than 1 tensors, expected 1");
    const auto c = co_await refusal(empty);
    CHECK(c == prefix + "Batch should contain more than 0 samples");
    const auto d = co_await refusal(scalar);
    CHECK(d == prefix + "input 0 is float32[], expected float32[batch, 4]");
    const auto e = co_await refusal(none);
    CHECK(e ==
          (streamed ? "skep: the request ended before its first message" : prefix + "it has 0 tensors, expected 1"));
    const auto fine = co_await refusal(good);
    CHECK(fine.empty());
  }
  const auto unknown = co_await words(pair.call("forward", "nop.7", good));
  CHECK(unknown == "skep: this server has no expert \"nop.7\"");
  const auto no_gradient = co_await words(pair.call("backward", "nop.0", good));
  CHECK(no_gradient == prefix + "it has 1 tensors, expected 2");
  co_await pair.leave();
}

CO_TEST_CASE("C7.2 a request above the maximum is refused in Hivemind's words") {
  Pair pair(co_await skep::this_executor, {.expert = {.hidden_dim = 4}, .max_batch_size = 4, .max_task_size = 8});
  const std::vector<Tensor> large{torch::ones({9, 4})};
  const auto refusal = co_await words(pair.call("forward", "nop.0", large));
  CHECK(refusal ==
        "skep: expert nop.0 refused the request: Task size greater than max_task_size (8), it can't be "
        "processed; send it in parts");
  co_await pair.leave();
}

CO_TEST_CASE("H-3 an answer above the limit of unary calls is refused with the way to get it") {
  struct WideImpl : torch::nn::Module {
    Tensor forward(const Tensor& x) { return x.expand({x.size(0), 600'000}).contiguous(); }
  };
  Pair pair(co_await skep::this_executor);
  const BackendOptions options{.scheduler = pair.runtime.scheduler()};
  auto experts = pair.experts;
  experts.emplace("wide.0", std::make_shared<ModuleBackend<std::shared_ptr<WideImpl>>>(
                                "wide.0", std::make_shared<WideImpl>(), row(1), options));
  const ConnectionHandler<Host> handler(pair.server, experts);
  const std::vector<Tensor> two{torch::ones({2, 1})}, one{torch::ones({1, 1})};
  const auto refusal = co_await words(pair.call("forward", "wide.0", two));
  CHECK(refusal ==
        "skep: expert wide.0: the answer of 4801024 bytes is above the 4 MiB of a unary call; call "
        "ConnectionHandler.rpc_forward_stream instead");
  const auto small = co_await pair.call("forward", "wide.0", one);
  CHECK(small[0].numel() == 600'000);
  const auto streamed = co_await pair.stream("forward", "wide.0", two);
  CHECK(streamed[0].numel() == 1'200'000);
  co_await pair.leave();
}

CO_TEST_CASE("B2.7 what a module throws reaches its caller alone") {
  Pair pair(co_await skep::this_executor);
  skep::Scope scope(co_await skep::this_executor);
  std::vector<std::string> texts;
  for (const int value : {1, -1, 2, 3}) {
    const std::vector<Tensor> inputs{torch::full({1, 4}, value, at::kFloat)};
    scope.spawn([](awaitable<std::string> text, std::vector<std::string>& to) -> awaitable<void> {
      to.push_back(co_await std::move(text));
    }(words(pair.call("forward", "touchy.0", inputs)), texts));
  }
  co_await scope.join();
  std::ranges::sort(texts);
  CHECK(texts == std::vector<std::string>{"", "", "", "a negative sample"});
  co_await pair.leave();
}

CO_TEST_CASE("C3.3 a stream of several uids is refused") {
  Pair pair(co_await skep::this_executor);
  auto open = co_await pair.client.open(pair.server.self(), "ConnectionHandler.rpc_forward_stream", {});
  const std::vector<Tensor> x{torch::ones({1, 4})};
  for (const char* uid : {"nop.0", "touchy.0"}) co_await open.send(tensor_message(uid, x));
  co_await open.end_of_input();
  std::string text;
  try {
    co_await open.receive();
  } catch (const skep::RemoteError& e) {
    text = e.text();
  }
  CHECK(text == "skep: expert nop.0 refused the request: Expert uids differ in one request");
  co_await pair.leave();
}

CO_TEST_CASE("C3.5 a closed handler offers nothing any more") {
  Pair pair(co_await skep::this_executor);
  pair.handler->close();
  pair.handler->close();
  const std::vector<Tensor> x{torch::ones({1, 4})};
  bool refused = false;
  try {
    co_await pair.call("forward", "nop.0", x);
  } catch (const skep::Error&) {
    refused = true;
  }
  CHECK(refused);
  co_await pair.leave();
}

CO_TEST_CASE("H-36: who may call what is asked before anything is computed") {
  std::vector<std::string> asked;
  const auto authorize = [&asked](const skep::p2p::PeerId&, std::string_view method, std::string_view uid,
                                  skep::BytesView ticket) -> std::optional<std::string> {
    CHECK(ticket.empty());
    asked.push_back(std::string(method) + " " + std::string(uid));
    if (method.starts_with("ConnectionHandler.rpc_backward")) return "you may not train " + std::string(uid);
    return std::nullopt;
  };
  Pair pair(co_await skep::this_executor, {.expert = {.hidden_dim = 4}}, {.authorize = authorize});
  const std::vector<Tensor> x{torch::ones({1, 4})}, both{torch::ones({1, 4}), torch::ones({1, 4})};
  const auto fine = co_await words(pair.call("forward", "nop.0", x));
  CHECK(fine.empty());
  const auto unary = co_await words(pair.call("backward", "touchy.0", both));
  CHECK(unary == "skep: you may not train touchy.0");
  const auto streamed = co_await words(pair.stream("backward", "touchy.0", both));
  CHECK(streamed == unary);
  CHECK(pair.experts.at("touchy.0")->update_count() == 0);
  CHECK(asked == std::vector<std::string>{"ConnectionHandler.rpc_forward nop.0",
                                          "ConnectionHandler.rpc_backward touchy.0",
                                          "ConnectionHandler.rpc_backward_stream touchy.0"});
  CHECK(pair.traffic->snapshots().at("touchy.0").unauthorized == 2);
  co_await pair.leave();
}

CO_TEST_CASE("H-36: a peer that asks for too much at once is told when to come again, and loses nothing else") {
  Pair pair(co_await skep::this_executor, {.expert = {.hidden_dim = 4}, .min_batch_size = 2, .batch_timeout = 60s},
            {.quotas = {.requests = 2, .bytes = 64}});
  skep::Scope scope(co_await skep::this_executor);
  const std::vector<Tensor> x{torch::ones({1, 4})}, large{torch::ones({5, 4})};
  std::vector<std::string> texts;
  const auto ask = [&](const char* uid) {
    scope.spawn([](awaitable<std::string> text, std::vector<std::string>& to) -> awaitable<void> {
      to.push_back(co_await std::move(text));
    }(words(pair.call("forward", uid, x)), texts));
  };
  const auto too_large = co_await words(pair.stream("forward", "nop.0", large));
  CHECK(too_large == "skep: busy: the requests of this peer hold 64 bytes already, retry in 100 ms");
  ask("nop.0");
  ask("touchy.0");  // both wait for a second sample
  while (pair.experts.at("nop.0")->forward_pool().empty() || pair.experts.at("touchy.0")->forward_pool().empty()) {
    co_await pair.client.sleep_until(pair.client.steady_now() + 1ms);
  }
  const auto refusal = co_await words(pair.call("forward", "nop.0", x));
  CHECK(refusal == "skep: busy: 2 requests of this peer are in hand, retry in 100 ms");
  const auto streamed = co_await words(pair.stream("forward", "nop.0", x));
  CHECK(streamed == refusal);
  Host other(co_await skep::this_executor);
  other.add_address(pair.server.self(), pair.server.addresses().front());
  for (const char* uid : {"nop.0", "touchy.0"}) {
    auto sink = std::make_shared<TensorSink>();
    co_await other.call_into(pair.server.self(), "ConnectionHandler.rpc_forward", tensor_message(uid, x), sink);
    CHECK(sink->take());
  }
  co_await scope.join();
  CHECK(texts == std::vector<std::string>{"", ""});
  other.close();
  co_await other.join();
  co_await pair.leave();
}

CO_TEST_CASE("a request whose caller no longer waits is not computed") {
  Pair pair(co_await skep::this_executor, {.expert = {.hidden_dim = 4}, .min_batch_size = 2, .batch_timeout = 60s});
  const std::vector<Tensor> x{torch::ones({1, 4})};
  const auto late = co_await words(pair.call("forward", "nop.0", x, {.timeout = 0s}));
  CHECK(late == "skep: the request took longer to arrive than its caller waits for the answer");
  const auto waited = co_await words(pair.call("forward", "nop.0", x, {.timeout = 20ms}));
  CHECK_FALSE(waited.empty());
  CHECK(pair.traffic->snapshots().at("nop.0").expired == 2);
  const std::vector<Tensor> two{torch::ones({2, 4})};
  const auto fine = co_await words(pair.call("forward", "nop.0", two, {.timeout = 60s}));
  CHECK(fine.empty());
  CHECK(pair.experts.at("nop.0")->forward_pool().statistics().samples == 2);
  co_await pair.leave();
}

CO_TEST_CASE("H-30: a handler that drains answers what is in hand and sends new requests elsewhere") {
  Pair pair(co_await skep::this_executor, {.expert = {.hidden_dim = 4}, .min_batch_size = 2, .batch_timeout = 60s});
  skep::Scope scope(co_await skep::this_executor);
  const std::vector<Tensor> x{torch::ones({1, 4})};
  std::string first = "none";
  bool drained = false;
  scope.spawn([&]() -> awaitable<void> { first = co_await words(pair.call("forward", "nop.0", x)); });
  auto& pool = pair.experts.at("nop.0")->forward_pool();
  while (pool.empty()) co_await pair.client.sleep_until(pair.client.steady_now() + 1ms);
  scope.spawn([&]() -> awaitable<void> {
    co_await pair.handler->drain();
    drained = true;
  });
  for (const char* method : {"forward", "backward"}) {
    const auto refusal = co_await words(pair.call(method, "nop.0", x));
    CHECK(refusal == "skep: this server is leaving, ask another");
    const auto streamed = co_await words(pair.stream(method, "nop.0", x));
    CHECK(streamed == refusal);
  }
  CHECK_FALSE(drained);
  const TensorBatch company{x};
  co_await pool.submit_task(company);
  co_await scope.join();
  CHECK(drained);
  CHECK(first.empty());
  co_await pair.leave();
}
