// The search for each sample's best experts as a pure machine: it says which prefixes it must know, is told, and goes
// on.
#pragma once

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "skep/moe/prefix_cache.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

/// What to search for. `scores` holds one row per sample, the dimensions of the grid side by side: float[rows,
/// sum(grid)].
struct BeamQuery {
  std::string prefix;              ///< what all uids begin with; ends with a dot and may contain coordinates
  std::vector<Coordinate> grid;    ///< the size of each dimension, none empty
  std::vector<Score> scores = {};  ///< NaN counts as minus infinity
  std::size_t rows = 1;            ///< samples
  std::size_t beam_size = 1;    ///< how many prefixes are followed and how many experts are returned at most, per row
  std::size_t num_workers = 0;  ///< first-dimension prefixes a row may wait for at a time; at least the missing ones
  bool initial_beam_only = false;                    ///< stop when the first dimension is decided
  std::function<bool(const ExpertInfo&)> skip = {};  ///< experts that must not be chosen now; null: none
};

/// The experts of a batch: each chosen expert once, and for every row the indices of its experts, best first.
struct ExpertChoice {
  std::vector<ExpertInfo> experts;
  std::vector<std::uint32_t> chosen;   ///< indices into `experts`, row after row
  std::vector<Score> scores;           ///< beside `chosen`
  std::vector<std::uint32_t> offsets;  ///< row r has chosen[offsets[r]] to chosen[offsets[r + 1]]

  [[nodiscard]] std::size_t rows() const noexcept { return offsets.empty() ? 0 : offsets.size() - 1; }
  [[nodiscard]] std::span<const std::uint32_t> row(std::size_t r) const noexcept {
    return {chosen.data() + offsets[r], chosen.data() + offsets[r + 1]};
  }
};

/// One followed prefix: its score, its text and the entries under it that the search can use.
struct BeamItem {
  Score score = 0;
  std::string prefix;
  std::map<Coordinate, UidEndpoint> successors;
};

/// Left-to-right beam search over a grid of uids (Learning@home, section 3.2) for all rows of a batch at once: a prefix
/// that several rows need is asked for once. The score of an expert is the sum of its row's scores at its coordinates;
/// equal scores are ordered by uid. When the beam covers every prefix the answer equals that of an exhaustive search.
/// Rows ask for no more first-dimension prefixes than their beam still lacks (or `num_workers`), then for `beam_size`
/// prefixes per further dimension.
///
///     while (!search.advance().empty()) search.learn(look_up(search.missing()));
///     auto best = std::move(search).take();
class BeamSearch {
 public:
  /// @param known  prefixes that need not be asked for, as far as they are fresh at `now`
  explicit BeamSearch(BeamQuery query, std::shared_ptr<const PrefixTable> known = nullptr, SteadyTime now = {})
      : query_(std::move(query)), known_(std::move(known)), now_(now), dimensions_(query_.grid.size()) {
    for (std::size_t width = 0; const Coordinate size : query_.grid) {
      column_.push_back(width);
      width += static_cast<std::size_t>(size);
      row_width_ = width;
    }
    assert(query_.beam_size > 0 && query_.scores.size() == query_.rows * row_width_);
    for (Score& score : query_.scores) {
      if (std::isnan(score)) score = -std::numeric_limits<Score>::infinity();
    }
    const bool bare_name = query_.prefix.find(uid_delimiter) + 1 == query_.prefix.size();
    flat_ = bare_name && dimensions_ == 1;
    last_level_ = query_.initial_beam_only || flat_ ? (bare_name ? 1 : 0) : dimensions_ - 1;
    rows_.resize(query_.rows);
    if (bare_name) {
      first_.assign(static_cast<std::size_t>(query_.grid[0]), none);
    } else {
      const std::uint32_t root = make_node(query_.prefix, 0);
      for (Row& row : rows_) {
        row.beam.push_back({0, root});
        row.begun = true;
      }
    }
  }

  /// Goes on as far as what is known allows.
  /// @return the prefixes to look up, each until it is learned; empty: the search is finished
  const std::vector<std::string>& advance() {
    missing_.clear();
    asked_.clear();
    ++advances_;
    for (std::size_t r = 0; r < rows_.size(); ++r) {
      while (!rows_[r].finished && step(r)) {
      }
    }
    return missing_;
  }
  [[nodiscard]] const std::vector<std::string>& missing() const noexcept { return missing_; }

