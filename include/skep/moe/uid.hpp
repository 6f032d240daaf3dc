// Names of experts: what a uid and a prefix look like, how they come apart, and who serves an expert.
#pragma once

#include <charconv>
#include <compare>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/p2p/multiaddr.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::moe {

/// Parts of a uid are separated by it; the name in front may hold any other character.
inline constexpr char uid_delimiter = '.';
/// The place of an expert with a single coordinate in the dictionary of its own prefix.
inline constexpr int flat_expert = -1;

using Coordinate = int;
using Score = float;

/// An expert and the peer that serves it. Addresses help to reach the peer where no DHT knows them; they make no other
/// expert of it.
struct ExpertInfo {
  std::string uid;
  p2p::PeerId peer_id;
  std::vector<p2p::Multiaddr> addresses = {};

  friend bool operator==(const ExpertInfo& a, const ExpertInfo& b) { return a.uid == b.uid && a.peer_id == b.peer_id; }
  friend auto operator<=>(const ExpertInfo& a, const ExpertInfo& b) {
    return std::tie(a.uid, a.peer_id) <=> std::tie(b.uid, b.peer_id);
  }
};
/// The name which the dictionaries of prefixes use for the same pair.
using UidEndpoint = ExpertInfo;

namespace detail {

/// Reads one coordinate: decimal digits without a leading zero, at most 2^31 - 1.
[[nodiscard]] inline std::optional<Coordinate> parse_coordinate(std::string_view text) noexcept {
  if (text.empty() || (text.size() > 1 && text.front() == '0')) return std::nullopt;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;  // from_chars would take a minus sign
  }
  Coordinate value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Checks `name(.N)*` and counts the coordinates.
[[nodiscard]] inline std::optional<std::size_t> count_coordinates(std::string_view text) noexcept {
  std::size_t dot = text.find(uid_delimiter);
  if (dot == 0 || text.empty()) return std::nullopt;
  std::size_t count = 0;
  while (dot != std::string_view::npos) {
    text.remove_prefix(dot + 1);
    dot = text.find(uid_delimiter);
    if (!parse_coordinate(text.substr(0, dot))) return std::nullopt;
    ++count;
  }
  return count;
}

}  // namespace detail

/// A name without dots, then one or more coordinates: "ffn.3", "ffn_expert.98.76". The whole text must fit.
[[nodiscard]] inline bool is_valid_uid(std::string_view text) noexcept {
  const auto count = detail::count_coordinates(text);
  return count && *count > 0;
}

/// A name without dots, any number of coordinates, then a dot: "ffn.", "ffn.3."; a uid and a dot make a prefix.
[[nodiscard]] inline bool is_valid_prefix(std::string_view text) noexcept {
  return text.ends_with(uid_delimiter) && detail::count_coordinates(text.substr(0, text.size() - 1)).has_value();
}

/// A uid or prefix cut before its last coordinate.
struct UidParts {
  std::string prefix;         ///< with its dot: "ffn.3." of "ffn.3.5"
  Coordinate coordinate = 0;  ///< 5 of "ffn.3.5"

  friend bool operator==(const UidParts&, const UidParts&) = default;
};

/// Cuts a uid, or a prefix that has coordinates, before its last coordinate.
/// @return errc::invalid_argument when there is no coordinate to cut off
[[nodiscard]] inline Result<UidParts> split_uid(std::string_view uid_or_prefix) {
  while (uid_or_prefix.ends_with(uid_delimiter)) uid_or_prefix.remove_suffix(1);
  if (!is_valid_uid(uid_or_prefix)) return errc::invalid_argument;
  const std::size_t cut = uid_or_prefix.rfind(uid_delimiter) + 1;
  return UidParts{std::string(uid_or_prefix.substr(0, cut)), *detail::parse_coordinate(uid_or_prefix.substr(cut))};
}

/// The coordinates of a uid or prefix, in order; empty for a bare name's prefix.
/// @return errc::invalid_argument when the text is neither a uid nor a prefix
[[nodiscard]] inline Result<std::vector<Coordinate>> coordinates_of(std::string_view uid_or_prefix) {
  if (uid_or_prefix.ends_with(uid_delimiter)) uid_or_prefix.remove_suffix(1);
  const auto count = detail::count_coordinates(uid_or_prefix);
  if (!count) return errc::invalid_argument;
  std::vector<Coordinate> coordinates;
  coordinates.reserve(*count);
  for (std::size_t dot = uid_or_prefix.find(uid_delimiter); dot != std::string_view::npos;
       dot = uid_or_prefix.find(uid_delimiter)) {
    uid_or_prefix.remove_prefix(dot + 1);
    coordinates.push_back(*detail::parse_coordinate(uid_or_prefix.substr(0, uid_or_prefix.find(uid_delimiter))));
  }
  return coordinates;
}

/// The prefix that lies one coordinate below another: "ffn." and 3 give "ffn.3.".
[[nodiscard]] inline std::string extend_prefix(std::string_view prefix, Coordinate coordinate) {
  char digits[std::numeric_limits<Coordinate>::digits10 + 2];
  const auto end = std::to_chars(digits, digits + sizeof digits, coordinate).ptr;
  std::string extended;
  extended.reserve(prefix.size() + static_cast<std::size_t>(end - digits) + 1);
  extended.append(prefix).append(digits, end).push_back(uid_delimiter);
  return extended;
}

/// The dictionary entry under which an expert, or an example of the experts below, is found.
struct PrefixEntry {
  std::string prefix;
  Coordinate coordinate = 0;

  friend auto operator<=>(const PrefixEntry&, const PrefixEntry&) = default;
};

/// All entries by which a search finds this expert: ("ffn.5.7.", 9) and ("ffn.5.", 7) for "ffn.5.7.9". The bare name's
/// prefix is not among them, searches go through its coordinates; an expert with one coordinate stands under its own
/// prefix at `flat_expert`.
/// @return errc::invalid_argument when the uid breaks the rules
[[nodiscard]] inline Result<std::vector<PrefixEntry>> prefix_entries(std::string_view uid) {
  const auto coordinates = coordinates_of(uid);
  if (!coordinates || coordinates->empty() || uid.ends_with(uid_delimiter)) return errc::invalid_argument;
  std::vector<PrefixEntry> entries;
  if (coordinates->size() == 1) {
    entries.push_back({std::string(uid) + uid_delimiter, flat_expert});
    return entries;
  }
  for (std::size_t left = coordinates->size() - 1; left > 0; --left) {
    uid = uid.substr(0, uid.rfind(uid_delimiter));
    entries.push_back({std::string(uid) + uid_delimiter, (*coordinates)[left]});
  }
  return entries;
}

}  // namespace skep::inline v0::moe
