// RoutingTable: the peers that are known, dense near our own id and sparse far away, and the exact nearest among them.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include "skep/core/endian.hpp"
#include "skep/core/random.hpp"
#include "skep/core/remove_where.hpp"
#include "skep/core/time.hpp"
#include "skep/kademlia/id.hpp"

namespace skep::inline v0::kademlia {

/// How large buckets are and which of them may be split.
template <class P>
concept BucketPolicy = requires(const P& policy, std::size_t depth, bool covers_self) {
  { policy.bucket_size } -> std::convertible_to<std::size_t>;   ///< active peers a bucket, at least 1
  { policy.replacements } -> std::convertible_to<std::size_t>;  ///< spare peers a bucket, the newest are kept
  { policy.trusted_for } -> std::convertible_to<Duration>;      ///< how long a sign of life counts
  { policy.may_split(depth, covers_self) } -> std::same_as<bool>;
};

/// A full bucket is split when it covers our own id or its depth is no multiple of `depth_modulo`: Hivemind's rule,
/// which is Kademlia's with b = depth_modulo. With `depth_modulo` 1 only the bucket around us splits, as in libp2p.
struct SplitBuckets {
  std::size_t bucket_size = 20;
  std::size_t depth_modulo = 5;
  std::size_t replacements = 20;
  /// A peer that was heard so lately is not asked whether it lives, because another would like its place (BEP 5); zero:
  /// each is asked, as Hivemind does.
  Duration trusted_for{};

  [[nodiscard]] bool may_split(std::size_t depth, bool covers_self) const noexcept {
    return covers_self || depth % depth_modulo != 0;
  }
};
static_assert(BucketPolicy<SplitBuckets>);

namespace detail {
/// A peer of a bucket in the order of distances.
struct Ranked {
  std::uint64_t high;  // the first bits of the distance, which nearly always tell
  std::size_t place;   // in its bucket
};
}  // namespace detail

/// Known peers in buckets by the prefix of their id. Pure: the caller reports who was heard and who was silent, and is
/// told whom to ping. Bounded: at most (bucket_size + replacements) peers a bucket.
template <class Id, std::equality_comparable Contact, BucketPolicy Policy = SplitBuckets>
class RoutingTable {
 public:
  using entry_type = Entry<Id, Contact>;

  enum class Outcome {
    refreshed,  ///< it was known and is now the most recently heard
    added,      ///< it is new and active
    spare,      ///< its bucket is full: it waits for a place
    refused,    ///< it is ourselves, or its id belongs to somebody else who is still answering
  };
  struct Heard {
    Outcome outcome;
    std::optional<entry_type> ping;  ///< whose place is in question: report `heard` or `silent` after asking it
  };

  explicit RoutingTable(Id self, Policy policy = {}) : self_(self), policy_(policy) { buckets_.emplace_back(); }

  [[nodiscard]] const Id& self() const noexcept { return self_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }  ///< active peers
  [[nodiscard]] std::size_t bucket_count() const noexcept { return buckets_.size(); }
  [[nodiscard]] std::size_t spare_count() const noexcept {
    std::size_t n = 0;
    for (const auto& bucket : buckets_) n += bucket.spare.size();
    return n;
  }

  /// A peer gave a sign of life. An id keeps the contact that it came with first until that one is silent, so nobody
  /// takes over the id of a living peer by claiming it. A contact has one id, the last it came with.
  /// @param now  for `quiet` and `trusted_for`; a caller that uses neither need not know the time
  Heard heard(const Id& id, const Contact& contact, SteadyTime now = {}) {
    if (id == self_) return {Outcome::refused, {}};
    if (!knows(id)) silent_contact(contact);  // it had another id, and nobody has two places
    for (;;) {
      const std::size_t at = bucket_of(id);
      Bucket& bucket = buckets_[at];
      bucket.heard_at = now;
      if (const auto known = find_in(bucket.active, id); known != bucket.active.end()) {
        if (known->entry.contact != contact) return {Outcome::refused, question(*known)};
        known->in_question = false;
        known->heard_at = now;
        std::rotate(known, known + 1, bucket.active.end());
        return {Outcome::refreshed, {}};
      }
      if (bucket.active.size() < policy_.bucket_size) {
        bucket.active.push_back({{id, contact}, now, false});
        ++size_;
        return {Outcome::added, {}};
      }
      if (bucket.depth < Id::bits - 1 && policy_.may_split(bucket.depth, covers(bucket, self_))) {
        split(at);
        continue;
      }
      keep_spare(bucket, {id, contact});
      for (auto& slot : bucket.active) {  // the least recently heard that is not being asked already
        if (slot.in_question) continue;
        if (now - slot.heard_at < policy_.trusted_for) break;
        return {Outcome::spare, question(slot)};
      }
      return {Outcome::spare, {}};
    }
  }

