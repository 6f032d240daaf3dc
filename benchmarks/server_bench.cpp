// Suite server: what a server in another process gives beside what copying, the cipher, a bare RPC and the bare module
// allow in the same run.
#include <algorithm>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "skep/async/scope.hpp"
#include "skep/dht/dht.hpp"
#include "skep/moe/server/module_backend.hpp"
#include "skep/moe/server/server.hpp"
#include "skep/moe/tensor/serialize.hpp"
#include "skep/moe/tensor/tensor_sink.hpp"
#include "skep/p2p/host.hpp"
#include "skep/p2p/noise.hpp"
#include "support/peer_process.hpp"
#include "support/pin.hpp"
#include "support/row.hpp"
#include "support/stats.hpp"

namespace {

using namespace skep;
using namespace skep::bench;
using moe::Tensor;

constexpr std::int64_t width = 1024;
constexpr double hivemind_rate = 140;  // requests of one sample a second, two cores, as recorded when this was begun
const auto process_begin = std::chrono::steady_clock::now();

/// Megabytes of this process that are in memory.
double resident() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::stod(line.substr(6)) / 1024;
  }
  return 0;
}

/// A server of 16 experts beside an echo, until the standard input ends. Says its address, how long its start took and
/// how much memory it takes.
int serve() {
  moe::set_compute_threads(1);
  const double bare = resident();
  dht::DHT dht({.host_maddrs = {"/ip4/127.0.0.1/tcp/0"}});
  std::vector<std::string> nops;
  for (int i = 1; i < 16; ++i) nops.push_back("nop." + std::to_string(i));
  moe::Server<moe::Nop, moe::Ffn> server(
      dht, {.experts = {{.expert_cls = "nop", .expert_uids = nops, .expert = {.hidden_dim = width}},
                        {.expert_cls = "ffn", .expert_uids = {"ffn.0"}, .expert = {.hidden_dim = width}}},
            .threads = 1});
  server.start();
  const double started =
      std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - process_begin).count();
  dht.run_coroutine([](dht::Node<p2p::Host> node) -> awaitable<void> {
    node.network().handle("Echo.rpc_say",
                          [](p2p::Request request) -> awaitable<p2p::Payload> { co_return std::move(request.body); });
    co_return;
  });
  std::cout << dht.visible_maddrs().front() << ' ' << started << ' ' << resident() << ' ' << bare << std::endl;
  while (std::cin.get() != std::char_traits<char>::eof()) {
  }
  return 0;
}

/// Clients that call as fast as they are answered.
class Clients {
 public:
  Clients(int count, const std::string& address) {
    for (int i = 0; i < count; ++i) hosts_.emplace_back(io_);
    run([&](p2p::Host host) -> awaitable<void> { server_ = co_await host.connect(address); });
  }
  ~Clients() {
    for (auto& host : hosts_) host.close();
    io_.restart();
    io_.run_for(1s);
  }
  Clients(const Clients&) = delete;
  Clients& operator=(const Clients&) = delete;

  /// Lets every client make so many calls. @return calls a second, all together
  template <class Call>
  double rate(int calls, Call call) {
    const double spent = microseconds([&] {
      run([&](p2p::Host host) -> awaitable<void> {
        for (int i = 0; i < calls; ++i) co_await call(host, server_);
      });
    });
    return static_cast<double>(calls) * static_cast<double>(hosts_.size()) * 1e6 / spent;
  }

 private:
  template <class Body>
  void run(Body body) {
    std::exception_ptr failure;
    std::size_t left = hosts_.size();
    for (auto& host : hosts_) {
      asio::co_spawn(io_, body(host), [&](std::exception_ptr thrown) {
        if (thrown) failure = std::move(thrown);
        if (--left == 0) io_.stop();
      });
    }
    io_.restart();
    io_.run();
    if (failure) std::rethrow_exception(failure);
  }

  asio::io_context io_{1};
  std::vector<p2p::Host> hosts_;
  p2p::PeerId server_;
};

