// BeamTree: the prefixes that a search has met, what is known of each, and what must still be looked up.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "skep/core/time.hpp"
#include "skep/moe/prefix_cache.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

/// Where experts are searched and which of them may be chosen.
struct ExpertGrid {
  std::string prefix;            ///< what all uids begin with; ends with a dot and may contain coordinates
  std::vector<Coordinate> size;  ///< of each dimension, none empty
  std::function<bool(const ExpertInfo&)> skip = {};  ///< experts that must not be chosen now; null: none
  /// How long an expert is expected to take; null: no matter. See `fastest_of_best`.
  std::function<Duration(const ExpertInfo&)> delay = {};

  [[nodiscard]] std::size_t dimensions() const noexcept { return size.size(); }
  /// The prefix is a name alone: nobody lists what is below it, so its first dimension is searched value by value.
  [[nodiscard]] bool bare_name() const noexcept { return prefix.find(uid_delimiter) + 1 == prefix.size(); }
  /// One dimension below a bare name: an expert stands under its own prefix.
  [[nodiscard]] bool flat() const noexcept { return bare_name() && dimensions() == 1; }
};

/// A tree of prefixes that grows as a search goes down; a node is made when it is first needed and asked for until its
/// entries are learned, unless they are known already. Nodes are named by index.
class BeamTree {
 public:
  using Index = std::uint32_t;
  static constexpr Index none = std::numeric_limits<Index>::max();

  struct Node {
    std::string prefix;
    std::size_t level = 0;  ///< dimensions of the grid that the prefix has decided
    bool resolved = false;
    bool guessed = false;                          ///< resolved with what was at hand, as time was over
    std::shared_ptr<const Successors> successors;  ///< null: nothing there

    /// How many of them this search can follow or choose.
    [[nodiscard]] std::size_t usable() const noexcept { return all ? successors->size() : some.size(); }
    /// The place among the successors of one that it can.
    [[nodiscard]] Index usable(std::size_t i) const noexcept { return all ? static_cast<Index>(i) : some[i]; }
    [[nodiscard]] bool all_usable() const noexcept { return all; }

   private:
    friend class BeamTree;
    bool all = false;
    std::vector<Index> some;      // which, unless it is all
    std::size_t asked_in = 0;     // the last round in which it was asked for
    std::vector<Index> children;  // below each successor
  };

  /// @param known  prefixes that need not be asked for, as far as they are fresh at `now`
  BeamTree(ExpertGrid grid, std::shared_ptr<const PrefixTable> known, SteadyTime now)
      : grid_(std::move(grid)), known_(std::move(known)), now_(now) {
    nodes_.reserve(64);  // most searches meet no more
    if (grid_.bare_name()) {
      first_.assign(static_cast<std::size_t>(grid_.size[0]), none);
    } else {
      (void)make_node(grid_.prefix, 0);
    }
  }

  [[nodiscard]] const ExpertGrid& grid() const noexcept { return grid_; }
  [[nodiscard]] const Node& operator[](Index index) const noexcept { return nodes_[index]; }

  /// The node of the grid's own prefix, where that is not a bare name.
  [[nodiscard]] Index root() const noexcept { return 0; }
  /// The node of a first coordinate below a bare name.
  [[nodiscard]] Index first(Coordinate coordinate) {
    Index& index = first_[static_cast<std::size_t>(coordinate)];
    if (index == none) index = make_node(extend_prefix(grid_.prefix, coordinate), 1);
    return index;
  }
  /// The node below the successor at a place.
  [[nodiscard]] Index child(Index parent, Index at) {
    if (nodes_[parent].children.empty()) nodes_[parent].children.assign(nodes_[parent].successors->size(), none);
    if (nodes_[parent].children[at] == none) {
      const Index made = make_node(path(parent, at), nodes_[parent].level + 1);
      nodes_[parent].children[at] = made;  // only now: making it has moved the nodes
    }
    return nodes_[parent].children[at];
  }
  /// The prefix below the successor at a place.
  [[nodiscard]] std::string path(Index parent, Index at) const {
    return extend_prefix(nodes_[parent].prefix, nodes_[parent].successors->coordinate(at));
  }

