// Suite rpc: what a call through Noise, yamux and the RPC costs beside a bare socket under the same pinning.
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/read.hpp>
#include <asio/write.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <exception>
#include <functional>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "skep/core/endian.hpp"
#include "skep/crypto/ed25519.hpp"
#include "skep/crypto/x25519.hpp"
#include "skep/p2p/host.hpp"
#include "support/peer_process.hpp"
#include "support/pin.hpp"
#include "support/row.hpp"
#include "support/stats.hpp"

namespace {

std::size_t allocations = 0;  // by operator new, in this process

}  // namespace

void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size > 0 ? size : 1)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

using namespace skep;
using namespace skep::bench;
using asio::ip::tcp;

constexpr std::string_view echo_method = "Echo.rpc_say";
constexpr int max_allocations = 10;  // by the caller, request and answer of 64 bytes included

/// Runs a coroutine to its end on a context that goes on to have other work.
void run(asio::io_context& io, awaitable<void> body) {
  std::exception_ptr failure;
  asio::co_spawn(io, std::move(body), [&](std::exception_ptr thrown) {
    failure = thrown;
    io.stop();
  });
  io.restart();
  io.run();
  if (failure) std::rethrow_exception(failure);
}

/// A bare socket with messages of one size, sealed by nothing but the cipher or not at all: what no RPC can be faster
/// than.
class BareEcho {
 public:
  BareEcho(tcp::socket socket, std::size_t size, bool sealed, bool client)
      : socket_(std::move(socket)), message_(size, 1), records_(p2p::NoiseTransport::sealed_size(size)) {
    socket_.set_option(tcp::no_delay(true));
    crypto::Secret<32> forth;
    crypto::Secret<32> back;
    back.writable()[0] = 1;
    if (sealed) cipher_ = client ? p2p::NoiseTransport(forth, back) : p2p::NoiseTransport(back, forth);
  }

  awaitable<void> send() {
    if (cipher_) {
      const BytesView whole(message_);
      if (!cipher_->seal(std::span(&whole, 1), records_)) throw std::runtime_error("the cipher failed");
    }
    co_await asio::async_write(socket_, asio::buffer(cipher_ ? records_ : message_), use_awaitable);
  }
  awaitable<void> receive() {
    co_await asio::async_read(socket_, asio::buffer(cipher_ ? records_ : message_), use_awaitable);
    for (MutableBytes rest(records_); cipher_ && !rest.empty();) {
      const auto record = cipher_->open(rest);
      if (!record) throw std::runtime_error("the cipher failed");
      rest = rest.subspan(record->consumed);
    }
  }

 private:
  tcp::socket socket_;
  Bytes message_;
  Bytes records_;
  std::optional<p2p::NoiseTransport> cipher_;
};

/// The client says once how long its messages are, and whether they are sealed.
awaitable<void> echo_session(tcp::socket socket) {
  std::array<std::uint8_t, 5> what{};
  co_await asio::async_read(socket, asio::buffer(what), use_awaitable);
  BareEcho echo(std::move(socket), load_be<std::uint32_t>(what.data()), what[4] != 0, false);
  for (;;) {
    co_await echo.receive();
    co_await echo.send();
  }
}

BareEcho connect_echo(asio::io_context& io, const tcp::endpoint& server, std::size_t size, bool sealed) {
  tcp::socket socket(io);
  socket.connect(server);
  std::array<std::uint8_t, 5> what{};
  store_be(what.data(), static_cast<std::uint32_t>(size));
  what[4] = sealed ? 1 : 0;
  asio::write(socket, asio::buffer(what));
  return BareEcho(std::move(socket), size, sealed, true);
}

awaitable<void> echo_server(tcp::acceptor& acceptor) {
  for (;;) {
    tcp::socket socket = co_await acceptor.async_accept(use_awaitable);
    asio::co_spawn(acceptor.get_executor(), echo_session(std::move(socket)), [](std::exception_ptr) {});
  }
}

