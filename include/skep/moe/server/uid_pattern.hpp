// UidPattern: the uids that a pattern such as "ffn.[0:4].[0:4]" stands for, and drawing fresh ones from it.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/core/random.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

/// A uid in which coordinates may be ranges: `name.[from:to].N`, `to` excluded.
class UidPattern {
 public:
  /// Throws errc::invalid_argument with a sentence that names the block which is wrong.
  explicit UidPattern(std::string_view pattern) : text_(pattern) {
    for (std::string_view rest = pattern;;) {
      const std::size_t dot = rest.find(uid_delimiter);
      blocks_.push_back(parse_block(rest.substr(0, dot)));
      if (dot == std::string_view::npos) break;
      rest.remove_prefix(dot + 1);
    }
    if (!is_valid_uid(uid(0))) {
      throw invalid("it must be a name without dots, then coordinates: \"name.[0:4].[0:4]\"");
    }
  }

  /// How many uids it stands for; saturates.
  [[nodiscard]] std::uint64_t count() const noexcept {
    std::uint64_t total = 1;
    for (const Block& block : blocks_) {
      if (__builtin_mul_overflow(total, block.size, &total)) return std::numeric_limits<std::uint64_t>::max();
    }
    return total;
  }
  /// One of them, `index` < count(); the last range varies fastest.
  [[nodiscard]] std::string uid(std::uint64_t index) const {
    std::string text;
    for (std::size_t i = blocks_.size(); i-- > 0;) {
      const Block& block = blocks_[i];
      const std::string part = block.literal.empty() ? std::to_string(block.from + index % block.size) : block.literal;
      index /= block.size;
      text = text.empty() ? part : part + uid_delimiter + text;
    }
    return text;
  }
  /// Whether a uid is one of them.
  [[nodiscard]] bool includes(std::string_view uid) const {
    if (!is_valid_uid(uid)) return false;
    for (const Block& block : blocks_) {
      if (uid.empty()) return false;
      const std::string_view part = uid.substr(0, uid.find(uid_delimiter));
      if (block.literal.empty()) {
        const auto coordinate = detail::parse_coordinate(part);
        if (!coordinate || static_cast<std::uint64_t>(*coordinate) - block.from >= block.size) return false;
      } else if (part != block.literal) {
        return false;
      }
      uid.remove_prefix(std::min(uid.size(), part.size() + 1));
    }
    return uid.empty();
  }
  [[nodiscard]] const std::string& text() const noexcept { return text_; }

 private:
  struct Block {
    std::string literal;  // or, where it is empty, a range
    std::uint64_t from = 0;
    std::uint64_t size = 1;
  };

  [[nodiscard]] Block parse_block(std::string_view block) const {
    if (block.find_first_of("[]") == std::string_view::npos) {
      if (block.empty()) throw invalid("one of its blocks is empty");
      return {std::string(block)};
    }
    const std::string quoted = "its block \"" + printable(block) + "\" ";
    const std::size_t colon = block.find(':');
    if (!block.starts_with('[') || !block.ends_with(']') || colon == std::string_view::npos) {
      throw invalid(quoted + "is neither a fixed part nor a range [from:to]");
    }
    const auto from = detail::parse_coordinate(block.substr(1, colon - 1));
    const auto to = detail::parse_coordinate(block.substr(colon + 1, block.size() - colon - 2));
    if (!from || !to) throw invalid(quoted + "is not a range of two whole numbers");
    if (*from >= *to) throw invalid(quoted + "is an empty range");
    return {{}, static_cast<std::uint64_t>(*from), static_cast<std::uint64_t>(*to - *from)};
  }
  [[nodiscard]] Error invalid(const std::string& why) const {
    return {errc::invalid_argument, "\"" + printable(text_) + "\" is not an expert pattern: " + why};
  }

  std::string text_;
  std::vector<Block> blocks_;
};

/// Draws uids from a pattern, no one twice. Small patterns are drawn to their end, so that a free place is found if
/// there is one; from large ones it gives up after ten attempts for each uid that is wanted.
class UidSampler {
 public:
  static constexpr std::uint64_t attempts_per_expert = 10;

  UidSampler(UidPattern pattern, std::size_t wanted, Random random)
      : pattern_(std::move(pattern)), random_(random), attempts_left_(attempts_per_expert * wanted) {
    if (pattern_.count() > attempts_left_) return;
    list_all();
    for (std::uint64_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[random_.below(i)]);
  }
  /// What experts are called without a pattern: "expert.0", "expert.1", and so on.
  [[nodiscard]] static UidSampler without_pattern(std::size_t wanted) {
    UidSampler sampler(pattern_of({}, wanted), wanted, Random(0));
    sampler.list_all();
    return sampler;
  }

  /// The pattern from which so many experts are drawn when this one is given, or none.
  [[nodiscard]] static UidPattern pattern_of(std::string_view pattern, std::size_t wanted) {
    if (!pattern.empty()) return UidPattern(pattern);
    return UidPattern("expert.[0:" + std::to_string(attempts_per_expert * wanted) + "]");
  }

  /// At most `count` uids that were not drawn before; none when the sampler gives up.
  [[nodiscard]] std::vector<std::string> draw(std::size_t count) {
    std::vector<std::string> uids;
    while (uids.size() < count && attempts_left_ > 0) {
      --attempts_left_;
      const std::uint64_t index = order_.empty() ? random_.below(pattern_.count()) : order_[attempts_left_];
      if (seen_.insert(index).second) uids.push_back(pattern_.uid(index));
    }
    return uids;
  }
  [[nodiscard]] const UidPattern& pattern() const noexcept { return pattern_; }

 private:
  /// All uids, to be drawn from the back.
  void list_all() {
    attempts_left_ = pattern_.count();
    order_.resize(attempts_left_);
    for (std::uint64_t i = 0; i < order_.size(); ++i) order_[i] = order_.size() - 1 - i;
  }

  UidPattern pattern_;
  Random random_;
  std::uint64_t attempts_left_;
  std::vector<std::uint64_t> order_;  // of a small pattern, taken from the back
  std::unordered_set<std::uint64_t> seen_;
};

}  // namespace skep::inline v0::moe
