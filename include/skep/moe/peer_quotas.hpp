// PeerQuotas: how much of a server each peer may hold at once, so that no one takes it from the others.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::moe {

/// What one peer may hold at once.
struct PeerQuotaOptions {
  std::size_t requests = 256;               ///< that are received, wait or are computed
  std::size_t bytes = 512UL * 1024 * 1024;  ///< of the tensors of these requests
};

/// Counts what each peer holds. Peers that hold nothing take no room.
/// *Threads:* one executor.
class PeerQuotas : public std::enable_shared_from_this<PeerQuotas> {
  struct Use {
    std::size_t requests = 0;
    std::size_t bytes = 0;
  };

 public:
  /// One request's part of its peer's quota; given back by the destructor.
  class Ticket {
   public:
    Ticket(Ticket&& other) noexcept : quotas_(std::move(other.quotas_)), use_(other.use_), bytes_(other.bytes_) {}
    Ticket& operator=(Ticket&&) = delete;
    ~Ticket() {
      if (quotas_) quotas_->release(use_, bytes_);
    }

    /// Takes room for so many bytes more. @return false when the peer has none left
    [[nodiscard]] bool take(std::size_t bytes) noexcept {
      if (bytes > quotas_->options_.bytes - use_->second.bytes) return false;
      use_->second.bytes += bytes;
      bytes_ += bytes;
      return true;
    }

   private:
    friend class PeerQuotas;
    using Entry = std::map<p2p::PeerId, Use>::iterator;
    Ticket(std::shared_ptr<PeerQuotas> quotas, Entry use) : quotas_(std::move(quotas)), use_(use) {}

    std::shared_ptr<PeerQuotas> quotas_;
    Entry use_;
    std::size_t bytes_ = 0;
  };

  explicit PeerQuotas(PeerQuotaOptions options = {}) noexcept : options_(options) {}

  /// Lets one more request of a peer in. @return nullopt when it has too many already
  [[nodiscard]] std::optional<Ticket> admit(const p2p::PeerId& peer) {
    const auto use = uses_.try_emplace(peer).first;
    if (use->second.requests >= options_.requests) {
      if (use->second.requests == 0) uses_.erase(use);
      return std::nullopt;
    }
    ++use->second.requests;
    ++requests_;
    return Ticket(shared_from_this(), use);
  }

  [[nodiscard]] const PeerQuotaOptions& options() const noexcept { return options_; }
  /// The requests of all peers that are in hand.
  [[nodiscard]] std::size_t requests() const noexcept { return requests_; }
  /// How many peers have some.
  [[nodiscard]] std::size_t peers() const noexcept { return uses_.size(); }

 private:
  void release(Ticket::Entry use, std::size_t bytes) noexcept {
    --requests_;
    use->second.bytes -= bytes;
    if (--use->second.requests == 0) uses_.erase(use);
  }

  PeerQuotaOptions options_;
  std::map<p2p::PeerId, Use> uses_;
  std::size_t requests_ = 0;
};

}  // namespace skep::inline v0::moe