/// The process at the other end, until its standard input ends.
int serve(std::string_view what) {
  asio::io_context io(1);
  asio::posix::stream_descriptor input(io, STDIN_FILENO);
  std::array<char, 1> nothing{};
  asio::async_read(input, asio::buffer(nothing), [&](std::error_code, std::size_t) { io.stop(); });

  tcp::acceptor acceptor(io);
  std::optional<p2p::Host> host;
  if (what == "echo") {
    acceptor = tcp::acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    asio::co_spawn(io, echo_server(acceptor), [](std::exception_ptr) {});
    std::printf("%d\n", acceptor.local_endpoint().port());
  } else {
    host.emplace(io, p2p::HostOptions{.listen = {"/ip4/127.0.0.1/tcp/0"}});
    host->handle(std::string(echo_method),
                 [](p2p::Request request) -> awaitable<p2p::Payload> { co_return std::move(request.body); });
    std::printf("%s\n", host->addresses().front().to_string().c_str());
  }
  std::fflush(stdout);
  io.run();
  return 0;
}

awaitable<void> time_echoes(BareEcho& echo, int count, Series& to) {
  for (int i = 0; i < count; ++i) {
    const auto start = std::chrono::steady_clock::now();
    co_await echo.send();
    co_await echo.receive();
    to.add(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count());
  }
}

awaitable<void> connect(p2p::Host host, std::string address, p2p::PeerId& server) {
  server = co_await host.connect(address);
}

awaitable<void> time_calls(p2p::Host host, p2p::PeerId server, std::size_t size, int count, Series& to) {
  const std::string method(echo_method);
  for (int i = 0; i < count; ++i) {
    Bytes message(size, 1);
    const auto start = std::chrono::steady_clock::now();
    const Bytes answer = co_await host.call(server, method, std::move(message));
    to.add(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count());
    if (answer.size() != size) throw std::runtime_error("the echo has another length");
  }
}

/// Processor time, which a handshake costs and a busy neighbour does not add to.
template <class Act>
double processor_microseconds(Act&& act) {
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
  };
  const double start = now();
  act();
  return now() - start;
}

/// One whole handshake in memory: what each side spends.
void time_handshake(const std::shared_ptr<const p2p::NoiseCredentials>& credentials, Series& dialing,
                    Series& listening) {
  using Role = p2p::NoiseHandshake::Role;
  std::optional<p2p::NoiseHandshake> a;
  std::optional<p2p::NoiseHandshake> b;
  Bytes forth;
  Bytes back;
  bool good = true;
  double a_spent = processor_microseconds([&] {
    a.emplace(Role::initiator, credentials);
    a->start(forth);
  });
  double b_spent = processor_microseconds([&] {
    b.emplace(Role::responder, credentials);
    good &= b->receive(forth, back).has_value();
  });
  forth.clear();
  a_spent += processor_microseconds([&] {
    good &= a->receive(back, forth).has_value();
    static_cast<void>(a->transport());
  });
  b_spent += processor_microseconds([&] {
    good &= b->receive(forth, back).has_value();
    static_cast<void>(b->transport());
  });
  if (!good || !b->done()) throw std::runtime_error("the handshake failed");
  dialing.add(a_spent);
  listening.add(b_spent);
}

/// What each side cannot do without: a fresh key, three agreements, one signature verified.
void time_primitives(Series& to) {
  static const auto peer = crypto::X25519KeyPair::generate();
  static const auto signer = crypto::Ed25519KeyPair::generate();
  static const Bytes text(56, 1);
  static const auto signature = signer.sign(text);
  bool good = true;
  to.add(processor_microseconds([&] {
    const auto fresh = crypto::X25519KeyPair::generate();
    for (int i = 0; i < 3; ++i) good &= fresh.agree(peer.public_key()).has_value();
    good &= crypto::ed25519_verify(signer.public_key(), text, signature);
  }));
  if (!good) throw std::runtime_error("a primitive failed");
}