  /// A peer did not answer: it leaves, and the spare peer that was heard last takes its place.
  /// @return whether it was known
  bool silent(const Id& id) {
    Bucket& bucket = buckets_[bucket_of(id)];
    if (const auto known = find_in(bucket.active, id); known != bucket.active.end()) {
      bucket.active.erase(known);
      --size_;
      if (!bucket.spare.empty()) {
        bucket.active.push_back({std::move(bucket.spare.back()), never, false});
        bucket.spare.pop_back();
        ++size_;
      }
      return true;
    }
    return remove_where(bucket.spare, [&](const entry_type& entry) { return entry.id == id; }) > 0;
  }
  /// The same, if the id is known with that contact: whoever names it with another one cannot make its owner leave.
  bool silent(const entry_type& entry) {
    if (const Contact* const known = find(entry.id)) return *known == entry.contact && silent(Id(entry.id));
    return remove_where(buckets_[bucket_of(entry.id)].spare, [&](const entry_type& e) { return e == entry; }) > 0;
  }
  /// The same for whatever id a contact has. @return whether it was known
  bool silent_contact(const Contact& contact) {
    for (const auto& bucket : buckets_) {
      for (const auto& slot : bucket.active) {
        if (slot.entry.contact == contact) return silent(Id(slot.entry.id));  // a copy: the entry goes
      }
      for (const auto& entry : bucket.spare) {
        if (entry.contact == contact) return silent(Id(entry.id));
      }
    }
    return false;
  }

  /// The contact of an active peer, or null.
  [[nodiscard]] const Contact* find(const Id& id) const noexcept {
    const Bucket& bucket = buckets_[bucket_of(id)];
    for (const auto& slot : bucket.active) {
      if (slot.entry.id == id) return &slot.entry.contact;
    }
    return nullptr;
  }

  /// Shows active peers to `visit`, nearest to `target` first, until it returns false. Never shows ourselves.
  /// Entries are valid until the table changes.
  template <std::predicate<const Entry<Id, Contact>&> Visit>
  void visit_nearest(const Id& target, Visit visit) const {
    std::vector<detail::Ranked> sorted;  // of one bucket at a time
    visit_range(0, buckets_.size(), 0, target, visit, sorted);
  }
  /// The exact `count` nearest active peers, nearest first; `exclude` is skipped without shortening the list.
  [[nodiscard]] std::vector<entry_type> nearest(const Id& target, std::size_t count,
                                                const std::optional<Id>& exclude = {}) const {
    std::vector<entry_type> out;
    if (count == 0) return out;
    out.reserve(std::min(count, size_));
    visit_nearest(target, [&](const entry_type& entry) {
      if (entry.id != exclude) out.push_back(entry);
      return out.size() < count;
    });
    return out;
  }

  /// A random id in each bucket from which nobody was heard since `before`: a search for it shows who is there now.
  [[nodiscard]] std::vector<Id> quiet(SteadyTime before, Random& random) const {
    std::vector<Id> targets;
    for (const auto& bucket : buckets_) {
      if (bucket.heard_at > before) continue;
      Id id = Id::random(random);
      Id wrong;  // what of its prefix is not the bucket's
      for (std::size_t bit = 0; bit < bucket.depth; ++bit) {
        if (id.bit(bit) != bucket.lower.bit(bit)) wrong.set_bit(bit);
      }
      targets.push_back(id ^ wrong);
    }
    return targets;
  }

  /// All active peers, in the order of their ids' prefixes.
  template <std::invocable<const Entry<Id, Contact>&> Visit>
  void for_each(Visit visit) const {
    for (const auto& bucket : buckets_) {
      for (const auto& slot : bucket.active) visit(slot.entry);
    }
  }

 private:
  struct Slot {
    entry_type entry;
    SteadyTime heard_at;
    bool in_question;  // somebody was told to ping it
  };
  static constexpr SteadyTime never{};  // when it was heard is not known of a spare peer
  struct Bucket {                       // all ids that share the first `depth` bits of `lower`
    Id lower;
    std::size_t depth = 0;
    SteadyTime heard_at{};          // of its peers, or those it was split from
    std::vector<Slot> active;       // least recently heard first
    std::vector<entry_type> spare;  // newest last
  };

