// Record: what a node keeps under a key, a regular value or a dictionary of subkeys.
#pragma once

#include <cstddef>
#include <optional>
#include <utility>

#include "skep/core/bytes.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/dictionary.hpp"

namespace skep::inline v0::dht {

/// A regular value or a dictionary, with the expiration that decides which of two records is newer.
class Record {
 public:
  Record(Item value) : value_(std::move(value)) {}                       // NOLINT(*-explicit-*): either is a record
  Record(Dictionary dictionary) : dictionary_(std::move(dictionary)) {}  // NOLINT(*-explicit-*)

  [[nodiscard]] const Item* value() const noexcept { return dictionary_ ? nullptr : &value_; }
  [[nodiscard]] const Dictionary* dictionary() const noexcept { return dictionary_ ? &*dictionary_ : nullptr; }
  [[nodiscard]] Dictionary* dictionary() noexcept { return dictionary_ ? &*dictionary_ : nullptr; }

  /// Of a dictionary: when its last item expires.
  [[nodiscard]] WallTime expiration() const noexcept {
    const Item* const item = value();
    return item ? item->expiration : dictionary()->latest();
  }

  /// Takes over what another node knows: two dictionaries are joined, each subkey by its own expiration; otherwise the
  /// record that expires later stays.
  void merge(Record other) {
    if (dictionary() && other.dictionary()) {
      dictionary()->merge(std::move(*other.dictionary()));
    } else if (expiration() < other.expiration()) {
      *this = std::move(other);
    }
  }

  friend bool operator==(const Record&, const Record&) = default;

 private:
  Item value_;  // empty when there is a dictionary
  std::optional<Dictionary> dictionary_;
};

}  // namespace skep::inline v0::dht
