// The state of LibTorch's optimizers as data, in both directions: what their archives hide, by the names that Python
// uses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/moe/server/expert_state.hpp"
#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe {

/// A parameter that an optimizer moves.
struct TrainedParameter {
  std::int64_t position = 0;  ///< among all parameters of the module, as Python numbers them
  std::string name = {};
  Tensor tensor = {};
};

namespace detail {

using OptimizerStateMap = std::remove_cvref_t<decltype(std::declval<torch::optim::Optimizer&>().state())>;

/// The key of a parameter's state: in LibTorch 1.13 a text, later the pointer itself.
template <class Key = OptimizerStateMap::key_type>
[[nodiscard]] Key state_key(const Tensor& parameter) {
  if constexpr (std::is_pointer_v<Key>) {
    return parameter.unsafeGetTensorImpl();
  } else {
    char text[32];
    std::snprintf(text, sizeof text, "%p", static_cast<const void*>(parameter.unsafeGetTensorImpl()));
    return text;
  }
}

/// The state of a parameter in Adam or what derives from it, made where there is none.
[[nodiscard]] inline torch::optim::AdamParamState& adam_state(torch::optim::Adam& optimizer, const Tensor& parameter) {
  auto& slot = optimizer.state()[state_key(parameter)];
  if (!slot) {
    auto fresh = std::make_unique<torch::optim::AdamParamState>();
    fresh->step(0);
    fresh->exp_avg(at::zeros_like(parameter));
    fresh->exp_avg_sq(at::zeros_like(parameter));
    slot = std::move(fresh);
  }
  return static_cast<torch::optim::AdamParamState&>(*slot);
}

/// A copy on the CPU that shares nothing.
[[nodiscard]] inline Tensor copy_of(const Tensor& tensor) {
  return tensor.detach().to(at::kCPU, tensor.scalar_type(), /*non_blocking=*/false, /*copy=*/true);
}

[[nodiscard]] inline Error does_not_fit(const std::string& sentence) { return {errc::invalid_argument, sentence}; }

/// Reads the values of one parameter by name and remembers which were read.
class StateReader {
 public:
  StateReader(const OptimizerState::Values& values, const TrainedParameter& parameter)
      : values_(values), parameter_(parameter) {}

  /// A tensor like the parameter; undefined when there is none.
  [[nodiscard]] Tensor like_parameter(const std::string& name) {
    const c10::IValue* value = find(name);
    if (value == nullptr) return {};
    const Tensor& to = parameter_.tensor;
    if (!value->isTensor() || value->toTensor().sizes() != to.sizes()) {
      throw does_not_fit("\"" + name + "\" of \"" + parameter_.name + "\" is not a tensor of the parameter's shape");
    }
    const at::NoGradGuard no_grad;
    return at::empty_like(to).copy_(value->toTensor());  // in the parameter's layout, whatever the file's is
  }
  [[nodiscard]] Tensor required(const std::string& name) {
    Tensor tensor = like_parameter(name);
    if (!tensor.defined()) throw does_not_fit("\"" + parameter_.name + "\" has no \"" + name + "\"");
    return tensor;
  }
  /// A whole number, or a tensor with one.
  [[nodiscard]] std::int64_t step() {
    const c10::IValue* value = find("step");
    if (value != nullptr && value->isInt()) return value->toInt();
    if (value != nullptr && value->isTensor() && value->toTensor().numel() == 1) {
      return value->toTensor().to(at::kLong).item<std::int64_t>();
    }
    throw does_not_fit("\"" + parameter_.name + "\" has no whole number \"step\"");
  }
  void refuse_others() const {
    for (const auto& [name, value] : values_) {
      if (known_.contains(name) || value.isNone()) continue;
      throw does_not_fit("\"" + parameter_.name + "\" has \"" + printable(name) +
                         "\", which this optimizer does not keep");
    }
  }

 private:
  [[nodiscard]] const c10::IValue* find(const std::string& name) {
    known_.insert(name);
    const auto found = values_.find(name);
    return found == values_.end() || found->second.isNone() ? nullptr : &found->second;
  }

