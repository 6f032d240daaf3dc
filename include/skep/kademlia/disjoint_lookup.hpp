// DisjointLookup: one search along several paths that share no peer, so that who captures one path does not own the
// search.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "skep/kademlia/lookup.hpp"

namespace skep::inline v0::kademlia {

/// S/Kademlia's search (Baumgart and Mies, 2007): what is known at first is dealt out to the paths, nearest first and
/// in turn; what a peer names belongs to the path on which it was asked, and a peer is asked on one path only. Each
/// path ends by the policy's rule, by itself, with its own requests in flight. Pure, with the interface of `Lookup`;
/// with one path it is one.
template <class Id, std::equality_comparable Contact, LookupPolicy Policy = NearestAnswered>
class DisjointLookup {
 public:
  using entry_type = Entry<Id, Contact>;

  /// @param paths  at least 1; they share the policy's `max_requests`
  DisjointLookup(Id target, const std::optional<Id>& self, std::size_t paths, Policy policy = {}) {
    policy.max_requests = std::max<std::size_t>(1, policy.max_requests / std::max<std::size_t>(paths, 1));
    for (std::size_t i = 0; i < std::max<std::size_t>(paths, 1); ++i) paths_.emplace_back(target, self, policy);
  }

  [[nodiscard]] const Id& target() const noexcept { return paths_.front().target(); }

  /// Adds peers from the own routing table.
  void add(std::span<const entry_type> entries) {
    if (paths_.size() == 1) return paths_.front().add(entries);
    std::vector<entry_type> sorted;
    for (const auto& entry : entries) insert_by_distance(sorted, 0, entry);
    for (const auto& entry : sorted) {
      add(entry, next_path_);
      next_path_ = (next_path_ + 1) % paths_.size();
    }
  }
  /// Adds what an asked peer has named.
  void add(std::span<const entry_type> entries, const entry_type& named_by) {
    if (paths_.size() == 1) return paths_.front().add(entries);
    const std::size_t path = path_of(named_by);
    if (path == paths_.size()) return;
    for (const auto& entry : entries) add(entry, path);
  }

  /// Whether adding a peer would change nothing; said only of a single path.
  [[nodiscard]] bool knows(const Id& id) const { return paths_.size() == 1 && paths_.front().knows(id); }

  /// As `Lookup`: the peers that may be asked now, the paths in turn; how many; and what became of them.
  [[nodiscard]] std::vector<const entry_type*> choices(std::size_t limit) const {
    if (paths_.size() == 1) return paths_.front().choices(limit);
    std::vector<std::vector<const entry_type*>> of_path;
    for (const auto& path : paths_) of_path.push_back(path.choices(limit));
    std::vector<const entry_type*> out;
    for (std::size_t rank = 0; rank < limit; ++rank) {
      for (const auto& entries : of_path) {
        if (rank >= entries.size() || out.size() == limit) continue;
        const auto same = [&](const auto* known) { return known->contact == entries[rank]->contact; };
        if (std::none_of(out.begin(), out.end(), same)) out.push_back(entries[rank]);
      }
    }
    return out;
  }
  [[nodiscard]] std::optional<entry_type> next() {
    const auto first = choices(1);
    if (first.empty()) return std::nullopt;
    entry_type entry = *first.front();
    ask(entry);
    return entry;
  }
  [[nodiscard]] std::size_t room() const noexcept {
    std::size_t room = 0;
    for (const auto& path : paths_) room += path.room();
    return room;
  }
  bool ask(const entry_type& entry) {
    if (paths_.size() == 1) return paths_.front().ask(entry);
    for (auto& path : paths_) {
      if (!path.is_choice(entry)) continue;
      const Contact contact = entry.contact;  // a copy: the entry may be a candidate, and these move
      path.ask(entry);
      for (auto& other : paths_) {
        if (&other != &path) other.forget(contact);
      }
      return true;
    }
    return false;
  }
  void set_parallelism(std::size_t parallelism) noexcept {
    for (auto& path : paths_) path.set_parallelism(parallelism);
  }
  void answered(const entry_type& entry) {
    on_path(entry, [&](auto& path) { path.answered(entry); });
  }
  void renamed(const entry_type& entry, const std::optional<Id>& as) {
    on_path(entry, [&](auto& path) { path.renamed(entry, as); });
  }
  void failed(const entry_type& entry) {
    on_path(entry, [&](auto& path) { path.failed(entry); });
  }
  void hedge(const entry_type& entry) {
    on_path(entry, [&](auto& path) { path.hedge(entry); });
  }
  void slow(const entry_type& entry) {
    on_path(entry, [&](auto& path) { path.slow(entry); });
  }

  /// Every path has ended.
  [[nodiscard]] bool finished() const {
    return std::all_of(paths_.begin(), paths_.end(), [](const auto& path) { return path.finished(); });
  }
  [[nodiscard]] std::size_t requests() const noexcept {
    std::size_t requests = 0;
    for (const auto& path : paths_) requests += path.requests();
    return requests;
  }
  [[nodiscard]] std::size_t in_flight() const noexcept {
    std::size_t in_flight = 0;
    for (const auto& path : paths_) in_flight += path.in_flight();
    return in_flight;
  }

  /// The nearest peers of all paths that have not failed, nearest first; those that were slow come last.
  [[nodiscard]] std::vector<entry_type> nearest(std::size_t count) const {
    if (paths_.size() == 1) return paths_.front().nearest(count);
    std::vector<entry_type> out;
    for (const bool slow_ones : {false, true}) {
      const auto first = out.size();
      for (const auto& path : paths_) {
        path.visit(slow_ones, [&](const entry_type& entry) {
          const auto same = [&](const entry_type& known) { return known.id == entry.id; };
          if (std::none_of(out.begin(), out.end(), same)) insert_by_distance(out, first, entry);
        });
      }
    }
    if (out.size() > count) out.erase(out.begin() + static_cast<std::ptrdiff_t>(count), out.end());
    return out;
  }

 private:
  /// Puts an entry where it belongs among those from `first` on, of which there are a bucket's or so.
  void insert_by_distance(std::vector<entry_type>& list, std::size_t first, const entry_type& entry) const {
    const auto place = std::upper_bound(
        list.begin() + static_cast<std::ptrdiff_t>(first), list.end(), entry,
        [&](const entry_type& a, const entry_type& b) { return (a.id ^ target()) < (b.id ^ target()); });
    list.insert(place, entry);
  }
  void add(const entry_type& entry, std::size_t path) {
    for (std::size_t other = 0; other < paths_.size(); ++other) {
      if (other != path && paths_[other].has_asked(entry.contact)) return;
    }
    paths_[path].add(entry);
  }
  /// The path on which a peer was asked; the number of paths when it was asked on none.
  [[nodiscard]] std::size_t path_of(const entry_type& entry) const {
    std::size_t path = 0;
    while (path < paths_.size() && !paths_[path].has_asked(entry)) ++path;
    return path;
  }
  template <class Act>
  void on_path(const entry_type& entry, Act act) {
    const std::size_t path = paths_.size() == 1 ? 0 : path_of(entry);
    if (path < paths_.size()) act(paths_[path]);
  }

  std::vector<Lookup<Id, Contact, Policy>> paths_;
  std::size_t next_path_ = 0;
};

}  // namespace skep::inline v0::kademlia