  /// Takes what was found under the missing prefixes, in their order; null where there is nothing.
  void learn(const std::vector<std::shared_ptr<const Successors>>& found) {
    assert(found.size() == asked_.size());
    for (std::size_t i = 0; i < asked_.size(); ++i) resolve(nodes_[asked_[i]], found[i]);
  }

  /// The answer, when advance() had nothing to ask for.
  [[nodiscard]] ExpertChoice take() && {
    choice_.offsets.push_back(0);
    for (const Row& row : rows_) {
      for (const Scored& best : row.best) {
        choice_.chosen.push_back(best.item);
        choice_.scores.push_back(best.score);
      }
      choice_.offsets.push_back(static_cast<std::uint32_t>(choice_.chosen.size()));
    }
    return std::move(choice_);
  }

  /// The prefixes that a row follows after the first dimension (with `initial_beam_only`), best first.
  [[nodiscard]] std::vector<BeamItem> beam(std::size_t row) const {
    std::vector<BeamItem> items;
    for (const Scored& followed : rows_[row].beam) {
      const Node& node = nodes_[followed.item];
      BeamItem item{followed.score, node.prefix, {}};
      for (const std::uint32_t at : node.usable) {
        item.successors.emplace(node.successors->coordinate(at), node.successors->expert(at));
      }
      items.push_back(std::move(item));
    }
    return items;
  }

 private:
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

  /// A prefix met by this search.
  struct Node {
    std::string prefix;
    std::size_t level = 0;     ///< dimensions of the grid that the prefix has decided
    std::size_t asked_in = 0;  ///< the last call of advance() that asked for it
    bool resolved = false;
    std::shared_ptr<const Successors> successors;  ///< null: nothing there
    std::vector<std::uint32_t> usable;             ///< which of them this search can follow or choose
    std::vector<std::uint32_t> children;           ///< node below each successor, made when first needed
    std::vector<std::uint32_t> experts;            ///< index into choice_.experts of each successor, likewise
  };
  struct Scored {
    Score score = 0;
    std::uint32_t item = 0;  ///< a node or an expert
  };
  /// A successor of a node, on its way into the beam or among the best.
  struct Candidate {
    Score score = 0;
    std::uint32_t node = 0;
    std::uint32_t at = 0;
  };
  struct Row {
    bool begun = false;  ///< the first dimension is decided
    bool finished = false;
    std::size_t level = 0;
    std::vector<Scored> beam;         ///< nodes, best first
    std::vector<Candidate> examples;  ///< experts met at shorter prefixes
    std::vector<Scored> best;         ///< experts, best first
  };

  [[nodiscard]] const Score* scores_of(std::size_t row, std::size_t dimension) const {
    return query_.scores.data() + row * row_width_ + column_[dimension];
  }

  /// One stage of one row. @return false when it has to wait or is finished
  bool step(std::size_t r) {
    Row& row = rows_[r];
    if (!row.begun) return first_dimension(r);
    if (std::any_of(row.beam.begin(), row.beam.end(), [&](const Scored& s) { return !nodes_[s.item].resolved; })) {
      for (const Scored& followed : row.beam) ask(followed.item);
      return false;
    }
    std::erase_if(row.beam, [&](const Scored& followed) { return nodes_[followed.item].usable.empty(); });
    if (row.level < last_level_) return next_dimension(r);
    if (!query_.initial_beam_only) choose(r);
    row.finished = true;
    return false;
  }

