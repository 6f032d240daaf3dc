// Ping: 32 bytes there, the same 32 bytes back; both roles.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/deadline_wheel.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/crypto/random.hpp"
#include "skep/p2p/byte_stream.hpp"
#include "skep/p2p/connection.hpp"
#include "skep/p2p/stream_machine.hpp"

namespace skep::inline v0::p2p {

inline constexpr std::string_view ping_protocol = "/ipfs/ping/1.0.0";
inline constexpr std::size_t ping_size = 32;

/// Echoes 32 bytes at a time until the peer closes (go keeps one stream for many pings, js opens one for each).
class PingService final : public StreamMachine, public std::enable_shared_from_this<PingService>, private Deadline {
 public:
  PingService(std::shared_ptr<ConnectionHost> host, Duration idle_limit) : host_(std::move(host)), limit_(idle_limit) {
    wait();
  }

 private:
  static constexpr std::size_t max_waiting = 64 * ping_size;

  void on_data(BytesView piece) override {
    const auto keep = shared_from_this();
    consumed(piece.size());
    append(in_, piece);
    if (in_.size() > max_waiting) return reset();  // sends without reading
    wait();
    echo();
  }
  void on_end() override {
    const auto keep = shared_from_this();
    leave(Urgency::now);
    host_->deadlines().cancel(*this);
  }
  void on_lost(std::error_code) override { host_->deadlines().cancel(*this); }
  void on_drained() override {
    out_.clear();
    echo();
  }
  void expired() noexcept override {
    const auto keep = shared_from_this();
    reset();
  }

  void wait() { host_->deadlines().insert(*this, deadline_after(host_->now(), limit_)); }
  void echo() {
    const auto whole = static_cast<std::ptrdiff_t>(in_.size() / ping_size * ping_size);
    if (!out_.empty() || whole == 0) return;
    out_.assign(in_.begin(), in_.begin() + whole);
    in_.erase(in_.begin(), in_.begin() + whole);
    write(out_);
  }

  std::shared_ptr<ConnectionHost> host_;
  Duration limit_;
  Bytes in_;
  Bytes out_;
};

/// One ping over a connection. @return the round trip. @throws std::system_error
[[nodiscard]] inline awaitable<Duration> ping(std::shared_ptr<ConnectionHost> host,
                                              std::shared_ptr<Connection> connection, Duration limit) {
  const auto stream = ByteStream::open(host, *connection, ping_protocol, limit);
  const auto sent = crypto::random_array<ping_size>();
  const SteadyTime begin = host->now();
  try {
    co_await ByteStream::write(stream, to_bytes(BytesView(sent)));
    Bytes back;
    while (back.size() < ping_size) {
      const Bytes more = co_await ByteStream::read(stream);
      if (more.empty()) throw std::system_error(make_error_code(skep::errc::truncated));
      append(back, more);
    }
    if (!std::equal(back.begin(), back.end(), sent.begin(), sent.end())) {
      throw std::system_error(make_error_code(skep::errc::malformed));
    }
  } catch (...) {
    stream->abandon();  // or it would stay as long as the connection
    throw;
  }
  const Duration took = host->now() - begin;
  stream->release();
  co_return took;
}

}  // namespace skep::inline v0::p2p
