// Identify on the wire: answers what this host is, asks what the peer is, pushes when the protocols change.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>

#include "skep/async/deadline_wheel.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/log.hpp"
#include "skep/core/new_shared.hpp"
#include "skep/core/time.hpp"
#include "skep/p2p/connection.hpp"
#include "skep/p2p/host_state.hpp"
#include "skep/p2p/identify.hpp"
#include "skep/p2p/protocol_greeting.hpp"
#include "skep/p2p/stream_machine.hpp"

namespace skep::inline v0::p2p {

/// Where the other end of a connection is.
[[nodiscard]] inline Multiaddr remote_address(const Connection& connection) {
  const auto& endpoint = connection.remote_endpoint();
  return Multiaddr::from_tcp(endpoint.address().to_string(), endpoint.port()).value_or(Multiaddr{});
}

namespace detail {

/// Writes an identify message and closes: the answer to a question, or a push.
class IdentifyWriter final : public StreamMachine, public std::enable_shared_from_this<IdentifyWriter> {
 public:
  explicit IdentifyWriter(Bytes message) : bytes_(std::move(message)) {}

  /// Opens a stream for a push. Whether the peer takes it is its own affair.
  static void push(Connection& connection, const Bytes& message) {
    Bytes bytes = protocol_greeting(identify_push_protocol);
    append(bytes, message);
    const auto writer = new_shared<IdentifyWriter>(std::move(bytes));
    if (connection.open(writer)) writer->on_attached();
  }

  void on_attached() override {
    const auto keep = shared_from_this();
    write(bytes_);
    leave(Urgency::now);
  }

 private:
  void on_data(BytesView) override {}
  void on_end() override {}
  void on_lost(std::error_code) override {}

  Bytes bytes_;
};

/// Reads what a peer says about itself, as the answer to our question or as a push, until it closes or resets (rust
/// does) the stream.
class IdentifyReading final : public StreamMachine,
                              public std::enable_shared_from_this<IdentifyReading>,
                              private Deadline {
 public:
  using Done = std::function<void(Connection&, PeerDescription)>;

  IdentifyReading(std::shared_ptr<ConnectionHost> host, std::shared_ptr<Connection> connection, Duration limit,
                  Done done)
      : host_(std::move(host)), connection_(std::move(connection)), done_(std::move(done)) {
    host_->deadlines().insert(*this, deadline_after(host_->now(), limit));
  }

  /// Asks: opens the stream from our side.
  void ask() {
    greeting_ = protocol_greeting(identify_protocol);
    if (connection_->open(shared_from_this())) write(greeting_);
  }

 private:
  void on_data(BytesView piece) override {
    const auto keep = shared_from_this();
    consumed(piece.size());
    if (!greeting_reader_.done(greeting_)) {
      const auto n = greeting_reader_.receive(greeting_, piece);
      if (!n) return give_up(n.error());
      piece = piece.subspan(*n);
    }
    if (const auto fed = reader_.feed(piece); !fed) return give_up(fed.error());
  }
  void on_end() override {
    const auto keep = shared_from_this();
    leave();
    conclude();
  }
  void on_lost(std::error_code why) override {
    const auto keep = shared_from_this();
    if (why == errc::stream_reset) conclude();
  }
  void expired() noexcept override { give_up(skep::errc::timed_out); }

  void conclude() {
    host_->deadlines().cancel(*this);
    if (!greeting_reader_.done(greeting_)) return;
    auto description = std::move(reader_).finish(connection_->peer(), remote_address(*connection_));
    if (description && connection_->is_open()) done_(*connection_, *std::move(description));
  }
  void give_up(std::error_code why) {
    const auto keep = shared_from_this();
    host_->deadlines().cancel(*this);
    reset();
    log(LogLevel::debug, "p2p", "identify of " + connection_->peer().to_string() + " failed: " + why.message());
  }

  std::shared_ptr<ConnectionHost> host_;
  std::shared_ptr<Connection> connection_;
  Done done_;
  Bytes greeting_;
  GreetingReader greeting_reader_;
  IdentifyReader reader_;
};

}  // namespace detail

/// Identify and identify push of one host. `known` hears what a peer said, after the peer store.
class IdentifyService final : public std::enable_shared_from_this<IdentifyService>, private Deadline {
 public:
  using Known = std::function<void(const std::shared_ptr<Connection>&, const PeerDescription&)>;

  explicit IdentifyService(HostState& state, Known known) : state_(state), known_(std::move(known)) {}

  /// Registers both protocols.
  void install() {
    state_.protocols().insert(std::string(identify_protocol), [this](Connection& connection) {
      return new_shared<detail::IdentifyWriter>(describe(connection));
    });
    state_.protocols().insert(std::string(identify_push_protocol),
                              [this](Connection& connection) { return reading(connection.shared_from_this()); });
  }

  /// Asks a new peer.
  void connected(const std::shared_ptr<Connection>& connection) { reading(connection)->ask(); }

  /// Tells everybody a moment later: handlers are registered in groups.
  void protocols_changed() {
    if (!pending()) state_.deadlines().insert(*this, deadline_after(state_.now(), push_delay));
  }

 private:
  static constexpr Duration push_delay = 20ms;

  [[nodiscard]] Bytes describe(const Connection& connection) const {
    return encode_identify({.public_key = to_bytes(state_.identity().public_key_message()),
                            .addresses = state_.addresses(),
                            .protocols = state_.protocols().names(),
                            .agent = state_.options().agent},
                           remote_address(connection));
  }

  [[nodiscard]] std::shared_ptr<detail::IdentifyReading> reading(const std::shared_ptr<Connection>& connection) {
    return new_shared<detail::IdentifyReading>(
        state_.shared_from_this(), connection, state_.options().limits.identify_timeout,
        [weak = weak_from_this()](Connection& from, PeerDescription description) {
          if (const auto self = weak.lock()) self->heard(from, std::move(description));
        });
  }

  void heard(Connection& connection, PeerDescription description) {
    connection.set_identified();
    state_.store().identified(connection.peer(), description.addresses, description.protocols, state_.now());
    state_.store().set_agent(connection.peer(), description.agent);
    if (known_) known_(connection.shared_from_this(), description);
  }

  void expired() noexcept override {
    state_.for_each_connection([this](const std::shared_ptr<Connection>& connection) {
      if (connection->identified() && !state_.store().supports(connection->peer(), identify_push_protocol)) return;
      detail::IdentifyWriter::push(*connection, describe(*connection));
    });
  }

  HostState& state_;  // owns this
  Known known_;
};

}  // namespace skep::inline v0::p2p