  /// Walks the first dimension from the best index on until the beam is full of prefixes that have experts.
  bool first_dimension(std::size_t r) {
    Row& row = rows_[r];
    const Score* scores = scores_of(r, 0);
    // a heap gives the best index at the end of each pop; most rows need only a few
    const auto worse = [&](std::uint32_t a, std::uint32_t b) {
      if (scores[a] != scores[b]) return scores[a] < scores[b];
      return a != b && std::to_string(b) < std::to_string(a);
    };
    order_.resize(first_.size());
    for (std::size_t i = 0; i < order_.size(); ++i) order_[i] = static_cast<std::uint32_t>(i);
    std::make_heap(order_.begin(), order_.end(), worse);

    row.beam.clear();
    std::size_t waiting = 0;
    for (auto end = order_.end(); end != order_.begin(); --end) {
      const bool enough = row.beam.size() + waiting >= query_.beam_size;
      if (enough && (waiting == 0 || waiting >= query_.num_workers)) break;
      std::pop_heap(order_.begin(), end, worse);
      const std::uint32_t index = *std::prev(end);
      if (first_[index] == none) {
        first_[index] = make_node(extend_prefix(query_.prefix, static_cast<Coordinate>(index)), 1);
      }
      const Node& node = nodes_[first_[index]];
      if (!node.resolved) {
        ask(first_[index]);
        ++waiting;
      } else if (!node.usable.empty()) {
        row.beam.push_back({scores[index], first_[index]});
      }
    }
    if (waiting > 0) return false;
    row.begun = true;
    row.level = 1;
    return true;
  }

  /// Follows the best successors of the beam by one more dimension.
  bool next_dimension(std::size_t r) {
    Row& row = rows_[r];
    const Score* scores = scores_of(r, row.level);
    const auto path = [this](const Candidate& c) {
      return extend_prefix(nodes_[c.node].prefix, nodes_[c.node].successors->coordinate(c.at));
    };
    top_.clear();
    for (const Scored& followed : row.beam) {
      const Node& node = nodes_[followed.item];
      for (const std::uint32_t at : node.usable) {
        keep({followed.score + scores[node.successors->coordinate(at)], followed.item, at}, path);
        if (node.successors->rest(at).size() == dimensions_ - node.level && eligible(node, at)) {
          row.examples.push_back({followed.score, followed.item, at});
        }
      }
    }
    row.beam.clear();
    for (const Candidate& next : top_) row.beam.push_back({next.score, child(next.node, next.at)});
    ++row.level;
    return true;
  }

  /// Chooses the best experts under the beam, and examples from shorter prefixes where they are better.
  void choose(std::size_t r) {
    Row& row = rows_[r];
    const auto uid = [this](const Candidate& c) -> std::string_view { return expert(c).uid; };
    top_.clear();
    for (const Scored& followed : row.beam) {
      const Node& node = nodes_[followed.item];
      const Score* scores = flat_ ? nullptr : scores_of(r, node.level);
      for (const std::uint32_t at : node.usable) {
        const Score score = flat_ ? followed.score : followed.score + scores[node.successors->coordinate(at)];
        keep({score, followed.item, at}, uid);
      }
    }
    for (Candidate example : row.examples) {
      const Node& node = nodes_[example.node];
      for (std::size_t level = node.level; const Coordinate coordinate : node.successors->rest(example.at)) {
        example.score += scores_of(r, level++)[coordinate];
      }
      const bool there =
          std::any_of(top_.begin(), top_.end(), [&](const Candidate& c) { return uid(c) == uid(example); });
      if (!there && !contradicted(example)) keep(example, uid);
    }
    for (const Candidate& best : top_) row.best.push_back({best.score, expert_index(best)});
  }

  /// Whether the search has looked below an example and not found it there: its entry has outlived it.
  [[nodiscard]] bool contradicted(const Candidate& example) const {
    std::uint32_t at_node = example.node;
    std::optional<std::size_t> at = example.at;
    const auto rest = nodes_[example.node].successors->rest(example.at);
    for (std::size_t i = 1; i < rest.size(); ++i) {
      const Node& node = nodes_[at_node];
      if (node.children.empty() || node.children[*at] == none) return false;
      at_node = node.children[*at];
      const Node& below = nodes_[at_node];
      if (!below.resolved) return false;
      if (!below.successors) return true;
      at = below.successors->find(rest[i]);
      if (!at) return true;
    }
    return false;
  }

  /// Puts a candidate among the best `beam_size`, in order. `text` names it where scores are equal.
  template <class Text>
  void keep(const Candidate& candidate, Text text) {
    if (top_.size() == query_.beam_size && candidate.score < top_.back().score) return;
    const auto place = std::find_if(top_.begin(), top_.end(), [&](const Candidate& other) {
      return candidate.score != other.score ? candidate.score > other.score : text(candidate) < text(other);
    });
    if (place == top_.end() && top_.size() == query_.beam_size) return;
    if (top_.size() == query_.beam_size) top_.pop_back();
    top_.insert(place, candidate);
  }
  [[nodiscard]] const ExpertInfo& expert(const Candidate& c) const { return nodes_[c.node].successors->expert(c.at); }