awaitable<void> call_unary(p2p::Host host, p2p::PeerId server, std::string uid, std::vector<Tensor> tensors) {
  const auto sink = std::make_shared<moe::TensorSink>();
  const std::string method = "ConnectionHandler.rpc_forward";
  co_await host.call_into(server, method, moe::tensor_message(uid, tensors), sink);
  if (!sink->take()) throw std::runtime_error("the answer cannot be read");
}
awaitable<void> call_stream(p2p::Host host, p2p::PeerId server, std::string method, std::string uid,
                            std::vector<Tensor> tensors) {
  const auto sink = std::make_shared<moe::TensorSink>();
  auto stream = co_await host.open(server, "ConnectionHandler.rpc_" + method + "_stream", {});
  for (auto& message : moe::tensor_stream(uid, tensors)) co_await stream.send(std::move(message));
  co_await stream.end_of_input();
  for (bool more = true; more;) more = co_await stream.receive_into(sink);
  if (!sink->take()) throw std::runtime_error("the answer cannot be read");
}
awaitable<void> call_echo(p2p::Host host, p2p::PeerId server, std::size_t size) {
  const std::string method = "Echo.rpc_say";
  Bytes message(size, 1);
  co_await host.call(server, method, std::move(message));
}

std::string rate_text(double rate, const char* unit) {
  char text[48];
  std::snprintf(text, sizeof text, rate < 1e4 ? "%.0f %s/s" : "%.1f k%s/s", rate < 1e4 ? rate : rate / 1e3, unit);
  return text;
}

/// What each side must at least do for one request and its answer of so many bytes each: seal one, open the other, and
/// copy four times (into the kernel, out of it, to where the tensor stays, and the module's own copy).
double side_microseconds(std::size_t size) {
  crypto::Secret<32> forth, back;
  back.writable()[0] = 1;
  p2p::NoiseTransport sender(forth, back), receiver(back, forth);
  const Bytes message(size, 1);
  Bytes records(p2p::NoiseTransport::sealed_size(size)), copy(size);
  return microseconds([&] {
    const BytesView whole(message);
    if (!sender.seal(std::span(&whole, 1), records)) throw std::runtime_error("the cipher failed");
    for (MutableBytes rest(records); !rest.empty();) {
      const auto record = receiver.open(rest);
      if (!record) throw std::runtime_error("the cipher failed");
      rest = rest.subspan(record->consumed);
    }
    for (int i = 0; i < 4; ++i) {
      std::memcpy(copy.data(), message.data(), size);
      asm volatile("" : : "r"(copy.data()) : "memory");
    }
  });
}

void measure_bulk(Table& table, Clients& four, bool quick) {
  const Tensor x = at::randn({2048, width});
  const std::vector<Tensor> inputs{x};
  const auto series = interleave(
      quick ? 3 : 8, {
                         [&](Series& to) {
                           to.add(2048 * four.rate(quick ? 2 : 5, [&](p2p::Host host, p2p::PeerId server) {
                             return call_stream(std::move(host), std::move(server), "forward", "nop.1", inputs);
                           }));
                         },
                         [&](Series& to) { to.add(2048 * 1e6 / side_microseconds(x.nbytes())); },
                     });
  const auto ratio = median_over_rounds(series[0].rounds(),
                                        [&](std::size_t i) { return series[0].median_of(i) / series[1].median_of(i); });
  table.print({.name = "nop 2048 x 1024, 4 clients",
               .skep = rate_text(series[0].p50(), "samples"),
               .peer = "13.5 k",
               .limit = rate_text(series[1].p50(), "samples"),
               .ratio = ratio,
               .direction = Goal::at_least,
               .goal = 0.8});
}

