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

#include "skep/core/remove_where.hpp"
#include "skep/kademlia/id.hpp"

namespace skep::inline v0::kademlia {

/// When a search has seen enough, and how many it asks at once.
template <class P>
concept LookupPolicy = requires(const P& policy, std::size_t nearer) {
  { policy.parallelism } -> std::convertible_to<std::size_t>;  ///< requests in flight to the nearest, but slow ones
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
/// awaited, `slow`. Somebody who is dead costs one request, never a wait: the search goes on beside it. Nobody is asked
/// twice, whatever ids others know it by: else one liar could answer for all the nearest. An id belongs to the first
/// who is named with it, until that one has failed: else a liar could hide its owner.
template <class Id, std::equality_comparable Contact, LookupPolicy Policy = NearestAnswered>
class Lookup {
 public:
  using entry_type = Entry<Id, Contact>;

  /// @param self  never asked and never listed, whoever names it as a neighbour
  Lookup(Id target, std::optional<Id> self, Policy policy = {})
      : target_(target), self_(self), policy_(policy), parallelism_(policy.parallelism) {}

  [[nodiscard]] const Id& target() const noexcept { return target_; }

  /// Adds peers to be considered: from the own routing table, or what an answer named.
  void add(std::span<const entry_type> entries) {
    if (candidates_.empty()) candidates_.reserve(std::min(max_candidates(), entries.size()));
    for (const auto& entry : entries) add(entry);
  }
  void add(const entry_type& entry) {
    if (entry.id == self_) return;
    const Id distance = entry.id ^ target_;
    const auto place = position(distance);
    if (is_taken(place, distance) || has_asked(entry.contact)) return;
    if (candidates_.size() >= max_candidates()) {
      if (place == candidates_.end()) return;
      const auto farthest_new = std::find_if(candidates_.rbegin(), candidates_.rend(),
                                             [](const Candidate& c) { return c.state == State::fresh; });
      if (farthest_new == candidates_.rend() || farthest_new->distance < distance) return;
      candidates_.erase(std::next(farthest_new).base());
    }
    candidates_.insert(position(distance), Candidate{distance, entry, State::fresh});
  }

  /// Whether somebody was added with this id and has not failed.
  [[nodiscard]] bool knows(const Id& id) const {
    const Id distance = id ^ target_;
    return is_taken(position(distance), distance);
  }

  /// The next peer to ask, now counted as in flight; none when all worth asking were asked, or enough are in flight.
  [[nodiscard]] std::optional<entry_type> next() {
    const auto first = choices(1);
    if (first.empty()) return std::nullopt;
    entry_type entry = *first.front();
    ask(entry);
    return entry;
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
      if (!is_out(candidate.state)) ++nearer;
    }
    return out;
  }
  /// Whether somebody is one of the choices.
  [[nodiscard]] bool is_choice(const entry_type& entry) const {
    if (room() == 0) return false;
    std::size_t nearer = 0;
    for (const auto& candidate : candidates_) {
      if (policy_.satisfied(nearer)) break;
      if (candidate.entry == entry) return candidate.state == State::fresh;
      if (!is_out(candidate.state)) ++nearer;
    }
    return false;
  }
  /// How many may be asked now. Requests to peers that are not among the nearest any more do not count: an answer that
  /// leads much nearer is followed at once, with all of the parallelism.
  [[nodiscard]] std::size_t room() const noexcept {
    if (requests_ >= policy_.max_requests) return 0;
    std::size_t counted = 0;
    if (in_flight_ > 0) {
      std::size_t nearer = 0;
      for (const auto& candidate : candidates_) {
        if (policy_.satisfied(nearer) || counted >= parallelism_) break;
        if (candidate.state == State::asked) ++counted;
        if (!is_out(candidate.state)) ++nearer;
      }
    }
    return counted >= parallelism_ ? 0 : std::min(parallelism_ - counted, policy_.max_requests - requests_);
  }
  /// Counts one of `choices` as in flight. @return false, and nothing is to be sent, when it is none
  bool ask(const entry_type& entry) {
    const auto candidate = find(entry);
    if (candidate == candidates_.end() || candidate->state != State::fresh) return false;
    candidate->state = State::asked;
    ++in_flight_;
    ++requests_;
    const Contact contact = candidate->entry.contact;  // a copy: the candidates move
    forget(contact);
    return true;
  }
  /// Drops a peer that was not asked yet, under all its ids.
  void forget(const Contact& contact) {
    remove_where(candidates_,
                 [&](const Candidate& c) { return c.state == State::fresh && c.entry.contact == contact; });
  }
  /// Whether a peer was asked, be it under this id or any.
  [[nodiscard]] bool has_asked(const entry_type& entry) const {
    const auto candidate = find(entry);
    return candidate != candidates_.end() && candidate->state != State::fresh;
  }
  [[nodiscard]] bool has_asked(const Contact& contact) const {
    return std::any_of(candidates_.begin(), candidates_.end(),
                       [&](const Candidate& c) { return c.state != State::fresh && c.entry.contact == contact; });
  }
  /// Sets how many are asked at once from now on.
  void set_parallelism(std::size_t parallelism) noexcept { parallelism_ = parallelism; }

  /// An asked peer has answered; `add` the neighbours that it named.
  void answered(const entry_type& entry) { settle(entry, State::answered); }
  /// Who has answered goes by another id than others say: it counts where it says it stands, or with none, or one that
  /// is taken, nowhere.
  void renamed(const entry_type& named, const std::optional<Id>& as) {
    const auto candidate = find(named);
    if (as == named.id || candidate == candidates_.end() || candidate->state != State::answered) return;
    if (!as || as == self_ || knows(*as)) {
      candidate->state = State::failed;  // and stays, so that nobody asks it again
      --answered_;
      return;
    }
    entry_type entry{*as, std::move(candidate->entry.contact)};
    candidates_.erase(candidate);
    const Id distance = *as ^ target_;
    candidates_.insert(position(distance), Candidate{distance, std::move(entry), State::answered});
  }
  /// An asked peer has failed, or its answer is worth nothing.
  void failed(const entry_type& entry) { settle(entry, State::failed); }
  /// An asked peer takes longer than most: another may be asked beside it, but the search still waits for it.
  void hedge(const entry_type& entry) {
    const auto candidate = find(entry);
    if (candidate == candidates_.end() || candidate->state != State::asked) return;
    candidate->state = State::hedged;
    --in_flight_;
    ++slow_;
  }
  /// An asked peer takes longer than usual: another may be asked in its stead, and the search may end without it.
  void slow(const entry_type& entry) {
    hedge(entry);
    const auto candidate = find(entry);
    if (candidate != candidates_.end() && candidate->state == State::hedged) candidate->state = State::slow;
  }

  /// Enough have answered and nobody nearer is left to ask or to wait for; or nobody is left at all.
  [[nodiscard]] bool finished() const {
    std::size_t nearer = 0;
    for (const auto& candidate : candidates_) {
      if (policy_.satisfied(nearer)) return true;
      if (candidate.state == State::asked || candidate.state == State::hedged) return false;
      if (candidate.state == State::fresh && requests_ < policy_.max_requests) return false;
      if (candidate.state == State::answered) ++nearer;
    }
    return slow_ == 0 || policy_.satisfied(answered_);
  }

  [[nodiscard]] std::size_t requests() const noexcept { return requests_; }
  [[nodiscard]] std::size_t in_flight() const noexcept { return in_flight_; }

  /// The nearest peers that have not failed, nearest first; those that were slow come last.
  [[nodiscard]] std::vector<entry_type> nearest(std::size_t count) const {
    std::vector<entry_type> out;
    for (const bool slow_ones : {false, true}) {
      visit(slow_ones, [&](const entry_type& entry) {
        if (out.size() < count) out.push_back(entry);
      });
    }
    return out;
  }
  /// Shows the peers that have not failed, nearest first: those that are slow, or those that are not.
  template <std::invocable<const entry_type&> Visit>
  void visit(bool slow_ones, Visit visit) const {
    for (const auto& candidate : candidates_) {
      const bool is_slow = candidate.state == State::slow || candidate.state == State::hedged;
      if (candidate.state != State::failed && is_slow == slow_ones) visit(candidate.entry);
    }
  }

 private:
  enum class State { fresh, asked, hedged, slow, answered, failed };
  /// Whether somebody else is to be asked in a peer's stead.
  static bool is_out(State state) noexcept {
    return state == State::failed || state == State::slow || state == State::hedged;
  }
  struct Candidate {
    Id distance;
    entry_type entry;
    State state;
  };
  using Iterator = typename std::vector<Candidate>::iterator;
  using ConstIterator = typename std::vector<Candidate>::const_iterator;

  std::size_t max_candidates() const noexcept { return 2 * std::size_t{policy_.max_requests}; }
  Iterator position(const Id& distance) {
    return std::lower_bound(candidates_.begin(), candidates_.end(), distance,
                            [](const Candidate& c, const Id& d) { return c.distance < d; });
  }
  ConstIterator position(const Id& distance) const {
    return const_cast<Lookup*>(this)->position(distance);  // NOLINT(*-const-cast)
  }
  Iterator find(const entry_type& entry) {
    const Id distance = entry.id ^ target_;
    for (auto place = position(distance); place != candidates_.end() && place->distance == distance; ++place) {
      if (place->entry.contact == entry.contact) return place;
    }
    return candidates_.end();
  }
  ConstIterator find(const entry_type& entry) const {
    return const_cast<Lookup*>(this)->find(entry);  // NOLINT(*-const-cast)
  }
  bool is_taken(ConstIterator place, const Id& distance) const {
    for (; place != candidates_.end() && place->distance == distance; ++place) {
      if (place->state != State::failed) return true;
    }
    return false;
  }
  void settle(const entry_type& entry, State state) {
    const auto candidate = find(entry);
    if (candidate == candidates_.end()) return;
    if (candidate->state == State::asked) {
      --in_flight_;
    } else if (candidate->state == State::slow || candidate->state == State::hedged) {
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
  std::size_t in_flight_ = 0;          // asked, and neither hedged nor slow
  std::size_t slow_ = 0;               // or hedged
  std::size_t answered_ = 0;
  std::size_t requests_ = 0;
};

}  // namespace skep::inline v0::kademlia
