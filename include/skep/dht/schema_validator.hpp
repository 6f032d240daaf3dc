// SchemaValidator: which keys a swarm uses and of which C++ types their values are; other records are refused.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "skep/codec/msgpack.hpp"
#include "skep/core/bytes.hpp"
#include "skep/dht/key.hpp"
#include "skep/dht/validator.hpp"
#include "skep/dht/value_as.hpp"

namespace skep::inline v0::dht {

/// A text as a template argument.
template <std::size_t N>
struct FixedText {
  char text[N];
  constexpr FixedText(const char (&literal)[N]) { std::copy_n(literal, N, text); }  // NOLINT(*-explicit-*)
  [[nodiscard]] constexpr std::string_view view() const noexcept { return {text, N - 1}; }
};

namespace detail {

enum class FieldVerdict { other_key, good, bad };

/// Whether a record holds a T: a std::map<K, V> is a dictionary whose subkeys are K and values V, checked item by item;
/// anything else a regular value.
template <class T>
struct FieldCheck {
  static bool fits(const RecordView& record) {
    if (!is_regular(record)) return false;
    const auto value = msgpack::decode(record.value);
    return value && value_as<T>(*value);
  }
  static bool is_regular(const RecordView& record) { return record.subkey.size() == 1 && record.subkey[0] == 0xc0; }
};
template <class K, class V>
struct FieldCheck<std::map<K, V>> {
  static bool fits(const RecordView& record) {
    if (FieldCheck<bool>::is_regular(record)) return false;  // a plain dictionary, or no dictionary at all
    const auto subkey = msgpack::decode(record.subkey);
    const auto value = msgpack::decode(record.value);
    return subkey && value && value_as<K>(*subkey) && value_as<V>(*value);
  }
};

}  // namespace detail

/// A key and the type of what is stored under it: `Field<"loss", double>` a regular value, `Field<"progress",
/// std::map<BytesWithPublicKey, Progress>>` a dictionary by subkeys.
template <FixedText name, class T>
struct Field {
  static constexpr std::string_view key = name.view();
  [[nodiscard]] static bool fits(const RecordView& record) { return detail::FieldCheck<T>::fits(record); }
};

struct SchemaOptions {
  bool allow_extra_keys = true;  ///< whether records under other keys are nobody's business
  std::string prefix = {};       ///< "run" makes the field "loss" stand under the key "run_loss"
};

/// Keeps and believes only records that are of their key's type (Hivemind's SchemaValidator, with C++ types instead of
/// pydantic's). Types are strict, as `value_as` reads them. Sees values without signatures.
template <class... Fields>
class SchemaValidator : public LeavesValues {
 public:
  explicit SchemaValidator(SchemaOptions options = {}) : allow_extra_keys_(options.allow_extra_keys) {
    const std::string prefix = options.prefix.empty() ? std::string() : options.prefix + "_";
    keys_ = {key_id(prefix + std::string(Fields::key))...};
  }

  [[nodiscard]] bool validate(const RecordView& record) const {
    const auto verdict = judge(record);
    return verdict == detail::FieldVerdict::good || (verdict == detail::FieldVerdict::other_key && allow_extra_keys_);
  }

  [[nodiscard]] detail::FieldVerdict judge(const RecordView& record) const {
    const auto place = static_cast<std::size_t>(std::ranges::find(keys_, record.key) - keys_.begin());
    if (place == keys_.size()) return detail::FieldVerdict::other_key;
    constexpr std::array<bool (*)(const RecordView&), sizeof...(Fields)> checks{&Fields::fits...};
    return checks[place](record) ? detail::FieldVerdict::good : detail::FieldVerdict::bad;
  }
  [[nodiscard]] bool allows_extra_keys() const noexcept { return allow_extra_keys_; }

 private:
  bool allow_extra_keys_;
  std::array<DHTID, sizeof...(Fields)> keys_;
};

/// Several schemas as one: a record is valid when any of those that know its key accepts it; other keys are allowed
/// when any schema allows them. `compose_validators` makes it.
template <class... Schemas>
class MergedSchemas : public LeavesValues {
 public:
  explicit MergedSchemas(std::tuple<Schemas...> schemas) : schemas_(std::move(schemas)) {}

  [[nodiscard]] bool validate(const RecordView& record) const {
    return std::apply(
        [&](const auto&... each) {
          const std::array verdicts{each.judge(record)...};
          if (std::ranges::count(verdicts, detail::FieldVerdict::good) > 0) return true;
          return std::ranges::count(verdicts, detail::FieldVerdict::bad) == 0 && (each.allows_extra_keys() || ...);
        },
        schemas_);
  }
  [[nodiscard]] const std::tuple<Schemas...>& schemas() const noexcept { return schemas_; }

 private:
  std::tuple<Schemas...> schemas_;
};

template <class... A, class... B>
[[nodiscard]] auto join_validators(SchemaValidator<A...> first, SchemaValidator<B...> second) {
  return MergedSchemas(std::tuple(std::move(first), std::move(second)));
}
template <class... A, class... B>
[[nodiscard]] auto join_validators(MergedSchemas<A...> first, SchemaValidator<B...> second) {
  return MergedSchemas(std::tuple_cat(first.schemas(), std::tuple(std::move(second))));
}

}  // namespace skep::inline v0::dht
