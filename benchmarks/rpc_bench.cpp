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
#include "skep/crypto/aead.hpp"
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

/// The bare echo: a message of a size that the client says once, read whole, written whole.
awaitable<void> echo_session(tcp::socket socket) {
  socket.set_option(tcp::no_delay(true));
  std::array<std::uint8_t, 4> size{};
  co_await asio::async_read(socket, asio::buffer(size), use_awaitable);
  Bytes message(load_be<std::uint32_t>(size.data()));
  for (;;) {
    co_await asio::async_read(socket, asio::buffer(message), use_awaitable);
    co_await asio::async_write(socket, asio::buffer(message), use_awaitable);
  }
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

awaitable<void> time_echoes(tcp::socket& socket, Bytes& message, int count, Series& to) {
  for (int i = 0; i < count; ++i) {
    const auto start = std::chrono::steady_clock::now();
    co_await asio::async_write(socket, asio::buffer(message), use_awaitable);
    co_await asio::async_read(socket, asio::buffer(message), use_awaitable);
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

/// The four passes of the cipher that an encrypted echo cannot do without: there and back, sealed and opened.
void time_cipher(std::size_t size, int count, Series& to) {
  const crypto::Secret<32> key;
  crypto::AeadSealer sealer(key);
  crypto::AeadOpener opener(key);
  const Bytes plain(size, 1);
  Bytes sealed(size + crypto::aead_tag_size);
  constexpr std::size_t record = p2p::NoiseTransport::max_plain;
  std::uint64_t nonce = 0;
  bool good = true;
  for (int i = 0; i < count; ++i) {
    to.add(microseconds([&] {
      for (int way = 0; way < 2; ++way) {
        for (std::size_t at = 0; at < size; at += record, ++nonce) {
          const BytesView piece = BytesView(plain).subspan(at, std::min(record, size - at));
          good &= sealer.seal(nonce, {}, piece, sealed.data() + at);
          good &= opener.open(nonce, {}, MutableBytes(sealed).subspan(at, piece.size() + crypto::aead_tag_size));
        }
      }
    }));
  }
  if (!good) throw std::runtime_error("the cipher failed");
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
  int count;  // calls a round
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
  for (const Message& message : {Message{"64 B", 64, quick ? 300 : 1000}, Message{"4 KiB", 4096, quick ? 200 : 600},
                                 Message{"1 MiB", 1024 * 1024, quick ? 5 : 15}}) {
    tcp::socket socket(io);
    socket.connect(endpoint);
    socket.set_option(tcp::no_delay(true));
    Bytes buffer(4);
    store_be(buffer.data(), static_cast<std::uint32_t>(message.size));
    asio::write(socket, asio::buffer(buffer));
    buffer.assign(message.size, 1);

    const auto series = interleave(
        quick ? 10 : 20, {
                             [&](Series& to) { run(io, time_echoes(socket, buffer, message.count, to)); },
                             [&](Series& to) { run(io, time_calls(host, server, message.size, message.count, to)); },
                             [&](Series& to) { time_cipher(message.size, message.count, to); },
                         });
    const Series& bare = series[0];
    const Series& ours = series[1];
    const Series& cipher = series[2];
    Row row;
    row.name = std::string("rpc echo ") + message.name + ", " + where;
    row.skep = time_text(ours.p50());
    row.peer = time_text(bare.p50());
    if (message.size <= 64) {
      row.limit = time_text(bare.p50());
      row.ratio =
          median_over_rounds(bare.rounds(), [&](std::size_t i) { return ours.median_of(i) / bare.median_of(i); });
      row.goal = 2.0;
    } else {
      row.limit = time_text(bare.p50() + cipher.p50());
      row.ratio = median_over_rounds(
          bare.rounds(), [&](std::size_t i) { return ours.median_of(i) / (bare.median_of(i) + cipher.median_of(i)); });
      row.goal = message.size <= 4096 ? 1.15 : 1 / 0.85;
    }
    table.print(row);
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
