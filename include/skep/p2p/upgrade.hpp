// The upgrade of a TCP connection: agree on Noise, shake hands, agree on yamux. Both roles, every order that other
// implementations use.
#pragma once

#include <algorithm>
#include <asio/buffer.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/write.hpp>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/p2p/error.hpp"
#include "skep/p2p/multistream.hpp"
#include "skep/p2p/noise.hpp"
#include "skep/p2p/peer_id.hpp"
#include "skep/p2p/yamux.hpp"

namespace skep::inline v0::p2p {

inline constexpr std::string_view yamux_protocol = "/yamux/1.0.0";

/// A connection whose ends know each other; the next bytes are yamux frames.
struct Upgraded {
  asio::ip::tcp::socket socket;
  NoiseTransport transport;
  PeerId peer;
  yamux::Role role;
  Bytes plain;   ///< opened already and not yet read
  Bytes unread;  ///< received and not yet opened
};

/// The upgrade as a pure machine: fed what has arrived, it appends what must be written. A dialer sends its proposal
/// and the first message of the handshake together, so that a connection costs two round trips.
class Upgrade {
 public:
  /// @param expected  who must be at the other end; empty: anybody who proves a name
  Upgrade(yamux::Role role, std::shared_ptr<const NoiseCredentials> credentials, PeerId expected = {})
      : dialer_(role == yamux::Role::dialer),
        handshake_(dialer_ ? NoiseHandshake::Role::initiator : NoiseHandshake::Role::responder, std::move(credentials),
                   std::move(expected)) {}

  void start(Bytes& out) {
    if (dialer_) {
      security_client_.start(out);
      handshake_.start(out);
    } else {
      security_server_.start(out);
    }
  }

  /// Takes what it can use from the front of `in`, which is opened in place.
  /// @return how many bytes were taken; the codes of multistream and Noise end the connection without a word
  [[nodiscard]] Result<std::size_t> receive(MutableBytes in, Bytes& out) {
    std::size_t taken = 0;
    if (!security_agreed()) {
      const auto step = dialer_ ? security_client_.receive(in, out) : security_server_.receive(in, out, is_noise);
      if (!step) return step.error();
      taken += *step;
      if (!security_agreed()) return taken;
    }
    if (!handshake_.done()) {
      const auto step = handshake_.receive(in.subspan(taken), out);
      if (!step) return step.error();
      taken += *step;
      if (!handshake_.done()) return taken;
      transport_.emplace(handshake_.transport());
      if (dialer_ && handshake_.muxer().empty()) {
        Bytes proposal;
        muxer_client_.start(proposal);
        if (auto sealed = seal(proposal, out); !sealed) return sealed.error();
      }
    }
    while (!done()) {
      const auto record = transport_->open(in.subspan(taken));
      if (!record) return record.error();
      if (record->consumed == 0) break;
      taken += record->consumed;
      append(plain_, record->plain);
      Bytes answer;
      const auto step =
          dialer_ ? muxer_client_.receive(plain_, answer) : muxer_server_.receive(plain_, answer, is_yamux);
      if (!step) return step.error();
      plain_.erase(plain_.begin(), plain_.begin() + static_cast<std::ptrdiff_t>(*step));
      if (auto sealed = seal(answer, out); !sealed) return sealed.error();
    }
    return taken;
  }

  [[nodiscard]] bool done() const noexcept {
    return handshake_.done() &&
           (!handshake_.muxer().empty() || (dialer_ ? muxer_client_.done() : muxer_server_.done()));
  }

  // when done()
  [[nodiscard]] const PeerId& peer() const noexcept { return handshake_.peer(); }
  [[nodiscard]] NoiseTransport take_transport() { return *std::move(transport_); }
  [[nodiscard]] Bytes take_plain() { return std::move(plain_); }

 private:
  static constexpr auto is_noise = [](std::string_view name) { return name == noise_protocol; };
  static constexpr auto is_yamux = [](std::string_view name) { return name == yamux_protocol; };

  [[nodiscard]] bool security_agreed() const noexcept {
    return dialer_ ? security_client_.done() : security_server_.done();
  }
  [[nodiscard]] Result<void> seal(BytesView plain, Bytes& out) {
    if (plain.empty()) return {};
    const std::size_t start = out.size();
    out.resize(start + NoiseTransport::sealed_size(plain.size()));
    const auto sealed = transport_->seal(std::span(&plain, 1), MutableBytes(out).subspan(start));
    return sealed ? Result<void>() : Result<void>(sealed.error());
  }

  bool dialer_;
  const std::string noise_name_{noise_protocol};
  const std::string yamux_name_{yamux_protocol};
  MultistreamClient security_client_{noise_name_};
  MultistreamServer security_server_;
  MultistreamClient muxer_client_{yamux_name_};
  MultistreamServer muxer_server_;
  NoiseHandshake handshake_;
  std::optional<NoiseTransport> transport_;
  Bytes plain_;
};

/// Upgrades a connected socket. @throws std::system_error with the code of the step that failed (errc::wrong_peer,
/// errc::bad_identity, errc::protocol_not_supported, ...) or of the socket. The caller sets the deadline.
[[nodiscard]] inline awaitable<Upgraded> upgrade(asio::ip::tcp::socket socket, yamux::Role role,
                                                 std::shared_ptr<const NoiseCredentials> credentials, PeerId expected) {
  constexpr std::size_t most = 128 * 1024;  // two records: no step needs more at once
  Upgrade machine(role, std::move(credentials), std::move(expected));
  Bytes out;
  Bytes in;
  machine.start(out);
  for (;;) {
    if (!out.empty()) {
      co_await asio::async_write(socket, asio::buffer(out), use_awaitable);
      out.clear();
    }
    if (machine.done()) break;
    const std::size_t filled = in.size();
    if (filled >= most) throw std::system_error(make_error_code(errc::handshake_failed));
    in.resize(std::max(filled + 1024, std::size_t{2048}));
    const std::size_t n =
        co_await socket.async_read_some(asio::buffer(in.data() + filled, in.size() - filled), use_awaitable);
    in.resize(filled + n);
    const auto taken = machine.receive(in, out);
    if (!taken) throw std::system_error(taken.error());
    in.erase(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(*taken));
  }
  co_return Upgraded{std::move(socket), machine.take_transport(), machine.peer(), role, machine.take_plain(),
                     std::move(in)};
}

}  // namespace skep::inline v0::p2p