  const OptimizerState::Values& values_;
  const TrainedParameter& parameter_;
  std::set<std::string> known_;
};

/// What Adam, AdamW and what derives from them keep.
template <class OptionsType, class ParamStateType>
struct AdamFamily {
  using Options = OptionsType;
  using ParamState = ParamStateType;

  [[nodiscard]] static OptimizerState::Values values(const ParamState& state) {
    OptimizerState::Values values{{"step", at::scalar_tensor(static_cast<double>(state.step()), at::kFloat)},
                                  {"exp_avg", copy_of(state.exp_avg())},
                                  {"exp_avg_sq", copy_of(state.exp_avg_sq())}};
    if (state.max_exp_avg_sq().defined()) values.emplace("max_exp_avg_sq", copy_of(state.max_exp_avg_sq()));
    return values;
  }
  [[nodiscard]] static std::unique_ptr<ParamState> read(StateReader& reader) {
    auto state = std::make_unique<ParamState>();
    state->step(reader.step());
    state->exp_avg(reader.required("exp_avg"));
    state->exp_avg_sq(reader.required("exp_avg_sq"));
    state->max_exp_avg_sq(reader.like_parameter("max_exp_avg_sq"));
    return state;
  }
  template <class F>
  static void visit_options(Options& options, F&& f) {
    f("lr", options.lr());
    f("betas", options.betas());
    f("eps", options.eps());
    f("weight_decay", options.weight_decay());
    f("amsgrad", options.amsgrad());
  }
};

struct SgdFamily {
  using Options = torch::optim::SGDOptions;
  using ParamState = torch::optim::SGDParamState;

  [[nodiscard]] static OptimizerState::Values values(const ParamState& state) {
    if (!state.momentum_buffer().defined()) return {};
    return {{"momentum_buffer", copy_of(state.momentum_buffer())}};
  }
  [[nodiscard]] static std::unique_ptr<ParamState> read(StateReader& reader) {
    Tensor momentum = reader.like_parameter("momentum_buffer");
    if (!momentum.defined()) return nullptr;
    auto state = std::make_unique<ParamState>();
    state->momentum_buffer(std::move(momentum));
    return state;
  }
  template <class F>
  static void visit_options(Options& options, F&& f) {
    f("lr", options.lr());
    f("momentum", options.momentum());
    f("dampening", options.dampening());
    f("weight_decay", options.weight_decay());
    f("nesterov", options.nesterov());
  }
};

/// An optimizer of the user's own, or several groups of parameters: only its archive tells its state.
struct UnknownFamily {};

template <class F>
auto with_family(torch::optim::Optimizer& optimizer, F&& f) {
  using namespace torch::optim;  // NOLINT(*-using-namespace)
  if (optimizer.param_groups().size() != 1) return f(UnknownFamily());
  if (dynamic_cast<Adam*>(&optimizer) != nullptr) return f(AdamFamily<AdamOptions, AdamParamState>());
  if (dynamic_cast<AdamW*>(&optimizer) != nullptr) return f(AdamFamily<AdamWOptions, AdamWParamState>());
  if (dynamic_cast<SGD*>(&optimizer) != nullptr) return f(SgdFamily());
  return f(UnknownFamily());
}

[[nodiscard]] inline Tensor archive_of(const torch::optim::Optimizer& optimizer) {
  torch::serialize::OutputArchive archive;
  optimizer.save(archive);
  std::ostringstream stream;
  archive.save_to(stream);
  const std::string bytes = stream.str();
  return at::tensor(std::vector<std::uint8_t>(bytes.begin(), bytes.end()), at::kByte);
}
inline void read_archive(torch::optim::Optimizer& optimizer, const Tensor& bytes) {
  const Tensor flat = bytes.contiguous();
  torch::serialize::InputArchive archive;
  archive.load_from(reinterpret_cast<const char*>(flat.data_ptr<std::uint8_t>()),
                    static_cast<std::size_t>(flat.numel()));
  optimizer.load(archive);
}

inline void read_option(const c10::IValue& value, const std::string& name, double& to) {
  if (!value.isDouble() && !value.isInt()) throw does_not_fit("the option \"" + name + "\" is not a number");
  to = value.isInt() ? static_cast<double>(value.toInt()) : value.toDouble();
}
inline void read_option(const c10::IValue& value, const std::string& name, bool& to) {
  if (!value.isBool()) throw does_not_fit("the option \"" + name + "\" is not true or false");
  to = value.toBool();
}
inline void read_option(const c10::IValue& value, const std::string& name, std::tuple<double, double>& to) {
  const bool pair = value.isTuple() && value.toTupleRef().elements().size() == 2;
  if (!pair) throw does_not_fit("the option \"" + name + "\" is not a pair of numbers");
  read_option(value.toTupleRef().elements()[0], name, std::get<0>(to));
  read_option(value.toTupleRef().elements()[1], name, std::get<1>(to));
}

}  // namespace detail

