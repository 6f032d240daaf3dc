// ConnectionTable: the connections of a host by peer. Several to one peer are normal; any of them may be used.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "skep/core/remove_where.hpp"
#include "skep/p2p/connection.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::p2p {

class ConnectionTable {
 public:
  void insert(std::shared_ptr<Connection> connection) {
    table_[connection->peer()].push_back(std::move(connection));
    ++size_;
  }
  /// @return whether it was in the table
  bool erase(const Connection& connection) {
    const auto found = table_.find(connection.peer());
    if (found == table_.end()) return false;
    const auto erased = remove_where(found->second, [&](const auto& one) { return one.get() == &connection; });
    if (found->second.empty()) table_.erase(found);
    size_ -= erased;
    return erased > 0;
  }

  /// The oldest connection to a peer that takes new streams, or null.
  [[nodiscard]] std::shared_ptr<Connection> find(const PeerId& peer) const {
    const auto found = table_.find(peer);
    if (found == table_.end()) return nullptr;
    for (const auto& connection : found->second) {
      if (connection->usable()) return connection;
    }
    return nullptr;
  }
  [[nodiscard]] std::size_t count(const PeerId& peer) const {
    const auto found = table_.find(peer);
    return found == table_.end() ? 0 : found->second.size();
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// Who is connected, in the order of their ids.
  [[nodiscard]] std::vector<PeerId> peers() const {
    std::vector<PeerId> out;
    out.reserve(table_.size());
    for (const auto& [peer, connections] : table_) out.push_back(peer);
    std::sort(out.begin(), out.end());
    return out;
  }
  /// All connections, in the order of the peers' ids and then of their age.
  [[nodiscard]] std::vector<std::shared_ptr<Connection>> all() const {
    std::vector<std::shared_ptr<Connection>> out;
    out.reserve(size_);
    for (const PeerId& peer : peers()) {
      const auto& connections = table_.at(peer);
      out.insert(out.end(), connections.begin(), connections.end());
    }
    return out;
  }

 private:
  std::unordered_map<PeerId, std::vector<std::shared_ptr<Connection>>> table_;
  std::size_t size_ = 0;
};

}  // namespace skep::inline v0::p2p