  static bool covers(const Bucket& bucket, const Id& id) noexcept {
    return (bucket.lower ^ id).leading_zeros() >= bucket.depth;
  }
  std::size_t bucket_of(const Id& id) const noexcept {
    const auto after = std::upper_bound(buckets_.begin(), buckets_.end(), id,
                                        [](const Id& value, const Bucket& bucket) { return value < bucket.lower; });
    return static_cast<std::size_t>(std::distance(buckets_.begin(), after)) - 1;
  }
  static auto find_in(std::vector<Slot>& slots, const Id& id) noexcept {
    return std::find_if(slots.begin(), slots.end(), [&](const Slot& slot) { return slot.entry.id == id; });
  }
  static std::optional<entry_type> question(Slot& slot) {
    if (slot.in_question) return std::nullopt;
    slot.in_question = true;
    return slot.entry;
  }

  bool knows(const Id& id) const noexcept {
    const Bucket& bucket = buckets_[bucket_of(id)];
    return find(id) != nullptr || std::any_of(bucket.spare.begin(), bucket.spare.end(),
                                              [&](const entry_type& entry) { return entry.id == id; });
  }

  void keep_spare(Bucket& bucket, entry_type entry) {
    remove_where(bucket.spare, [&](const entry_type& known) { return known.id == entry.id; });
    if (policy_.replacements == 0) return;
    if (bucket.spare.size() >= policy_.replacements) bucket.spare.erase(bucket.spare.begin());
    bucket.spare.push_back(std::move(entry));
  }

  /// The bit at the bucket's depth decides the half, so every id lands in the half that covers it.
  void split(std::size_t at) {
    Bucket upper;
    Bucket& lower = buckets_[at];
    const std::size_t bit = lower.depth++;
    upper.lower = lower.lower;
    upper.lower.set_bit(bit);
    upper.depth = lower.depth;
    upper.heard_at = lower.heard_at;
    const auto move_up = [bit](auto& from, auto& to, auto id_of) {  // keeps the order of both halves
      auto kept = from.begin();
      for (auto& item : from) {
        if (id_of(item).bit(bit)) {
          to.push_back(std::move(item));
        } else {
          if (&*kept != &item) *kept = std::move(item);
          ++kept;
        }
      }
      from.erase(kept, from.end());
    };
    move_up(lower.active, upper.active, [](const Slot& slot) -> const Id& { return slot.entry.id; });
    move_up(lower.spare, upper.spare, [](const entry_type& entry) -> const Id& { return entry.id; });
    for (Bucket* half : {&lower, &upper}) {
      while (half->active.size() < policy_.bucket_size && !half->spare.empty()) {
        half->active.push_back({std::move(half->spare.back()), never, false});
        half->spare.pop_back();
        ++size_;
      }
    }
    buckets_.insert(buckets_.begin() + static_cast<std::ptrdiff_t>(at) + 1, std::move(upper));
  }

  /// Sorts one bucket's peers by their distance to `target`.
  static void rank(const std::vector<Slot>& slots, const Id& target, std::vector<detail::Ranked>& sorted) {
    const auto nearer = [&](const detail::Ranked& a, const detail::Ranked& b) {
      if (a.high != b.high) return a.high < b.high;
      return (slots[a.place].entry.id ^ target) < (slots[b.place].entry.id ^ target);
    };
    sorted.clear();
    for (std::size_t place = 0; place < slots.size(); ++place) {
      const auto high = load_be<std::uint64_t>((slots[place].entry.id ^ target).bytes().data());
      const detail::Ranked item{high, place};
      sorted.insert(std::upper_bound(sorted.begin(), sorted.end(), item, nearer), item);
    }
  }

  /// Buckets [first, last) share the first `depth` bits and are a subtree: the half on the target's side is nearer as a
  /// whole. @return false when `visit` has seen enough
  template <class Visit>
  bool visit_range(std::size_t first, std::size_t last, std::size_t depth, const Id& target, Visit& visit,
                   std::vector<detail::Ranked>& sorted) const {
    if (first == last) return true;
    if (last - first == 1) {
      const auto& slots = buckets_[first].active;
      rank(slots, target, sorted);
      for (const detail::Ranked& item : sorted) {
        if (!visit(slots[item.place].entry)) return false;
      }
      return true;
    }
    std::size_t middle = first;
    while (middle < last && !buckets_[middle].lower.bit(depth)) ++middle;
    const bool up = target.bit(depth);
    if (!visit_range(up ? middle : first, up ? last : middle, depth + 1, target, visit, sorted)) return false;
    return visit_range(up ? first : middle, up ? middle : last, depth + 1, target, visit, sorted);
  }

  Id self_;
  Policy policy_;
  std::vector<Bucket> buckets_;  // sorted by `lower`, together covering everything
  std::size_t size_ = 0;
};

}  // namespace skep::inline v0::kademlia