/// A copy of what an optimizer of these parameters knows.
[[nodiscard]] inline OptimizerState state_of(torch::optim::Optimizer& optimizer,
                                             std::span<const TrainedParameter> parameters) {
  return detail::with_family(optimizer, [&]<class Family>(Family) -> OptimizerState {
    OptimizerState state;
    if constexpr (std::is_same_v<Family, detail::UnknownFamily>) {
      state.options.emplace("archive", detail::archive_of(optimizer));
    } else {
      for (const TrainedParameter& parameter : parameters) {
        const auto found = optimizer.state().find(detail::state_key(parameter.tensor));
        if (found == optimizer.state().end() || !found->second) continue;
        state.state.emplace(parameter.position,
                            Family::values(static_cast<const typename Family::ParamState&>(*found->second)));
      }
      auto& options = static_cast<typename Family::Options&>(optimizer.param_groups()[0].options());
      Family::visit_options(options, [&](const char* name, const auto& value) { state.options.emplace(name, value); });
    }
    return state;
  });
}

/// Checks that a state fits an optimizer of these parameters. @return what loads it. Throws errc::invalid_argument with
/// a sentence when it does not fit; then nothing is changed.
[[nodiscard]] inline std::function<void()> prepare_load(torch::optim::Optimizer& optimizer,
                                                        std::span<const TrainedParameter> parameters,
                                                        const OptimizerState& state) {
  return detail::with_family(optimizer, [&]<class Family>(Family) -> std::function<void()> {
    if constexpr (std::is_same_v<Family, detail::UnknownFamily>) {
      const auto archive = state.options.find("archive");
      if (archive == state.options.end() || !archive->second.isTensor() ||
          archive->second.toTensor().scalar_type() != at::kByte) {
        throw detail::does_not_fit("it has no \"archive\" of this kind of optimizer");
      }
      return [&optimizer, bytes = archive->second.toTensor()] {
        const Tensor before = detail::archive_of(optimizer);
        try {
          detail::read_archive(optimizer, bytes);
        } catch (const std::exception& e) {
          detail::read_archive(optimizer, before);
          throw detail::does_not_fit("its \"archive\" cannot be read: " + printable(e.what()));
        }
      };
    } else {
      using ParamState = typename Family::ParamState;
      auto loaded = std::make_shared<std::vector<std::pair<Tensor, std::unique_ptr<ParamState>>>>();
      for (const TrainedParameter& parameter : parameters) {
        const auto values = state.state.find(parameter.position);
        std::unique_ptr<ParamState> one;
        if (values != state.state.end() && !values->second.empty()) {
          detail::StateReader reader(values->second, parameter);
          one = Family::read(reader);
          reader.refuse_others();
        }
        loaded->emplace_back(parameter.tensor, std::move(one));
      }
      auto& options = static_cast<typename Family::Options&>(optimizer.param_groups()[0].options());
      auto fresh = options;
      Family::visit_options(fresh, [&](const char* name, auto& to) {
        const auto value = state.options.find(name);
        if (value != state.options.end()) detail::read_option(value->second, name, to);
      });
      return [&optimizer, &options, fresh, loaded] {
        options = fresh;
        for (auto& [tensor, one] : *loaded) {
          if (one) {
            optimizer.state()[detail::state_key(tensor)] = std::move(one);
          } else {
            optimizer.state().erase(detail::state_key(tensor));
          }
        }
      };
    }
  });
}

}  // namespace skep::inline v0::moe
