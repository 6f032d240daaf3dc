// Hosts on loopback for tests of p2p/, and a peer that says exactly what a test wants it to say.
#pragma once

#include <asio/buffer.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/write.hpp>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "skep/async/asio_clock.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/p2p/host.hpp"
#include "skep/p2p/yamux_frame.hpp"

namespace skep_test {

using namespace std::chrono_literals;
using skep::awaitable;
using skep::Bytes;
using skep::BytesView;
using skep::p2p::Host;
using skep::p2p::HostOptions;
using skep::p2p::PeerId;

/// A host on a port that the kernel chooses.
[[nodiscard]] inline Host listening_host(const skep::Executor& executor, HostOptions options = {}) {
  options.listen = {"/ip4/127.0.0.1/tcp/0"};
  return Host(executor, std::move(options));
}

/// Two hosts with a connection, dialled by the client.
struct Pair {
  Host server;
  Host client;
};
[[nodiscard]] inline awaitable<Pair> connected_hosts(HostOptions server = {}, HostOptions client = {}) {
  const auto executor = co_await asio::this_coro::executor;
  Pair pair{listening_host(executor, std::move(server)), Host(executor, std::move(client))};
  co_await pair.client.connect(pair.server.addresses().front());
  co_return pair;
}

/// Closes hosts and waits until nothing of them runs.
[[nodiscard]] inline awaitable<void> shut(Host one) {
  one.close();
  co_await one.join();
}
[[nodiscard]] inline awaitable<void> shut(Pair pair) {
  co_await shut(pair.client);
  co_await shut(pair.server);
}

/// How an operation fails: its code and its words; empty when it does not.
struct Failure {
  std::error_code code;
  std::string words;
};
template <class T>
[[nodiscard]] awaitable<Failure> failure_of(awaitable<T> operation) {
  try {
    co_await std::move(operation);
  } catch (const skep::RemoteError& error) {
    co_return Failure{error.code(), error.text()};
  } catch (const std::system_error& error) {
    co_return Failure{error.code(), error.what()};
  }
  co_return Failure{};
}

[[nodiscard]] inline awaitable<skep::p2p::Payload> echo(skep::p2p::Request request) {
  co_return std::move(request.body);
}

/// Looks again and again until something is so.
template <class Condition>
[[nodiscard]] awaitable<bool> eventually(const Host& host, Condition condition) {
  for (const auto end = host.steady_now() + 10s; host.steady_now() < end;) {
    if (condition()) co_return true;
    co_await host.sleep_until(host.steady_now() + 2ms);
  }
  co_return false;
}

/// A peer with a proper handshake, which then writes any bytes it is given and reads frames.
class RawPeer {
 public:
  using FrameHeader = skep::p2p::yamux::FrameHeader;
  using FrameType = skep::p2p::yamux::FrameType;
  struct Frame {
    FrameHeader header;
    Bytes payload;
  };

  explicit RawPeer(skep::p2p::Upgraded upgraded)
      : upgraded_(std::make_unique<skep::p2p::Upgraded>(std::move(upgraded))) {}

  /// Connects to a host.
  [[nodiscard]] static awaitable<RawPeer> dial(const Host& host) {
    const auto executor = co_await asio::this_coro::executor;
    const auto endpoint = host.addresses().front().tcp();
    asio::ip::tcp::socket socket(executor);
    co_await socket.async_connect({asio::ip::make_address(endpoint->host), endpoint->port}, skep::use_awaitable);
    co_return RawPeer(
        co_await skep::p2p::upgrade(std::move(socket), skep::p2p::yamux::Role::dialer, credentials(), host.self()));
  }
  [[nodiscard]] static std::shared_ptr<const skep::p2p::NoiseCredentials> credentials() {
    return std::make_shared<skep::p2p::NoiseCredentials>(skep::p2p::Identity::generate());
  }

  [[nodiscard]] asio::ip::tcp::socket& socket() noexcept { return upgraded_->socket; }

  /// Writes bytes as one record.
  [[nodiscard]] awaitable<void> write(Bytes plain) {
    const BytesView piece(plain);
    Bytes sealed(skep::p2p::NoiseTransport::sealed_size(plain.size()));
    static_cast<void>(upgraded_->transport.seal(std::span(&piece, 1), sealed));
    co_await asio::async_write(upgraded_->socket, asio::buffer(sealed), skep::use_awaitable);
  }
  [[nodiscard]] awaitable<void> write(FrameType type, int flags, std::uint32_t stream, BytesView payload = {}) {
    Bytes out = skep::to_bytes(BytesView(
        FrameHeader{type, static_cast<std::uint16_t>(flags), stream, static_cast<std::uint32_t>(payload.size())}
            .encode()));
    skep::append(out, payload);
    co_await write(std::move(out));
  }

  /// The next frame; none when the connection has ended.
  [[nodiscard]] awaitable<std::optional<Frame>> read() {
    for (;;) {
      auto& plain = upgraded_->plain;
      if (plain.size() >= skep::p2p::yamux::header_size) {
        const auto header = FrameHeader::decode(BytesView(plain).first(skep::p2p::yamux::header_size));
        const std::size_t payload = header->type == FrameType::data ? header->length : 0;
        const std::size_t whole = skep::p2p::yamux::header_size + payload;
        if (plain.size() >= whole) {
          Frame frame{*header, skep::to_bytes(BytesView(plain).subspan(skep::p2p::yamux::header_size, payload))};
          plain.erase(plain.begin(), plain.begin() + static_cast<std::ptrdiff_t>(whole));
          co_return frame;
        }
      }
      auto& unread = upgraded_->unread;
      const auto record = upgraded_->transport.open(unread);
      if (record && record->consumed > 0) {
        skep::append(plain, record->plain);
        unread.erase(unread.begin(), unread.begin() + static_cast<std::ptrdiff_t>(record->consumed));
        continue;
      }
      Bytes more(65536);
      std::size_t n = 0;
      try {
        n = co_await upgraded_->socket.async_read_some(asio::buffer(more), skep::use_awaitable);
      } catch (const std::system_error&) {
        co_return std::nullopt;
      }
      skep::append(unread, BytesView(more).first(n));
    }
  }
  /// The next frame of a stream, others left out; none when the connection has ended.
  [[nodiscard]] awaitable<std::optional<Frame>> read_of(std::uint32_t stream) {
    for (;;) {
      auto frame = co_await read();
      if (!frame || frame->header.stream == stream) co_return frame;
    }
  }
  /// What a stream receives until it is closed or reset, or the connection ends.
  struct Rest {
    Bytes data;
    bool closed = false;
    bool reset = false;
  };
  [[nodiscard]] awaitable<Rest> rest_of(std::uint32_t stream) {
    Rest rest;
    for (;;) {
      const auto frame = co_await read_of(stream);
      if (!frame) co_return rest;
      skep::append(rest.data, frame->payload);
      rest.closed = frame->header.has(skep::p2p::yamux::fin);
      rest.reset = frame->header.has(skep::p2p::yamux::rst);
      if (rest.closed || rest.reset) co_return rest;
    }
  }

 private:
  std::unique_ptr<skep::p2p::Upgraded> upgraded_;
};

}  // namespace skep_test
