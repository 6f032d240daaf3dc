// The inbound half of a host's protocols: which names it answers to, and the negotiation that every stream begins with.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/async/deadline_wheel.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/time.hpp"
#include "skep/p2p/connection.hpp"
#include "skep/p2p/multistream.hpp"
#include "skep/p2p/stream_machine.hpp"

namespace skep::inline v0::p2p {

/// Makes the machine for a new inbound stream of one protocol; null resets the stream.
using StreamFactory = std::function<std::shared_ptr<StreamMachine>(Connection&)>;

/// The protocols of a host by name, in the order of the names.
class ProtocolTable {
 public:
  void insert(std::string name, StreamFactory factory) { table_.insert_or_assign(std::move(name), std::move(factory)); }
  bool erase(std::string_view name) {
    const auto found = table_.find(name);
    if (found == table_.end()) return false;
    table_.erase(found);
    return true;
  }
  [[nodiscard]] bool contains(std::string_view name) const { return table_.find(name) != table_.end(); }
  [[nodiscard]] const StreamFactory* find(std::string_view name) const {
    const auto found = table_.find(name);
    return found == table_.end() ? nullptr : &found->second;
  }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> out;
    out.reserve(table_.size());
    for (const auto& [name, factory] : table_) out.push_back(name);
    return out;
  }

 private:
  std::map<std::string, StreamFactory, std::less<>> table_;
};

/// Agrees on the protocol of an inbound stream, whatever way the other side writes its proposal: header, name and first
/// bytes in one frame, or one by one. Then its place is taken by the protocol's own machine.
class Negotiation final : public StreamMachine, public std::enable_shared_from_this<Negotiation>, private Deadline {
 public:
  Negotiation(std::shared_ptr<ConnectionHost> host, Connection& connection, const ProtocolTable& table, Duration limit)
      : host_(std::move(host)), connection_(connection), table_(table) {
    host_->deadlines().insert(*this, deadline_after(host_->now(), limit));
  }

 private:
  void on_data(BytesView piece) override {
    const auto keep = shared_from_this();
    BytesView input = piece;
    if (!held_.empty()) {
      append(held_, piece);
      input = held_;
    }
    const auto taken = server_.receive(input, answer_, [this](std::string_view name) { return table_.contains(name); });
    if (!taken) return refuse();
    const BytesView rest = input.subspan(*taken);
    if (server_.done()) {
      consumed(piece.size() - rest.size());
      return hand_over(rest);
    }
    consumed(piece.size());
    held_ = to_bytes(rest);
    flush();
  }

  void hand_over(BytesView rest) {
    host_->deadlines().cancel(*this);
    const StreamFactory* const factory = table_.find(server_.protocol());
    if (factory == nullptr) return reset();
    auto machine = (*factory)(connection_);
    if (!machine) return reset();
    // where the client has sent its first bytes already, the answer shares the frame of the protocol's own
    write(answer_, rest.empty() ? Urgency::now : Urgency::lazy);
    become(machine);
    if (!rest.empty()) machine->on_data(rest);
  }

  // A client that had its first bytes ready along with a name that is not known here still hears that it is not.
  void refuse() {
    host_->deadlines().cancel(*this);
    if (answer_.empty()) return reset();
    write(answer_);
    leave(Urgency::now);
  }

  void on_end() override {
    const auto keep = shared_from_this();
    reset();
  }
  void on_lost(std::error_code) override { host_->deadlines().cancel(*this); }
  void on_drained() override {
    writing_.clear();
    flush();
  }
  void expired() noexcept override {
    const auto keep = shared_from_this();
    reset();
  }

  void flush() {
    if (!writing_.empty() || answer_.empty()) return;
    writing_.swap(answer_);
    write(writing_);
  }

  std::shared_ptr<ConnectionHost> host_;
  Connection& connection_;
  const ProtocolTable& table_;
  MultistreamServer server_;
  Bytes held_;
  Bytes answer_;
  Bytes writing_;
};

}  // namespace skep::inline v0::p2p