void measure_handshake(Table& table, bool quick) {
  const auto credentials = std::make_shared<const p2p::NoiseCredentials>(p2p::Identity::generate());
  constexpr int count = 20;
  Series listening;
  const auto series = interleave(quick ? 10 : 40, {
                                                      [&](Series& dialing) {
                                                        listening.begin_round();
                                                        for (int i = 0; i < count; ++i) {
                                                          time_handshake(credentials, dialing, listening);
                                                        }
                                                      },
                                                      [&](Series& to) {
                                                        for (int i = 0; i < count; ++i) time_primitives(to);
                                                      },
                                                  });
  const Series& primitives = series[1];
  for (const auto& [side, ours] :
       {std::pair{"dialing", &series[0]}, std::pair{"listening", &std::as_const(listening)}}) {
    table.print({.name = std::string("handshake, processor, ") + side,
                 .skep = time_text(ours->p50()),
                 .limit = time_text(primitives.p50()),
                 .ratio = ours->p50() / primitives.p50(),
                 .goal = 1.15});
  }
}

struct Message {
  const char* name;
  std::size_t size;
  int count;       // calls a round
  bool sealed;     // whether the limit is an echo that is sealed, or one that is not
  double at_most;  // the goal: so many times the limit
};

void measure(Table& table, const std::string& where, int client_core, int server_core, bool quick) {
  pin_to(client_core);
  const PeerProcess echo({"--serve", "echo", std::to_string(server_core)});
  const PeerProcess rpc({"--serve", "rpc", std::to_string(server_core)});
  asio::io_context io(1);
  p2p::Host host(io);
  p2p::PeerId server;
  run(io, connect(host, rpc.line(), server));

  const tcp::endpoint endpoint(asio::ip::address_v4::loopback(), static_cast<std::uint16_t>(std::stoi(echo.line())));
  for (const Message& message :
       {Message{"64 B", 64, quick ? 300 : 1000, false, 2.0}, Message{"4 KiB", 4096, quick ? 200 : 600, true, 1.15},
        Message{"1 MiB", 1024 * 1024, quick ? 5 : 15, true, 1 / 0.85}}) {
    BareEcho bare = connect_echo(io, endpoint, message.size, false);
    BareEcho sealed = connect_echo(io, endpoint, message.size, true);
    const auto series = interleave(
        quick ? 10 : 20, {
                             [&](Series& to) { run(io, time_echoes(bare, message.count, to)); },
                             [&](Series& to) { run(io, time_calls(host, server, message.size, message.count, to)); },
                             [&](Series& to) { run(io, time_echoes(sealed, message.count, to)); },
                         });
    const Series& ours = series[1];
    const Series& limit = series[message.sealed ? 2 : 0];
    table.print({.name = std::string("rpc echo ") + message.name + ", " + where,
                 .skep = time_text(ours.p50()),
                 .peer = time_text(series[0].p50()),
                 .limit = time_text(limit.p50()),
                 .ratio = median_over_rounds(ours.rounds(),
                                             [&](std::size_t i) { return ours.median_of(i) / limit.median_of(i); }),
                 .goal = message.at_most});
  }

  constexpr int calls = 200;
  Series ignored;
  ignored.begin_round();
  const std::size_t before = allocations;
  run(io, time_calls(host, server, 64, calls, ignored));
  const double each = static_cast<double>(allocations - before) / calls;
  table.print({.name = "rpc allocations a call, " + where,
               .skep = std::to_string(each).substr(0, 5),
               .limit = std::to_string(max_allocations),
               .ratio = each / max_allocations,
               .goal = 1});
  host.close();
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string_view> arguments(argv + 1, argv + argc);
  try {
    if (arguments.size() == 3 && arguments[0] == "--serve") {
      pin_to(std::atoi(argv[3]));
      return serve(arguments[1]);
    }
    const bool quick = !arguments.empty() && arguments[0] == "--quick";
    const std::vector<int> cores = allowed_cores();
    Table table;
    measure_handshake(table, quick);
    measure(table, "one core", cores.front(), cores.front(), quick);
    if (cores.size() > 1) measure(table, "two cores", cores[0], cores[1], quick);
    return 0;
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "rpc_bench: %s\n", failure.what());
    return 1;
  }
}
