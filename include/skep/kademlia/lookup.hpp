// Lookup: the search for the peers nearest to a target, as a machine that says whom to ask next.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <iterator>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "skep/kademlia/id.hpp"

namespace skep::inline v0::kademlia {

/// When a search has seen enough, and how many it asks at once.
template <class P>
concept LookupPolicy = requires(const P& policy, std::size_t nearer) {
  { policy.parallelism } -> std::convertible_to<std::size_t>;  ///< requests in flight, slow ones not counted
  {
    policy.max_requests
  } -> std::convertible_to<std::size_t>;               ///< in all: a liar who invents ever nearer peers stops here
  { policy.satisfied(nearer) } -> std::same_as<bool>;  ///< so many nearer ones have answered or are about to: enough?
};

/// Kademlia's rule: a peer need not be asked when `width` nearer ones have answered. With `width` the bucket size it is
/// the full search of the paper; with the number of replicas it visits just those who would hold a record.
struct NearestAnswered {
  std::size_t width = 20;
  std::size_t parallelism = 3;
  std::size_t max_requests = 256;

  [[nodiscard]] bool satisfied(std::size_t nearer) const noexcept { return nearer >= width; }
};
static_assert(LookupPolicy<NearestAnswered>);

/// One search. Pure: `next` names a peer to ask; its fate comes back as `answered`, `failed` or, while it is still
/// awaited, `slow`. Somebody who is dead costs one request, never a wait: the search goes on beside it.
template <class Id, class Contact, LookupPolicy Policy = NearestAnswered>
class Lookup {
 public:
  using entry_type = Entry<Id, Contact>;

  /// @param self  never asked and never listed, whoever names it as a neighbour
  Lookup(Id target, std::optional<Id> self, Policy policy = {})
      : target_(target), self_(self), policy_(policy), parallelism_(policy.parallelism) {}

  [[nodiscard]] const Id& target() const noexcept { return target_; }

  /// Adds peers to be considered: from the own routing table, or what an answer named.
  void add(std::span<const entry_type> entries) {
    for (const auto& entry : entries) add(entry);
  }
  void add(const entry_type& entry) {
    if (entry.id == self_) return;
    const Id distance = entry.id ^ target_;
    const auto place = position(distance);
    if (place != candidates_.end() && place->distance == distance) return;
    if (candidates_.size() >= max_candidates()) {
      if (place == candidates_.end()) return;
      const auto farthest_new = std::find_if(candidates_.rbegin(), candidates_.rend(),
                                             [](const Candidate& c) { return c.state == State::fresh; });
      if (farthest_new == candidates_.rend() || farthest_new->distance < distance) return;
      candidates_.erase(std::next(farthest_new).base());
    }
    candidates_.insert(position(distance), Candidate{distance, entry, State::fresh});
  }

  /// The next peer to ask, now counted as in flight; none when all worth asking were asked, or enough are in flight.
  [[nodiscard]] std::optional<entry_type> next() {
    const auto first = choices(1);
    if (first.empty()) return std::nullopt;
    ask(first.front()->id);
    return *first.front();
  }
  /// The peers that may be asked now, nearest first, at most `limit`: for a caller who would rather ask one that it has
  /// other questions for. Valid until the next change.
  [[nodiscard]] std::vector<const entry_type*> choices(std::size_t limit) const {
    std::vector<const entry_type*> out;
    if (room() == 0) return out;
    std::size_t nearer = 0;
    for (const auto& candidate : candidates_) {
      if (out.size() == limit || policy_.satisfied(nearer)) break;
      if (candidate.state == State::fresh) out.push_back(&candidate.entry);
      if (candidate.state != State::failed && candidate.state != State::slow) ++nearer;
    }
    return out;
  }
  /// How many may be asked now.
  [[nodiscard]] std::size_t room() const noexcept {
    if (in_flight_ >= parallelism_ || requests_ >= policy_.max_requests) return 0;
    return std::min(parallelism_ - in_flight_, policy_.max_requests - requests_);
  }
  /// Counts one of `choices` as in flight.
  void ask(const Id& id) {
    const auto candidate = find(id);
    if (candidate == candidates_.end() || candidate->state != State::fresh) return;
    candidate->state = State::asked;
    ++in_flight_;
    ++requests_;
  }
  /// Sets how many are asked at once from now on.
  void set_parallelism(std::size_t parallelism) noexcept { parallelism_ = parallelism; }

  /// An asked peer has answered; `add` the neighbours that it named.
  void answered(const Id& id) { settle(id, State::answered); }
  /// An asked peer has failed, or its answer is worth nothing.
  void failed(const Id& id) { settle(id, State::failed); }
  /// An asked peer takes longer than usual: another may be asked in its stead, and the search may end without it.
  void slow(const Id& id) {
    const auto candidate = find(id);
    if (candidate == candidates_.end() || candidate->state != State::asked) return;
    candidate->state = State::slow;
    --in_flight_;
    ++slow_;
  }

  /// Nobody is left to ask, and nobody to wait for.
  [[nodiscard]] bool finished() const {
    if (in_flight_ > 0) return false;
    if (!choices(1).empty()) return false;
    return slow_ == 0 || policy_.satisfied(answered_);
  }

  [[nodiscard]] std::size_t requests() const noexcept { return requests_; }
  [[nodiscard]] std::size_t in_flight() const noexcept { return in_flight_; }

  /// The nearest peers that have not failed, nearest first; those that were slow come last.
  [[nodiscard]] std::vector<entry_type> nearest(std::size_t count) const {
    std::vector<entry_type> out;
    for (const bool slow_ones : {false, true}) {
      for (const auto& candidate : candidates_) {
        if (out.size() == count) return out;
        if (candidate.state == State::failed || (candidate.state == State::slow) != slow_ones) continue;
        out.push_back(candidate.entry);
      }
    }
    return out;
  }

 private:
  enum class State { fresh, asked, slow, answered, failed };
  struct Candidate {
    Id distance;
    entry_type entry;
    State state;
  };
  using Iterator = typename std::vector<Candidate>::iterator;

  std::size_t max_candidates() const noexcept { return 2 * std::size_t{policy_.max_requests}; }
  Iterator position(const Id& distance) {
    return std::lower_bound(candidates_.begin(), candidates_.end(), distance,
                            [](const Candidate& c, const Id& d) { return c.distance < d; });
  }
  Iterator find(const Id& id) {
    const Id distance = id ^ target_;
    const auto place = position(distance);
    return place != candidates_.end() && place->distance == distance ? place : candidates_.end();
  }
  void settle(const Id& id, State state) {
    const auto candidate = find(id);
    if (candidate == candidates_.end()) return;
    if (candidate->state == State::asked) {
      --in_flight_;
    } else if (candidate->state == State::slow) {
      --slow_;
    } else {
      return;
    }
    if (state == State::answered) ++answered_;
    candidate->state = state;
  }

  Id target_;
  std::optional<Id> self_;
  Policy policy_;
  std::size_t parallelism_;
  std::vector<Candidate> candidates_;  // nearest first
  std::size_t in_flight_ = 0;          // asked and not slow
  std::size_t slow_ = 0;
  std::size_t answered_ = 0;
  std::size_t requests_ = 0;
};

}  // namespace skep::inline v0::kademlia
