// Expert<M>: all that describes a class of experts, written by whoever brings a module of his own.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "skep/moe/tensor/signature.hpp"
#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe {

/// What a class of experts is made from; the same for all experts of one server.
struct ExpertOptions {
  std::int64_t hidden_dim = 1024;  ///< the main width, features of one sample
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
/// `sample` gives one sample of each input of `forward`, without the batch dimension: a tensor or a tuple. With a
/// static array `keyword_names` the last parameters of `forward` are keyword inputs of these names.
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
}  // namespace detail

/// A torch module, or a holder of one, whose `forward` takes and returns tensors or tuples of them.
template <class M>
concept ExpertModule = requires {
  typename detail::module_of<M>;
  requires std::derived_from<detail::module_of<M>, torch::nn::Module>;
  requires TensorSignature<decltype(&detail::module_of<M>::forward)>;
};

/// `Expert<M>` describes M completely.
template <class M>
concept DescribedExpert = requires(const ExpertOptions& options) {
  { Expert<M>::name } -> std::convertible_to<std::string_view>;
  { Expert<M>::make(options) } -> std::convertible_to<M>;
  { Expert<M>::sample(options) } -> TensorValue;
};

/// The name under which logs and listings show a module: its class without namespaces and without "Impl".
[[nodiscard]] inline std::string class_name_of(const torch::nn::Module& module) {
  std::string name = module.name();
  if (const auto colon = name.rfind("::"); colon != std::string::npos) name.erase(0, colon + 2);
  if (name.ends_with("Impl")) name.resize(name.size() - 4);
  return name;
}

}  // namespace skep::inline v0::moe
