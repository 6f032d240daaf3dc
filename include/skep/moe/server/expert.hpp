// Expert<M>: all that describes a class of experts, written by whoever brings a module of his own.
#pragma once

#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/moe/tensor/signature.hpp"
#include "skep/moe/tensor/tensor_tree.hpp"
#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe {

/// What a class of experts is made from; the same for all experts of one group.
struct ExpertOptions {
  std::int64_t hidden_dim = 1024;                           ///< the main width, features of one sample
  std::map<std::string, std::string, std::less<>> extra{};  ///< what a class takes besides: {{"num_heads", "8"}}

  /// The extra value of a name as a number, true or false, or text; `otherwise` when it was not given:
  ///
  ///     Attention(o.hidden_dim, o.get<std::int64_t>("num_heads", 16))
  ///
  /// Throws errc::invalid_argument when the text is not such a value.
  template <class T>
  [[nodiscard]] T get(std::string_view name, T otherwise) const {
    const auto found = extra.find(name);
    if (found == extra.end()) return otherwise;
    const std::string& text = found->second;
    T value{};
    if constexpr (std::is_same_v<T, std::string>) {
      value = text;
    } else if constexpr (std::is_same_v<T, bool>) {
      if (text != "true" && text != "false") throw not_a(name, "true or false");
      value = text == "true";
    } else {
      static_assert(std::is_arithmetic_v<T>, "skep: an extra value is a number, true or false, or a std::string");
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
      const bool whole = error == std::errc() && end == text.data() + text.size();
      if (!whole) throw not_a(name, std::is_integral_v<T> ? "a whole number" : "a number");
    }
    return value;
  }

 private:
  [[nodiscard]] Error not_a(std::string_view name, std::string_view kind) const {
    return {errc::invalid_argument, "the extra value " + printable(name) + " = \"" +
                                        printable(extra.find(name)->second) + "\" is not " + std::string(kind)};
  }
};

/// One sample of an input: a vector of `features` numbers, without the batch dimension.
[[nodiscard]] inline Tensor row(std::int64_t features, at::ScalarType dtype = at::kFloat) {
  return at::zeros({features}, dtype);
}

/// Describes a class of experts; specialise it for a module holder (TORCH_MODULE) or module type M:
///
///     template <> struct skep::moe::Expert<Gated> {
///       static constexpr auto name = "gated";                                   // as --expert_cls names it
///       static auto make(const ExpertOptions& o) { return Gated(o.hidden_dim); }
///       static auto sample(const ExpertOptions& o) { return std::tuple{row(o.hidden_dim), row(o.hidden_dim)}; }
///     };
///
/// `sample` gives one sample of each input of `forward`, without the batch dimension: a tensor or a tuple. An input
/// that is a dictionary is a TensorTree, its sample too. With a static array `keyword_names` the last parameters of
/// `forward` are keyword inputs of these names.
template <class M>
struct Expert;

namespace detail {
template <class M>
struct ModuleOf {  // a holder
  using type = std::remove_cvref_t<decltype(*std::declval<M&>().operator->())>;
};
template <std::derived_from<torch::nn::Module> M>
struct ModuleOf<M> {
  using type = M;
};
template <class M>
struct ModuleOf<std::shared_ptr<M>> {
  using type = M;
};
template <class M>
using module_of = typename ModuleOf<M>::type;

template <class Tuple>
inline constexpr bool all_module_values = false;
}  // namespace detail

/// What an expert may take as one input and may return: tensors and tuples of them, and nestings that only its sample
/// or its first outputs tell.
template <class T>
concept ModuleValue = TensorValue<T> || std::same_as<std::remove_cvref_t<T>, TensorTree>;
template <class... Ts>
inline constexpr bool detail::all_module_values<std::tuple<Ts...>> = sizeof...(Ts) > 0 && (ModuleValue<Ts> && ...);

/// A torch module, or a holder of one, whose `forward` takes and returns tensors, tuples of them or TensorTrees.
template <class M>
concept ExpertModule = requires {
  typename detail::module_of<M>;
  requires std::derived_from<detail::module_of<M>, torch::nn::Module>;
  typename detail::SignatureOf<decltype(&detail::module_of<M>::forward)>::Arguments;
  requires ModuleValue<typename detail::SignatureOf<decltype(&detail::module_of<M>::forward)>::Result>;
  requires detail::all_module_values<typename detail::SignatureOf<decltype(&detail::module_of<M>::forward)>::Arguments>;
};

/// One sample of each input: a value for the only one, or a tuple with a value for each.
template <class T>
concept ModuleSample = ModuleValue<T> || detail::all_module_values<std::remove_cvref_t<T>>;

/// `Expert<M>` describes M completely.
template <class M>
concept DescribedExpert = requires(const ExpertOptions& options) {
  { Expert<M>::name } -> std::convertible_to<std::string_view>;
  { Expert<M>::make(options) } -> std::convertible_to<M>;
  { Expert<M>::sample(options) } -> ModuleSample;
};

/// The name under which logs and listings show a module: its class without namespaces and without "Impl".
[[nodiscard]] inline std::string class_name_of(const torch::nn::Module& module) {
  std::string name = module.name();
  if (const auto colon = name.rfind("::"); colon != std::string::npos) name.erase(0, colon + 2);
  if (name.ends_with("Impl")) name.resize(name.size() - 4);
  return name;
}

}  // namespace skep::inline v0::moe
