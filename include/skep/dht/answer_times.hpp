// AnswerTimes: how long the answers of each peer usually take, so that one knows when an answer is late and when it is
// not worth waiting for.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>

#include "skep/core/time.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::dht {

/// A running mean and deviation of answer times (Jacobson's estimator, 1988).
class AnswerTime {
 public:
  void add(Duration answer) noexcept {
    if (count_++ == 0) {
      mean_ = answer;
      deviation_ = answer / 2;
      return;
    }
    const Duration error = answer > mean_ ? answer - mean_ : mean_ - answer;
    deviation_ += (error - deviation_) / 4;
    mean_ += (answer - mean_) / 8;
  }
  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  [[nodiscard]] Duration mean() const noexcept { return mean_; }
  [[nodiscard]] Duration deviation() const noexcept { return deviation_; }

 private:
  Duration mean_{};
  Duration deviation_{};
  std::uint32_t count_ = 0;
};

/// The answer times of each peer and of all together. A request is *hedged* after mean + 2 deviations (one in twenty
/// is, when they spread normally): then somebody else is asked beside it. It is *late* after mean + 4 deviations: then
/// a search may end without it, if others suffice; and *lost* when nobody waits for it any more. A peer that has
/// answered a few times is judged by itself, though never given more time before a hedge than the others; a stranger by
/// all of them. Pure. Bounded: peers that were not heard of for the longest time are forgotten.
class AnswerTimes {
 public:
  static constexpr std::uint32_t enough = 8;  ///< answers after which a peer is judged by itself
  static constexpr Duration least_patience =
      1s;  ///< before a request is lost: peers pause, and one may be all there is

  /// @param most      bounds them; before the first answer a request is late after a third of it
  /// @param least     bounds `hedge_after` and `late_after`
  /// @param capacity  peers remembered
  explicit AnswerTimes(Duration most, Duration least = 10ms, std::size_t capacity = 1024)
      : least_(std::min(least, most)), most_(most), capacity_(std::max<std::size_t>(capacity, 2)) {}

  void add(const p2p::PeerId& peer, Duration answer) {
    all_.add(answer);
    remember(peer).add(answer);
  }

  /// When to ask somebody else beside this peer.
  [[nodiscard]] Duration hedge_after(const p2p::PeerId& peer) const { return unusual(peer, 2); }
  /// When to do without this peer, where others suffice.
  [[nodiscard]] Duration late_after(const p2p::PeerId& peer) const { return unusual(peer, 4); }
  /// When to give up waiting for this peer.
  [[nodiscard]] Duration lost_after(const p2p::PeerId& peer) const {
    const AnswerTime* const own = find(peer);
    const AnswerTime& judge = own != nullptr ? *own : all_;
    if (judge.count() == 0) return most_;
    return std::clamp(judge.mean() + 4 * judge.deviation(), std::min(least_patience, most_), most_);
  }
  [[nodiscard]] std::size_t size() const noexcept { return recent_.size() + older_.size(); }

 private:
  [[nodiscard]] Duration unusual(const p2p::PeerId& peer, int deviations) const {
    if (all_.count() == 0) return most_ / 3;
    Duration time = all_.mean() + deviations * all_.deviation();
    if (const AnswerTime* const own = find(peer)) time = std::min(time, own->mean() + deviations * own->deviation());
    return std::clamp(time, least_, most_);
  }

  using Peers = std::unordered_map<p2p::PeerId, AnswerTime>;

  /// What is known of a peer, if it is enough.
  [[nodiscard]] const AnswerTime* find(const p2p::PeerId& peer) const {
    for (const Peers* peers : {&recent_, &older_}) {
      const auto known = peers->find(peer);
      if (known != peers->end()) return known->second.count() < enough ? nullptr : &known->second;
    }
    return nullptr;
  }
  /// Two generations: when the younger is full the older one is forgotten.
  AnswerTime& remember(const p2p::PeerId& peer) {
    const auto known = recent_.find(peer);
    if (known != recent_.end()) return known->second;
    AnswerTime time;
    if (const auto old = older_.extract(peer)) time = old.mapped();
    if (recent_.size() >= capacity_ / 2) older_ = std::exchange(recent_, {});
    return recent_.emplace(peer, time).first->second;
  }

  Duration least_;
  Duration most_;
  std::size_t capacity_;
  AnswerTime all_;
  Peers recent_;
  Peers older_;
};

}  // namespace skep::inline v0::dht
