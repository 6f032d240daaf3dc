// What a checkpoint file holds: an expert's state in the form of Python's state dictionaries, ours and Hivemind's.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/moe/server/expert_state.hpp"
#include "skep/moe/tensor/archive.hpp"
#include "skep/moe/tensor/pickle.hpp"

namespace skep::inline v0::moe {

namespace detail {

/// The state_dict of Python's LambdaLR after so many steps.
[[nodiscard]] inline c10::impl::GenericDict scheduler_state(const ExpertState& state) {
  const auto list_of = [](c10::IValue value) {
    c10::impl::GenericList list(c10::AnyType::get());
    list.push_back(std::move(value));
    return list;
  };
  const auto option = [&state](const char* name) {
    if (!state.optimizer) return c10::IValue();
    const auto found = state.optimizer->options.find(name);
    return found == state.optimizer->options.end() ? c10::IValue() : found->second;
  };
  auto scheduler = any_dict();
  scheduler.insert("base_lrs", list_of(option("initial_lr")));
  scheduler.insert("last_epoch", *state.schedule_step);
  scheduler.insert("verbose", false);
  scheduler.insert("_step_count", *state.schedule_step + 1);
  scheduler.insert("_get_lr_called_within_step", false);
  scheduler.insert("_last_lr", list_of(option("lr")));
  scheduler.insert("lr_lambdas", list_of({}));  // functions are not kept, in Python neither
  return scheduler;
}

}  // namespace detail

/// The bytes of a checkpoint (`encode_archive`) of one dictionary, which Hivemind's `load_experts` takes as well:
///
///     "module"     name -> tensor, parameters and then buffers
///     "optimizer"  {"state": {position -> {name -> value}}, "param_groups": [{option -> value, "params": [0, 1,
///     ...]}]} "scheduler"  {"last_epoch": steps}, with a schedule only "updates"    how many steps the optimizer has
///     made
[[nodiscard]] inline Bytes encode_checkpoint(const ExpertState& state) {
  auto module = any_dict();
  for (const auto& [name, tensor] : state.parameters.pairs()) module.insert(name, tensor);
  for (const auto& [name, tensor] : state.buffers.pairs()) module.insert(name, tensor);
  auto whole = any_dict();
  whole.insert("module", module);
  if (state.optimizer) {
    auto by_position = any_dict();
    for (const auto& [position, values] : state.optimizer->state) {
      auto one = any_dict();
      for (const auto& [name, value] : values) one.insert(name, value);
      by_position.insert(position, one);
    }
    auto group = any_dict();
    for (const auto& [name, value] : state.optimizer->options) group.insert(name, value);
    c10::impl::GenericList positions(c10::AnyType::get());
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(state.parameters.size()); ++i) positions.push_back(i);
    group.insert("params", positions);
    c10::impl::GenericList groups(c10::AnyType::get());
    groups.push_back(group);
    auto optimizer = any_dict();
    optimizer.insert("state", by_position);
    optimizer.insert("param_groups", groups);
    whole.insert("optimizer", optimizer);
  }
  if (state.schedule_step) {
    whole.insert("scheduler", detail::scheduler_state(state));
  }
  whole.insert("updates", static_cast<std::int64_t>(state.updates));
  return encode_archive(whole);
}

namespace detail {

[[nodiscard]] inline std::optional<OptimizerState> optimizer_of(const c10::impl::GenericDict& optimizer) {
  OptimizerState state;
  const auto groups = optimizer.at("param_groups").toListRef();
  if (groups.size() != 1) return std::nullopt;
  for (const auto& option : groups[0].toGenericDict()) {
    if (option.key().toStringRef() == "params" || option.value().isNone()) continue;
    state.options.emplace(option.key().toStringRef(), option.value());
  }
  for (const auto& item : optimizer.at("state").toGenericDict()) {
    OptimizerState::Values& values = state.state[item.key().toInt()];
    for (const auto& value : item.value().toGenericDict()) {
      c10::IValue kept = value.value();
      if (value.key().toStringRef() == "step" && !kept.isTensor()) {  // before PyTorch 1.12 a number
        kept = at::full({}, kept.toScalar(), at::kFloat);
      }
      values.emplace(value.key().toStringRef(), std::move(kept));
    }
  }
  return state;
}
/// How many steps an optimizer's state has seen.
[[nodiscard]] inline std::uint64_t steps_of(const OptimizerState& optimizer) {
  double steps = 0;
  for (const auto& [position, values] : optimizer.state) {
    const auto step = values.find("step");
    if (step != values.end() && step->second.isTensor()) {
      steps = std::max(steps, step->second.toTensor().item<double>());
    }
  }
  return static_cast<std::uint64_t>(steps);
}

}  // namespace detail

/// Reads a checkpoint, of this library or of Hivemind 1.1.
/// @param like  a state of the same expert: which of its tensors are buffers
/// @return errc::malformed for bytes that are damaged or something else
[[nodiscard]] inline Result<ExpertState> decode_checkpoint(BytesView file, const ExpertState& like) {
  const auto value = decode_archive(file);
  if (!value) return value.error();
  try {
    const auto whole = value->toGenericDict();
    ExpertState state;
    for (const auto& item : whole.at("module").toGenericDict()) {
      const std::string& name = item.key().toStringRef();
      (like.buffers.contains(name) ? state.buffers : state.parameters).insert(name, item.value().toTensor());
    }
    if (const auto optimizer = whole.find("optimizer"); optimizer != whole.end()) {
      state.optimizer = detail::optimizer_of(optimizer->value().toGenericDict());
      if (!state.optimizer) return errc::malformed;
      state.updates = detail::steps_of(*state.optimizer);
    }
    if (const auto scheduler = whole.find("scheduler"); scheduler != whole.end()) {
      state.schedule_step = scheduler->value().toGenericDict().at("last_epoch").toInt();
    }
    if (const auto updates = whole.find("updates"); updates != whole.end()) {
      state.updates = static_cast<std::uint64_t>(updates->value().toInt());
    }
    return state;
  } catch (const c10::Error&) {  // another type than its place asks for
    return errc::malformed;
  } catch (const std::out_of_range&) {  // a part is missing
    return errc::malformed;
  }
}

}  // namespace skep::inline v0::moe
