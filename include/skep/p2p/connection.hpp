// Connection: one authenticated, multiplexed TCP connection. It reads, opens and distributes; it collects, seals and
// writes; nothing else happens here.
#pragma once

#include <asio/buffer.hpp>
#include <asio/error.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/write.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "skep/async/deadline_wheel.hpp"
#include "skep/core/error.hpp"
#include "skep/core/log.hpp"
#include "skep/core/time.hpp"
#include "skep/p2p/connection_host.hpp"
#include "skep/p2p/noise_transport.hpp"
#include "skep/p2p/peer_id.hpp"
#include "skep/p2p/quota.hpp"
#include "skep/p2p/record_buffer.hpp"
#include "skep/p2p/standing.hpp"
#include "skep/p2p/stream_machine.hpp"
#include "skep/p2p/turn.hpp"
#include "skep/p2p/upgrade.hpp"

namespace skep::inline v0::p2p {

/// One connection, from its upgrade to its end.
///
/// *Lifetime:* shared; alive while an operation on its socket is. *Threads:* the host's executor.
class Connection final : public std::enable_shared_from_this<Connection>, public Runnable, private StreamCarrier {
 public:
  Connection(std::shared_ptr<ConnectionHost> host, Upgraded upgraded)
      : host_(std::move(host)),
        socket_(std::move(upgraded.socket)),
        transport_(std::move(upgraded.transport)),
        peer_(std::move(upgraded.peer)),
        role_(upgraded.role),
        begun_(host_->now()),
        standing_(host_->standings_.of(std::string(as_text(peer_.bytes())), begun_)),
        quota_(host_->options_.request_quota),
        session_(upgraded.role, host_->options_.streams),
        plain_(std::move(upgraded.plain)),
        records_(std::move(upgraded.unread)),
        keepalive_(*this),
        lazy_(*this),
        pause_(*this) {
    std::error_code ignored;
    socket_.non_blocking(true, ignored);
    remote_ = socket_.remote_endpoint(ignored);
    local_ = socket_.local_endpoint(ignored);
  }

  [[nodiscard]] const PeerId& peer() const noexcept { return peer_; }
  [[nodiscard]] yamux::Role role() const noexcept { return role_; }
  [[nodiscard]] const asio::ip::tcp::endpoint& remote_endpoint() const noexcept { return remote_; }
  [[nodiscard]] const asio::ip::tcp::endpoint& local_endpoint() const noexcept { return local_; }
  [[nodiscard]] bool is_open() const noexcept { return !closed_; }
  /// Whether it takes new streams of ours.
  [[nodiscard]] bool usable() const noexcept { return !closed_ && !session_.remote_went_away(); }
  [[nodiscard]] std::size_t streams() const noexcept { return session_.inbound() + session_.outbound(); }
  /// Whether the peer has told about itself; kept here for identify.
  [[nodiscard]] bool identified() const noexcept { return identified_; }
  void set_identified() noexcept { identified_ = true; }
  [[nodiscard]] const Quota& quota() const noexcept { return quota_; }
  [[nodiscard]] SteadyTime begun() const noexcept { return begun_; }
  /// Of the peer, over all its connections: while it has to wait, nothing more is read.
  [[nodiscard]] const std::shared_ptr<Standing>& standing() const noexcept { return standing_; }

  /// Begins to read, with what the handshake left over.
  void start() {
    host_->deadlines_.insert(keepalive_, deadline_after(host_->now(), host_->options_.keepalive));
    host_->turn_->run([this] {
      BytesView left = plain_;
      if (feed(left)) open_records();
      plain_ = {};
      if (!closed_) read();
    });
  }

  /// Opens a stream for a machine, which may write at once.
  /// @return errc::too_many_streams, errc::going_away, skep::errc::closed
  [[nodiscard]] Result<void> open(const std::shared_ptr<StreamMachine>& machine) {
    if (closed_) return skep::errc::closed;
    const auto stream = session_.open(StreamOwner(machine));
    if (!stream) return stream.error();
    attach(**stream, *machine);
    return {};
  }

  /// Ends the connection: every stream is lost for the reason `why`. Idempotent.
  void close(std::error_code why) {
    if (std::exchange(closed_, true)) return;
    const auto keep = shared_from_this();
    if (logging()) log(LogLevel::debug, "p2p", "the connection with " + peer_.to_string() + " ended: " + why.message());
    std::error_code ignored;
    socket_.shutdown(asio::ip::tcp::socket::shutdown_both, ignored);
    socket_.close(ignored);
    host_->deadlines_.cancel(keepalive_);
    host_->deadlines_.cancel(lazy_);
    host_->deadlines_.cancel(pause_);
    std::vector<std::shared_ptr<StreamMachine>> lost;
    session_.for_each([&](Mux::Stream& stream) {
      if (auto machine = stream.owner.release()) lost.push_back(std::move(machine));
    });
    for (const auto& machine : lost) machine->on_lost(why);
    host_->closed(*this, why);
  }