  std::uint32_t make_node(std::string prefix, std::size_t level) {
    const auto index = static_cast<std::uint32_t>(nodes_.size());
    Node& node = nodes_.emplace_back();
    node.prefix = std::move(prefix);
    node.level = level;
    if (known_) {
      if (const KnownPrefix* known = known_->find(node.prefix, now_)) resolve(node, known->successors);
    }
    return index;
  }
  std::uint32_t child(std::uint32_t parent, std::uint32_t at) {
    if (nodes_[parent].children.empty()) nodes_[parent].children.assign(nodes_[parent].successors->size(), none);
    if (nodes_[parent].children[at] == none) {
      const Coordinate coordinate = nodes_[parent].successors->coordinate(at);
      const std::uint32_t made = make_node(extend_prefix(nodes_[parent].prefix, coordinate), nodes_[parent].level + 1);
      nodes_[parent].children[at] = made;  // make_node moved the nodes
    }
    return nodes_[parent].children[at];
  }
  void ask(std::uint32_t index) {
    Node& node = nodes_[index];
    if (node.resolved || std::exchange(node.asked_in, advances_) == advances_) return;
    asked_.push_back(index);
    missing_.push_back(node.prefix);
  }

  /// Whether an expert may be chosen: inside the grid and not to be skipped.
  [[nodiscard]] bool eligible(const Node& node, std::size_t at) const {
    std::size_t level = node.level;
    for (const Coordinate coordinate : node.successors->rest(at)) {
      if (level >= dimensions_ || coordinate >= query_.grid[level++]) return false;
    }
    return !query_.skip || !query_.skip(node.successors->expert(at));
  }

  void resolve(Node& node, std::shared_ptr<const Successors> successors) {
    node.resolved = true;
    node.successors = std::move(successors);
    if (!node.successors) return;
    const bool chooses = flat_ || node.level + 1 == dimensions_;
    const std::size_t left = flat_ ? 0 : 1;  // coordinates that a choosable uid has after this prefix
    for (std::size_t at = 0; at < node.successors->size(); ++at) {
      const Coordinate coordinate = node.successors->coordinate(at);
      const bool usable = chooses ? node.successors->rest(at).size() == left && eligible(node, at)
                                  : coordinate >= 0 && coordinate < query_.grid[node.level];
      if (usable) node.usable.push_back(static_cast<std::uint32_t>(at));
    }
  }

  std::uint32_t expert_index(const Candidate& best) {
    Node& node = nodes_[best.node];
    if (node.experts.empty()) node.experts.assign(node.successors->size(), none);
    std::uint32_t& index = node.experts[best.at];
    if (index == none) {
      const auto [found, fresh] =
          by_uid_.try_emplace(expert(best).uid, static_cast<std::uint32_t>(choice_.experts.size()));
      if (fresh) choice_.experts.push_back(expert(best));
      index = found->second;
    }
    return index;
  }

  BeamQuery query_;
  std::shared_ptr<const PrefixTable> known_;
  SteadyTime now_;
  std::size_t dimensions_;
  std::size_t row_width_ = 0;
  std::size_t last_level_ = 1;  ///< prefixes that have decided this many dimensions hold the experts themselves
  bool flat_ = false;           ///< one dimension: an expert stands under its own prefix
  std::vector<std::size_t> column_;
  std::vector<Node> nodes_;
  std::vector<std::uint32_t> first_;  ///< node of each first-dimension index
  std::vector<Row> rows_;
  std::size_t advances_ = 0;
  std::vector<std::string> missing_;
  std::vector<std::uint32_t> asked_;
  std::vector<std::uint32_t> order_;                            ///< scratch
  std::vector<Candidate> top_;                                  ///< scratch
  std::unordered_map<std::string_view, std::uint32_t> by_uid_;  ///< the text belongs to a node's successors
  ExpertChoice choice_;
};

}  // namespace skep::inline v0::moe