  /// Whether an expert may be chosen: inside the grid and not to be skipped.
  [[nodiscard]] bool eligible(const Node& node, std::size_t at) const {
    std::size_t level = node.level;
    for (const Coordinate coordinate : node.successors->rest(at)) {
      // NOLINTNEXTLINE(bugprone-inc-dec-in-conditions)
      if (level >= grid_.dimensions() || coordinate >= grid_.size[level++]) return false;
    }
    return !grid_.skip || !grid_.skip(node.successors->expert(at));
  }

  /// Whether the search has looked below an example and not found it there: its entry has outlived it.
  [[nodiscard]] bool contradicts(Index node, Index example) const {
    std::optional<std::size_t> at = example;
    const auto rest = nodes_[node].successors->rest(example);
    for (std::size_t i = 1; i < rest.size(); ++i) {
      if (nodes_[node].children.empty() || nodes_[node].children[*at] == none) return false;
      node = nodes_[node].children[*at];
      if (!nodes_[node].resolved || nodes_[node].guessed) return false;
      if (!nodes_[node].successors) return true;
      at = nodes_[node].successors->find(rest[i]);
      if (!at) return true;
    }
    return false;
  }

  /// Forgets what was asked for; what is still not known will be asked for again.
  void begin_round() {
    missing_.clear();
    asked_.clear();
    ++round_;
  }
  void ask(Index index) {
    Node& node = nodes_[index];
    if (node.resolved || std::exchange(node.asked_in, round_) == round_) return;
    asked_.push_back(index);
    missing_.push_back(node.prefix);
  }
  /// The prefixes asked for in this round.
  [[nodiscard]] const std::vector<std::string>& missing() const noexcept { return missing_; }
  /// Takes what was found under them, in their order; null where there is nothing.
  /// @param guessed  it is what was at hand, not the answer of a look-up
  void learn(const FoundSuccessors& found, bool guessed = false) {
    assert(found.size() == asked_.size());
    for (std::size_t i = 0; i < asked_.size(); ++i) {
      nodes_[asked_[i]].guessed = guessed;
      resolve(nodes_[asked_[i]], found[i]);
    }
  }

 private:
  [[nodiscard]] Index make_node(std::string prefix, std::size_t level) {
    const auto index = static_cast<Index>(nodes_.size());
    Node& node = nodes_.emplace_back();
    node.prefix = std::move(prefix);
    node.level = level;
    if (known_) {
      if (const KnownPrefix* known = known_->find(node.prefix, now_)) resolve(node, known->successors);
    }
    return index;
  }

  void resolve(Node& node, std::shared_ptr<const Successors> successors) const {
    node.resolved = true;
    node.successors = std::move(successors);
    if (!node.successors) return;
    const bool holds_experts = grid_.flat() || node.level + 1 == grid_.dimensions();
    const std::size_t left = grid_.flat() ? 0 : 1;  // coordinates that an expert's uid has after this prefix
    node.all = !grid_.flat() && node.successors->within(grid_.size[node.level]) &&
               (!holds_experts || (node.successors->ends_here() && !grid_.skip));
    if (node.all) return;
    for (std::size_t at = 0; at < node.successors->size(); ++at) {
      const Coordinate coordinate = node.successors->coordinate(at);
      const bool usable = holds_experts ? node.successors->rest(at).size() == left && eligible(node, at)
                                        : coordinate >= 0 && coordinate < grid_.size[node.level];
      if (usable) node.some.push_back(static_cast<Index>(at));
    }
  }

  ExpertGrid grid_;
  std::shared_ptr<const PrefixTable> known_;
  SteadyTime now_;
  std::vector<Node> nodes_;
  std::vector<Index> first_;  // node of each first coordinate
  std::size_t round_ = 0;
  std::vector<std::string> missing_;
  std::vector<Index> asked_;
};

}  // namespace skep::inline v0::moe