  /// Writes what is due: as many frames as fit into one write, again while the socket takes them.
  void run() override {
    write_due_ = false;
    if (closed_ || writing_) return;
    for (int round = 0; round < max_rounds && session_.urgent(); ++round) {
      if (!write_batch() || closed_ || writing_) return;
    }
    if (session_.urgent()) {
      write_soon();
    } else if (session_.pending() && !lazy_.pending()) {
      host_->deadlines_.insert(lazy_, deadline_after(host_->now(), host_->options_.lazy_delay));
    }
  }

 private:
  static constexpr std::size_t write_budget = 256 * 1024;
  static constexpr int max_rounds = 4;  // write_budget each, before others have their turn

  /// Calls a member when its time has come.
  template <void (Connection::*act)()>
  struct Timer final : Deadline {
    explicit Timer(Connection& of) : connection(of) {}
    void expired() noexcept override { (connection.*act)(); }
    Connection& connection;
  };

  /// Why the socket failed, in the words of std: a code of Asio's own category is equal to no std::errc.
  static std::error_code reason(std::error_code error) {
    if (error == asio::error::eof) return std::make_error_code(std::errc::connection_reset);
    if (error == asio::error::operation_aborted || error.category() != asio::error::get_system_category()) return error;
    return {error.value(), std::system_category()};
  }

  // ---- reading

  void read() {
    const MutableBytes room = records_.room();
    socket_.async_read_some(
        asio::buffer(room.data(), room.size()),
        [self = shared_from_this()](std::error_code error, std::size_t n) { self->on_read(error, n); });
  }

  void on_read(std::error_code error, std::size_t n) {
    if (closed_) return;
    host_->turn_->run([&] {
      if (error) return close(reason(error));
      heard_ = true;
      host_->traffic_.received += n;
      records_.add(n);
      open_records();
      if (!closed_) read_on();
    });
  }

  // A peer that has made too much trouble is left waiting, by TCP's own means: what it sends meanwhile costs nothing.
  void read_on() {
    if (standing_->blameless()) return read();
    const SteadyTime now = host_->now();
    const Duration pause = standing_->pause(now);
    if (pause == Duration::zero()) return read();
    if (!std::exchange(slowed_, true) && logging()) {
      log(LogLevel::info, "p2p",
          peer_.to_string() + " is listened to at a slower pace: its requests are refused often");
    }
    host_->deadlines_.insert(pause_, deadline_after(now, pause));
  }

  // Opens every whole record in place and feeds what it holds to the session.
  void open_records() {
    while (!closed_) {
      const auto record = transport_.open(records_.arrived());
      if (!record) return close(record.error());
      if (record->consumed == 0) return;
      records_.take(record->consumed);
      if (!feed(record->plain)) return;
    }
  }

  // @return whether the connection still stands
  bool feed(BytesView bytes) {
    using Kind = Mux::Event::Kind;
    while (!closed_) {
      const auto event = session_.read(bytes);
      if (!event) {
        close(event.error());
        return false;
      }
      switch (event->kind) {
        case Kind::none: write_soon(); return true;
        case Kind::opened: on_opened(*event->stream); break;
        case Kind::data:
          if (const auto machine = event->stream->owner.machine()) {
            machine->on_data(event->data);
          } else {
            session_.consumed(*event->stream, event->data.size());
          }
          break;
        case Kind::ended:
          if (const auto machine = event->stream->owner.machine()) machine->on_end();
          break;
        case Kind::reset:
          if (const auto machine = event->stream->owner.release()) machine->on_lost(errc::stream_reset);
          break;
        case Kind::pong: ping_pending_ = false; break;
        case Kind::went_away:
          if (event->value != 0) close(errc::going_away);
          break;
      }
    }
    return false;
  }

  void on_opened(Mux::Stream& stream) {
    auto machine = host_->accept(*this);
    if (!machine) return session_.reset(stream);
    replace(stream, std::move(machine));
  }

  // ---- writing

  void write_soon() {
    if (closed_ || !session_.pending() || std::exchange(write_due_, true)) return;
    host_->turn_->write_later(shared_from_this());
  }