void measure_small(Table& table, Clients& sixteen, bool quick) {
  const Tensor x = at::randn({1, width});
  const std::vector<Tensor> inputs{x};
  const int calls = quick ? 50 : 300;
  const auto series =
      interleave(quick ? 3 : 10, {
                                     [&](Series& to) {
                                       to.add(sixteen.rate(calls, [&](p2p::Host host, p2p::PeerId server) {
                                         return call_unary(std::move(host), std::move(server), "nop.1", inputs);
                                       }));
                                     },
                                     [&](Series& to) {
                                       to.add(sixteen.rate(calls, [&](p2p::Host host, p2p::PeerId server) {
                                         return call_echo(std::move(host), std::move(server), x.nbytes() + 64);
                                       }));
                                     },
                                 });
  table.print({.name = "batch 1, 16 clients, by Hivemind's",
               .skep = rate_text(series[0].p50(), "req"),
               .peer = rate_text(hivemind_rate, "req"),
               .ratio = series[0].p50() / hivemind_rate,
               .direction = Goal::at_least,
               .goal = 200});
  table.print({.name = "batch 1, 16 clients, by RPC echo",
               .skep = rate_text(series[0].p50(), "req"),
               .limit = rate_text(series[1].p50(), "req"),
               .ratio = median_over_rounds(
                   series[0].rounds(), [&](std::size_t i) { return series[0].median_of(i) / series[1].median_of(i); }),
               .direction = Goal::at_least,
               .goal = 0.5});
}

void measure_ffn(Table& table, Clients& four, bool quick) {
  moe::ModuleBackend<moe::Ffn> local("ffn.0", {.expert = {.hidden_dim = width}});
  const std::int64_t batch = 512;
  const Tensor x = at::randn({batch, width}), gradient = at::randn({batch, width});
  const std::vector<Tensor> inputs{x}, both{x, gradient};
  const int calls = quick ? 1 : 3;  // of each client
  for (const bool with_backward : {false, true}) {
    const auto series = interleave(
        quick ? 3 : 6, {
                           [&](Series& to) {
                             to.add(four.rate(calls, [&](p2p::Host host, p2p::PeerId server) -> awaitable<void> {
                               co_await call_stream(host, server, "forward", "ffn.0", inputs);
                               if (with_backward) co_await call_stream(host, server, "backward", "ffn.0", both);
                             }));
                           },
                           [&](Series& to) {
                             const double spent = microseconds([&] {
                               for (int i = 0; i < 4 * calls; ++i) {
                                 (void)local.forward(inputs);
                                 if (with_backward) (void)local.backward(both);
                               }
                             });
                             to.add(4 * calls * 1e6 / spent);
                           },
                       });
    table.print(
        {.name = with_backward ? "ffn 1024, forward and backward" : "ffn 1024, forward",
         .skep = rate_text(series[0].p50() * static_cast<double>(batch), "samples"),
         .limit = rate_text(series[1].p50() * static_cast<double>(batch), "samples"),
         .ratio = median_over_rounds(series[0].rounds(),
                                     [&](std::size_t i) { return series[0].median_of(i) / series[1].median_of(i); }),
         .direction = Goal::at_least,
         .goal = with_backward ? 0.9 : 0.92});
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string_view> arguments(argv + 1, argv + argc);
  try {
    if (!arguments.empty() && arguments[0] == "--serve") return serve();
    const bool quick = std::ranges::count(arguments, "--quick") > 0;
    const auto wanted = [&](std::string_view part) {  // all parts, or those that are named
      return arguments.size() == (quick ? 1U : 0U) || std::ranges::count(arguments, part) > 0;
    };
    moe::set_compute_threads(1);
    const PeerProcess server({"--serve"});
    std::istringstream said(server.line());
    std::string address;
    double started = 0, memory = 0, bare = 0;
    said >> address >> started >> memory >> bare;
    Table table;
    table.print({.name = "start of 16 experts, from main()",
                 .skep = time_text(started),
                 .limit = time_text(300'000),
                 .ratio = started / 300'000,
                 .goal = 1});
    const double experts = 8.4e6 * 4 / 1024 / 1024;  // parameters of the ffn; Adam's state comes later
    table.print({.name = "memory, idle, beside LibTorch alone",
                 .skep = std::to_string(static_cast<int>(memory)) + " MB",
                 .limit = std::to_string(static_cast<int>(bare + experts)) + " MB",
                 .ratio = memory / (bare + experts),
                 .goal = 1.3});
    Clients four(4, address);
    Clients sixteen(16, address);
    if (wanted("bulk")) measure_bulk(table, four, quick);
    if (wanted("small")) measure_small(table, sixteen, quick);
    if (wanted("ffn")) measure_ffn(table, four, quick);
    return 0;
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "server_bench: %s\n", failure.what());
    return 1;
  }
}
