// TypedModule: the one place that knows a module's types: reads its signature, makes its schema and calls it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <numeric>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "skep/moe/server/computed_module.hpp"
#include "skep/moe/server/expert.hpp"
#include "skep/moe/tensor/schema.hpp"
#include "skep/moe/tensor/signature.hpp"

namespace skep::inline v0::moe {

namespace detail {

template <class M>
concept HasKeywordNames = requires { Expert<M>::keyword_names.size(); };

/// How many of the last parameters are keyword inputs.
template <class M>
constexpr std::size_t keyword_count() {
  if constexpr (HasKeywordNames<M>) {
    return Expert<M>::keyword_names.size();
  } else {
    return 0;
  }
}

template <ModuleValue T>
[[nodiscard]] TensorTree tree_of_value(const T& value) {
  if constexpr (std::same_as<T, TensorTree>) {
    return value;
  } else {
    return tree_of<T, Tensor>(flat_tensors(value));
  }
}

/// Reads the types of a module of type M.
template <class M>
class TypedModule {
  using Signature = SignatureOf<decltype(&module_of<M>::forward)>;
  using Arguments = typename Signature::Arguments;
  using Returned = typename Signature::Result;
  static constexpr std::size_t count = std::tuple_size_v<Arguments>;
  static constexpr std::size_t keywords = keyword_count<M>();
  static constexpr std::size_t positional = count - keywords;
  static_assert(keywords <= count, "skep: more keyword_names than parameters of forward");

 public:
  /// Throws errc::invalid_argument when the module cannot compute a batch of such samples.
  template <class Sample>
  [[nodiscard]] static ComputedModule describe(const std::string& uid, M module, const Sample& sample,
                                               Compression compression) {
    ComputedModule described{.class_name = class_name_of(*module),
                             .parameters = module->named_parameters(),
                             .buffers = module->named_buffers()};
    TypedModule typed(module, sample, compression);
    described.schema = typed.input_schema();
    described.schema.outputs = schema_of_outputs(
        uid, described, [&](std::span<const Tensor> inputs) { return tree_of_value(typed.call(inputs)); }, compression);
    described.compute = [typed = std::move(typed)](std::span<const Tensor> inputs) mutable {
      if constexpr (std::same_as<Returned, TensorTree>) {
        return typed.call(inputs).flatten();
      } else {
        return flat_tensors(typed.call(inputs));
      }
    };
    return described;
  }

 private:
  template <class Sample>
  TypedModule(M module, const Sample& sample, Compression compression) : module_(std::move(module)) {
    for_each_parameter([&]<std::size_t I> { trees_[I] = schema_of_sample(sample_of<I>(sample), compression); });
    std::size_t next = 0;
    for (const std::size_t i : wire_order()) {
      first_[i] = next;
      next += leaves_[i] = trees_[i].leaf_count();
    }
  }

  template <class F>
  static void for_each_parameter(F&& f) {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (f.template operator()<I>(), ...);
    }(std::make_index_sequence<count>());
  }

  /// What a sample says about a parameter: it is a tuple with a value for each, or the value of the only one.
  template <std::size_t I, class Sample>
  [[nodiscard]] static TensorTree sample_of(const Sample& sample) {
    if constexpr (is_tuple_of_parameters<Sample>()) {
      return tree_of_value(std::get<I>(sample));
    } else {
      static_assert(count == 1 && fits<Sample, std::tuple_element_t<0, Arguments>>(),
                    "skep: an Expert's sample() gives one tensor for each input of forward");
      return tree_of_value(sample);
    }
  }
  template <class Sample>
  static constexpr bool is_tuple_of_parameters() {
    if constexpr (requires { std::tuple_size<Sample>::value; }) {
      if constexpr (std::tuple_size_v<Sample> == count) {
        return []<std::size_t... I>(std::index_sequence<I...>) {
          return (fits<std::tuple_element_t<I, Sample>, std::tuple_element_t<I, Arguments>>() && ...);
        }(std::make_index_sequence<count>());
      }
    }
    return false;
  }
  template <class Given, class Parameter>
  static constexpr bool fits() {
    if constexpr (!ModuleValue<Given>) {
      return false;
    } else if constexpr (std::same_as<Parameter, TensorTree>) {
      return true;
    } else if constexpr (std::same_as<std::remove_cvref_t<Given>, TensorTree>) {
      return false;
    } else {
      return tensor_count<Given> == tensor_count<Parameter>;
    }
  }

  [[nodiscard]] static std::vector<std::string> keyword_names() {
    std::vector<std::string> names;
    if constexpr (keywords > 0) {
      for (const auto& name : Expert<M>::keyword_names) names.emplace_back(name);
    }
    return names;
  }
  /// On the wire keyword inputs come after all others, sorted by name.
  [[nodiscard]] static std::array<std::size_t, count> wire_order() {
    std::array<std::size_t, count> order;
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto names = keyword_names();
    std::ranges::sort(order.begin() + positional, order.end(), {},
                      [&](std::size_t i) -> const std::string& { return names[i - positional]; });
    return order;
  }
  [[nodiscard]] ExpertSchema input_schema() const {
    ExpertSchema schema;
    schema.keyword_names = keyword_names();
    schema.args = SchemaTree::tuple({trees_.begin(), trees_.begin() + positional});
    schema.kwargs = SchemaTree::dict(schema.keyword_names, {trees_.begin() + positional, trees_.end()});
    return schema;
  }

  [[nodiscard]] Returned call(std::span<const Tensor> inputs) {
    return [&]<std::size_t... I>(std::index_sequence<I...>) -> Returned {
      return module_->forward(argument<I>(inputs)...);
    }(std::make_index_sequence<count>());
  }
  template <std::size_t I>
  [[nodiscard]] std::tuple_element_t<I, Arguments> argument(std::span<const Tensor> inputs) const {
    using Argument = std::tuple_element_t<I, Arguments>;
    const auto mine = inputs.subspan(first_[I], leaves_[I]);
    if constexpr (std::same_as<Argument, TensorTree>) {
      return *trees_[I].template pack<Tensor>(mine);
    } else {
      return pack_tensors<Argument>(mine);
    }
  }

  M module_;
  std::array<SchemaTree, count> trees_;      // of the parameters of forward
  std::array<std::size_t, count> first_{};   // their first tensor in wire order
  std::array<std::size_t, count> leaves_{};  // and how many
};

}  // namespace detail

}  // namespace skep::inline v0::moe