  // Seals and writes one batch. @return whether the socket took all of it
  bool write_batch() {
    Mux::Batch& batch = host_->batch_;
    Bytes& sealed = host_->sealed_;
    session_.take(batch, write_budget);
    if (batch.pieces.empty()) return false;
    const std::size_t size = NoiseTransport::sealed_size(batch.size);
    if (sealed.size() < size) sealed.resize(size);
    if (const auto done = transport_.seal(batch.pieces, sealed); !done) {
      close(done.error());
      return false;
    }
    for (Mux::Stream* stream : batch.drained) {
      stream->owner.lender.reset();
      if (const auto machine = stream->owner.machine()) machine->on_drained();
    }
    if (closed_) return false;
    host_->traffic_.sent += size;
    std::error_code error;
    const std::size_t n = socket_.write_some(asio::buffer(sealed.data(), size), error);
    if (error && error != asio::error::would_block && error != asio::error::try_again) {
      close(reason(error));
      return false;
    }
    if (n == size) return true;
    writing_ = true;
    unwritten_.swap(sealed);
    asio::async_write(socket_, asio::buffer(unwritten_.data() + n, size - n),
                      [self = shared_from_this()](std::error_code failed, std::size_t) { self->on_written(failed); });
    return false;
  }

  void on_written(std::error_code error) {
    writing_ = false;
    if (closed_) return;
    host_->turn_->run([&] {
      if (error) return close(reason(error));
      if (host_->sealed_.size() < unwritten_.size()) unwritten_.swap(host_->sealed_);
      unwritten_ = Bytes();
      write_soon();
    });
  }

  void write_lazy() noexcept {
    if (closed_ || writing_) return;
    const auto keep = shared_from_this();
    while (session_.pending() && write_batch()) {  // whom that wakes runs in a turn of his own: he may throw
    }
  }

  void on_silence() noexcept {
    const auto keep = shared_from_this();
    drop_orphans();
    const auto& options = host_->options_;
    const SteadyTime now = host_->now();
    if (std::exchange(heard_, false)) {
      ping_pending_ = false;
    } else if (ping_pending_) {
      return close(skep::errc::timed_out);
    } else {
      ping_pending_ = true;
      session_.ping(ping_number_++);
      write_soon();
    }
    host_->deadlines_.insert(keepalive_, deadline_after(now, ping_pending_ ? options.pong_timeout : options.keepalive));
  }

  // A peer that never closes its half of a stream that is over for us does not keep it for ever.
  void drop_orphans() {
    std::vector<Mux::Stream*> orphans;
    session_.for_each([&](Mux::Stream& stream) {
      if (!stream.owner.machine() && ++stream.owner.orphaned > 2) orphans.push_back(&stream);
    });
    for (Mux::Stream* const stream : orphans) session_.reset(*stream);
    if (!orphans.empty()) write_soon();
  }

  // ---- what machines ask for

  void attach(Mux::Stream& stream, StreamMachine& machine) noexcept {
    machine.carrier_ = this;
    machine.stream_ = &stream;
  }
  void write(Mux::Stream& stream, BytesView bytes, Urgency urgency) override {
    session_.write(stream, bytes, urgency);
    write_soon();
  }
  void finish(Mux::Stream& stream, Urgency urgency) override {
    session_.finish(stream, urgency);
    write_soon();
  }
  void reset(Mux::Stream& stream) override {
    stream.owner.release();
    session_.reset(stream);
    write_soon();
  }
  void consumed(Mux::Stream& stream, std::size_t size) override {
    session_.consumed(stream, size);
    write_soon();
  }
  void expect(Mux::Stream& stream, std::size_t size) override {
    session_.expect(stream, size);
    write_soon();
  }
  void replace(Mux::Stream& stream, std::shared_ptr<StreamMachine> machine) override {
    auto lender = std::move(stream.owner.lender);
    auto before = stream.owner.release();
    if (machine) attach(stream, *machine);
    stream.owner = StreamOwner(machine);
    if (before && !stream.drained()) {
      before->earlier_lender_ = std::move(lender);
      stream.owner.lender = std::move(before);
    }
    if (machine) machine->on_attached();
  }

  std::shared_ptr<ConnectionHost> host_;
  asio::ip::tcp::socket socket_;
  NoiseTransport transport_;
  PeerId peer_;
  yamux::Role role_;
  asio::ip::tcp::endpoint remote_;
  asio::ip::tcp::endpoint local_;
  SteadyTime begun_;
  std::shared_ptr<Standing> standing_;
  Quota quota_;
  Mux session_;
  Bytes plain_;  // opened by the handshake, not yet fed
  RecordBuffer records_;
  Bytes unwritten_;  // what the socket did not take at once
  Timer<&Connection::on_silence> keepalive_;
  Timer<&Connection::write_lazy> lazy_;
  Timer<&Connection::read> pause_;  // while a peer with many faults is not listened to
  bool heard_ = false;              // anything, since the last round of keepalive
  std::uint32_t ping_number_ = 0;
  bool identified_ = false;
  bool slowed_ = false;  // at any time
  bool ping_pending_ = false;
  bool write_due_ = false;
  bool writing_ = false;
  bool closed_ = false;
};

}  // namespace skep::inline v0::p2p
