// CompositeValidator: several validators of a node as one, put together at compile time.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

#include "skep/core/bytes.hpp"
#include "skep/dht/validator.hpp"

namespace skep::inline v0::dht {

/// Asks each of its validators; a record is valid when all say so. Values are signed in the order of rising priority,
/// validated and stripped in falling priority, each validator seeing what those before it left; equal priorities in the
/// order of the list, and backwards. `compose_validators` makes one.
template <RecordValidator... Vs>
class CompositeValidator {
 public:
  CompositeValidator()
    requires(std::default_initializable<Vs> && ...)
  = default;
  explicit CompositeValidator(std::tuple<Vs...> validators) : validators_(std::move(validators)) {}

  [[nodiscard]] bool validate(const RecordView& record) {
    RecordView seen = record;
    Bytes stripped;
    return backwards([&](auto& validator) {
      if (!validator.validate(seen)) return false;
      strip_with(validator, seen, stripped);
      return true;
    });
  }
  [[nodiscard]] Bytes sign(const RecordView& record) {
    Bytes value = to_bytes(record.value);
    forwards([&](auto& validator) {
      if constexpr (!leaves_values<decltype(validator)>) {
        value = validator.sign({record.key, record.subkey, value, record.expiration});
      }
      return true;
    });
    return value;
  }
  [[nodiscard]] Bytes strip(const RecordView& record, Bytes value) {
    RecordView seen = record;
    backwards([&](auto& validator) {
      seen.value = value;
      strip_with(validator, seen, value);
      return true;
    });
    return value;
  }
  void check_key(BytesView key) const {
    std::apply([&](const auto&... each) { (dht::check_key(each, key), ...); }, validators_);
  }

  /// One of the validators by its type.
  template <class V>
  [[nodiscard]] const V& get() const noexcept {
    return std::get<V>(validators_);
  }

 private:
  static constexpr std::size_t count = sizeof...(Vs);
  static constexpr std::array<std::size_t, count> order = [] {
    const std::array<int, count> priority{validator_priority<Vs>...};
    std::array<std::size_t, count> places{};
    for (std::size_t i = 0; i < count; ++i) places[i] = i;
    std::ranges::sort(
        places, [&](std::size_t a, std::size_t b) { return std::pair(priority[a], a) < std::pair(priority[b], b); });
    return places;
  }();
  template <class V>
  static constexpr bool leaves_values = std::derived_from<std::remove_cvref_t<V>, LeavesValues>;

  /// Lets a validator take off what it put on; `room` then holds what `seen` shows.
  template <class V>
  static void strip_with(V& validator, RecordView& seen, Bytes& room) {
    if constexpr (!leaves_values<V>) {
      room = validator.strip(seen, to_bytes(seen.value));
      seen.value = room;
    }
  }

  /// Calls `step` with each validator until one call gives false. @return whether none did
  template <class Step>
  bool forwards([[maybe_unused]] Step step) {
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
      return (step(std::get<order[I]>(validators_)) && ...);
    }(std::make_index_sequence<count>());
  }
  template <class Step>
  bool backwards([[maybe_unused]] Step step) {
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
      return (step(std::get<order[count - 1 - I]>(validators_)) && ...);
    }(std::make_index_sequence<count>());
  }

  std::tuple<Vs...> validators_;
};

namespace detail {

/// Whether two validators become one: `join_validators(first, second)`, found beside them.
template <class A, class B>
concept Joinable = requires(A a, B b) { join_validators(std::move(a), std::move(b)); };

template <class... Known, class New>
[[nodiscard]] auto add_validator(std::tuple<Known...> known, New added) {
  constexpr std::array<bool, sizeof...(Known) + 1> joins{Joinable<Known, New>..., true};
  constexpr auto place = static_cast<std::size_t>(std::ranges::find(joins, true) - joins.begin());
  if constexpr (place == sizeof...(Known)) {
    return std::tuple_cat(std::move(known), std::tuple<New>(std::move(added)));
  } else {
    const auto pick = [&]<std::size_t I>(std::integral_constant<std::size_t, I>) {
      if constexpr (I == place) {
        return join_validators(std::get<I>(std::move(known)), std::move(added));
      } else {
        return std::get<I>(std::move(known));
      }
    };
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
      return std::tuple(pick(std::integral_constant<std::size_t, I>())...);
    }(std::index_sequence_for<Known...>());
  }
}

template <class... Known>
[[nodiscard]] auto fold_validators(std::tuple<Known...> known) {
  return CompositeValidator<Known...>(std::move(known));
}
template <class... Known, class First, class... Rest>
[[nodiscard]] auto fold_validators(std::tuple<Known...> known, First first, Rest... rest) {
  return fold_validators(add_validator(std::move(known), std::move(first)), std::move(rest)...);
}

}  // namespace detail

/// One validator of many. Those of a kind become one where their kind says how (`join_validators`): schemas complete
/// each other, of two RSA validators the first stays.
template <RecordValidator... Vs>
[[nodiscard]] auto compose_validators(Vs... validators) {
  return detail::fold_validators(std::tuple<>(), std::move(validators)...);
}

}  // namespace skep::inline v0::dht
