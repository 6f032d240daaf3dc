// StreamMachine: what lives at our end of one yamux stream and makes sense of its bytes.
#pragma once

#include <cstddef>
#include <memory>
#include <system_error>
#include <utility>

#include "skep/core/bytes.hpp"
#include "skep/p2p/yamux.hpp"

namespace skep::inline v0::p2p {

class StreamMachine;

/// The session's hold on a machine; letting go tells the machine that its stream is gone.
class StreamOwner {
 public:
  StreamOwner() = default;
  explicit StreamOwner(std::shared_ptr<StreamMachine> machine) noexcept : machine_(std::move(machine)) {}
  StreamOwner(StreamOwner&& other) noexcept = default;
  StreamOwner& operator=(StreamOwner&& other) noexcept {
    release();
    machine_ = std::move(other.machine_);
    lender = std::move(other.lender);
    orphaned = other.orphaned;
    return *this;
  }
  StreamOwner(const StreamOwner&) = delete;
  StreamOwner& operator=(const StreamOwner&) = delete;
  ~StreamOwner() { release(); }

  [[nodiscard]] const std::shared_ptr<StreamMachine>& machine() const noexcept { return machine_; }
  /// Detaches the machine from its stream and hands it over.
  std::shared_ptr<StreamMachine> release() noexcept;

  /// The last machine that was replaced (it knows the one before), as long as bytes they lent are still to be sent.
  std::shared_ptr<StreamMachine> lender;
  /// For how many rounds of the connection's keepalive nobody has cared for the stream.
  int orphaned = 0;

 private:
  std::shared_ptr<StreamMachine> machine_;
};

using Mux = yamux::Session<StreamOwner>;
using yamux::Urgency;

/// What a machine may ask of the connection that carries its stream.
class StreamCarrier {
 public:
  virtual void write(Mux::Stream& stream, BytesView bytes, Urgency urgency) = 0;
  virtual void finish(Mux::Stream& stream, Urgency urgency) = 0;
  virtual void reset(Mux::Stream& stream) = 0;
  virtual void consumed(Mux::Stream& stream, std::size_t size) = 0;
  virtual void expect(Mux::Stream& stream, std::size_t size) = 0;
  virtual void replace(Mux::Stream& stream, std::shared_ptr<StreamMachine> machine) = 0;

 protected:
  ~StreamCarrier() = default;
};

/// Gets the events of one stream, on the connection's executor, never from inside a call it makes itself. Once the
/// stream is gone (both halves closed, reset, or the connection lost) what it asks for does nothing.
class StreamMachine {
 public:
  StreamMachine() = default;
  StreamMachine(const StreamMachine&) = delete;
  StreamMachine& operator=(const StreamMachine&) = delete;
  virtual ~StreamMachine() = default;

  /// An inbound stream was given to this machine.
  virtual void on_attached() {}
  /// Bytes arrived; `piece` is valid during the call. `consumed` says how many are out of the way, now or later.
  virtual void on_data(BytesView piece) = 0;
  /// The peer closed its half.
  virtual void on_end() = 0;
  /// The stream is gone for a reason: the peer reset it, or the connection ended.
  virtual void on_lost(std::error_code why) = 0;
  /// All that was written has been sealed: its storage is free.
  virtual void on_drained() {}

  [[nodiscard]] bool attached() const noexcept { return stream_ != nullptr; }

 protected:
  /// Lends bytes until `on_drained`, or until the stream is gone.
  void write(BytesView bytes, Urgency urgency = Urgency::now) {
    if (stream_ != nullptr) carrier_->write(*stream_, bytes, urgency);
  }
  /// Closes our half after what was written.
  void finish(Urgency urgency = Urgency::now) {
    if (stream_ != nullptr) carrier_->finish(*stream_, urgency);
  }
  /// Gives the stream up in both directions; the machine hears no more of it.
  void reset() {
    if (stream_ != nullptr) carrier_->reset(*stream_);
  }
  /// Received bytes are out of the way: the peer may send as many more.
  void consumed(std::size_t size) {
    if (stream_ != nullptr) carrier_->consumed(*stream_, size);
  }
  /// There is a place for so many more bytes.
  void expect(std::size_t size) {
    if (stream_ != nullptr) carrier_->expect(*stream_, size);
  }
  /// Hands the stream over to another machine.
  void become(std::shared_ptr<StreamMachine> machine) {
    if (stream_ != nullptr) carrier_->replace(*stream_, std::move(machine));
  }
  /// Closes our half and leaves the stream to its end: what still comes is dropped. What was written is still sent,
  /// from storage that this machine keeps.
  void leave(Urgency urgency = Urgency::lazy) {
    finish(urgency);
    become(nullptr);
  }
  /// How many bytes the peer may still send.
  [[nodiscard]] std::size_t window() const noexcept { return stream_ == nullptr ? 0 : stream_->receive_window(); }
  [[nodiscard]] bool remote_closed() const noexcept { return stream_ == nullptr || stream_->remote_closed(); }
  [[nodiscard]] bool drained() const noexcept { return stream_ == nullptr || stream_->drained(); }

 private:
  friend class StreamOwner;
  friend class Connection;

  StreamCarrier* carrier_ = nullptr;
  Mux::Stream* stream_ = nullptr;
  std::shared_ptr<StreamMachine> earlier_lender_;  // see StreamOwner
};

inline std::shared_ptr<StreamMachine> StreamOwner::release() noexcept {
  if (machine_) {
    machine_->stream_ = nullptr;
    machine_->carrier_ = nullptr;
  }
  return std::exchange(machine_, nullptr);
}

}  // namespace skep::inline v0::p2p
