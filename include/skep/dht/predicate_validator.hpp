// PredicateValidator: any condition on records.
#pragma once

#include <concepts>
#include <functional>
#include <utility>

#include "skep/dht/validator.hpp"

namespace skep::inline v0::dht {

/// Keeps and believes the records for which a function says true: `PredicateValidator([](const RecordView& record)
/// { return record.value.size() <= 1024; })`. It sees values without signatures.
template <std::predicate<const RecordView&> F>
class PredicateValidator : public LeavesValues {
 public:
  explicit PredicateValidator(F condition) : condition_(std::move(condition)) {}

  [[nodiscard]] bool validate(const RecordView& record) { return std::invoke(condition_, record); }

 private:
  F condition_;
};

}  // namespace skep::inline v0::dht
