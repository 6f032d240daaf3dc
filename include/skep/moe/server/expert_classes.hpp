// ExpertClasses: the classes of experts that a server was built with, found by name.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/moe/server/backend_options.hpp"
#include "skep/moe/server/expert.hpp"
#include "skep/moe/server/expert_backend.hpp"
#include "skep/moe/server/module_backend.hpp"

namespace skep::inline v0::moe {

/// A list of types, each described by `Expert<M>`, as a table by their names.
template <class... Experts>
class ExpertClasses {
  static_assert(sizeof...(Experts) > 0, "skep: a Server needs at least one class of experts");
  static_assert((ExpertModule<Experts> && ...),
                "skep: an expert's forward takes and returns tensors or tuples of tensors");
  static_assert((DescribedExpert<Experts> && ...),
                "skep: specialise skep::moe::Expert<M> with name, make(options) and sample(options)");

  static constexpr std::array<std::string_view, sizeof...(Experts)> names{std::string_view(Expert<Experts>::name)...};
  static constexpr bool names_differ() {
    for (std::size_t i = 0; i < names.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (names[i] == names[j]) return false;
      }
    }
    return true;
  }
  static_assert(names_differ(), "skep: two classes of experts of one Server have the same name");

 public:
  [[nodiscard]] static std::vector<std::string> all_names() { return {names.begin(), names.end()}; }

  /// The place of a class; an empty name is the first. Throws errc::invalid_argument for an unknown name.
  [[nodiscard]] static std::size_t index_of(std::string_view name) {
    if (name.empty()) return 0;
    const auto found = std::ranges::find(names, name);
    if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
    std::string known;
    for (const std::string_view one : names) known += (known.empty() ? "" : ", ") + std::string(one);
    throw Error(errc::invalid_argument,
                "\"" + printable(name) + "\" is no class of experts of this server; it has " + known);
  }

  /// Makes an expert of a class. Throws errc::invalid_argument for an unknown name, and what making throws.
  [[nodiscard]] static std::shared_ptr<ExpertBackend> make(std::string_view name, const std::string& uid,
                                                           const BackendOptions& options) {
    using Make = std::shared_ptr<ExpertBackend> (*)(const std::string&, const BackendOptions&);
    static constexpr std::array<Make, sizeof...(Experts)> table{
        [](const std::string& of, const BackendOptions& with) -> std::shared_ptr<ExpertBackend> {
          return std::make_shared<ModuleBackend<Experts>>(of, with);
        }...};
    return table[index_of(name)](uid, options);
  }
};

}  // namespace skep::inline v0::moe
