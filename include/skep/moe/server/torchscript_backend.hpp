// TorchScriptBackend: a TorchScript file served as an expert, so that models exported from Python need no C++.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/moe/server/computed_module.hpp"
#include "skep/moe/server/expert.hpp"
#include "skep/moe/server/pooled_backend.hpp"
#include "skep/moe/tensor/torch_script.hpp"

namespace skep::inline v0::moe {

/// Which file is served, and what its forward takes: a file tells how many inputs there are, but not their shapes.
struct TorchScriptOptions {
  std::string file = {};                        ///< what `torch.jit.script(module).save(file)` wrote, or a traced one
  bool trained = true;                          ///< false: in eval mode, its parameters never change
  std::vector<TensorTree> sample = {};          ///< one sample of each input; empty: a row of `hidden_dim` for each
  std::vector<std::string> keyword_names = {};  ///< those of its inputs, the last ones, that are given by name
};

namespace detail {

/// A tree as a value of the type that forward declares.
[[nodiscard]] inline c10::IValue script_value(const TensorTree& tree, const c10::TypePtr& type) {
  if (tree.is_leaf()) return tree.leaf();
  if (const auto list = type->cast<c10::ListType>()) {
    c10::impl::GenericList values(list->getElementType());
    for (const TensorTree& item : tree.items()) values.push_back(script_value(item, list->getElementType()));
    return values;
  }
  if (const auto dict = type->cast<c10::DictType>()) {
    c10::impl::GenericDict values(dict->getKeyType(), dict->getValueType());
    for (std::size_t i = 0; i < tree.items().size(); ++i) {
      if (tree.kind() != TensorTree::Kind::dict) break;
      values.insert(tree.keys()[i], script_value(tree.items()[i], dict->getValueType()));
    }
    return values;
  }
  std::vector<c10::IValue> values;
  const auto tuple = type->cast<c10::TupleType>();
  for (std::size_t i = 0; i < tree.items().size(); ++i) {
    const bool is_known = tuple && i < tuple->elements().size();
    values.push_back(script_value(tree.items()[i], is_known ? tuple->elements()[i] : c10::AnyType::get()));
  }
  return c10::ivalue::Tuple::create(std::move(values));
}
/// What forward returned. Throws errc::invalid_argument when it holds other things than tensors.
[[nodiscard]] inline TensorTree tree_of_script(const c10::IValue& value) {
  if (value.isTensor()) return value.toTensor();
  std::vector<TensorTree> items;
  if (value.isGenericDict()) {
    std::vector<std::string> keys;
    for (const auto& entry : value.toGenericDict()) {
      if (!entry.key().isString()) break;
      keys.push_back(entry.key().toStringRef());
      items.push_back(tree_of_script(entry.value()));
    }
    if (items.size() == value.toGenericDict().size()) return TensorTree::dict(std::move(keys), std::move(items));
  } else if (value.isTuple()) {
    for (const c10::IValue& item : value.toTupleRef().elements()) items.push_back(tree_of_script(item));
    return TensorTree::tuple(std::move(items));
  } else if (value.isList()) {
    for (const c10::IValue& item : value.toListRef()) items.push_back(tree_of_script(item));
    return TensorTree::list(std::move(items));
  }
  throw Error(errc::invalid_argument,
              "its forward returns " + value.type()->str() + ", not tensors in tuples, lists or dictionaries");
}

/// One sample of an input of which only the declared type is known. Throws errc::invalid_argument when that tells not
/// enough.
[[nodiscard]] inline TensorTree sample_of_type(const c10::Argument& argument, const c10::TypePtr& type,
                                               const ExpertOptions& options) {
  if (type->isSubtypeOf(*c10::TensorType::get())) return row(options.hidden_dim);
  const auto tuple = type->cast<c10::TupleType>();
  if (!tuple) {
    throw Error(errc::invalid_argument,
                "input \"" + argument.name() + "\" of its forward is " + type->str() + ": give a sample of it");
  }
  std::vector<TensorTree> items;
  for (const auto& element : tuple->elements()) items.push_back(sample_of_type(argument, element, options));
  return TensorTree::tuple(std::move(items));
}

/// A loaded file, called with flat tensors.
class ScriptModule {
 public:
  ScriptModule(torch::jit::Module module, const TorchScriptOptions& script, const BackendOptions& options)
      : module_(std::move(module)), keyword_names_(script.keyword_names) {
    const auto forward = module_.find_method("forward");
    if (!forward) throw Error(errc::invalid_argument, "it has no forward");
    const auto& declared = forward->function().getSchema().arguments();
    arguments_.assign(declared.begin() + 1, declared.end());  // without self
    std::vector<TensorTree> sample = script.sample;
    for (std::size_t i = sample.size(); i < arguments_.size() && script.sample.empty(); ++i) {
      if (arguments_[i].default_value()) break;
      sample.push_back(sample_of_type(arguments_[i], arguments_[i].type(), options.expert));
    }
    check(sample.size());
    const auto positional = static_cast<std::ptrdiff_t>(sample.size() - keyword_names_.size());
    std::vector<SchemaTree> trees;
    for (const TensorTree& one : sample) trees.push_back(schema_of_sample(one, options.compression));
    schema_.keyword_names = keyword_names_;
    schema_.args = SchemaTree::tuple({trees.begin(), trees.begin() + positional});
    schema_.kwargs = SchemaTree::dict(keyword_names_, {trees.begin() + positional, trees.end()});
  }

  [[nodiscard]] const ExpertSchema& schema() const noexcept { return schema_; }

  /// Computes the outputs of flat inputs in wire order.
  [[nodiscard]] TensorTree call(std::span<const Tensor> inputs) {
    const std::size_t split = schema_.args.leaf_count();
    const TensorTree args = *schema_.args.pack<Tensor>(inputs.first(split));
    const TensorTree kwargs = *schema_.kwargs.pack<Tensor>(inputs.subspan(split));
    std::vector<c10::IValue> positional;
    for (std::size_t i = 0; i < args.items().size(); ++i) {
      positional.push_back(script_value(args.items()[i], arguments_[i].type()));
    }
    std::unordered_map<std::string, c10::IValue> named;
    for (std::size_t i = 0; i < kwargs.items().size(); ++i) {
      const std::size_t position = position_of(kwargs.keys()[i]);
      named.emplace(kwargs.keys()[i], script_value(kwargs.items()[i], arguments_[position].type()));
    }
    return tree_of_script(module_.forward(std::move(positional), named));
  }

 private:
  [[nodiscard]] std::size_t position_of(const std::string& name) const {
    std::size_t i = 0;
    while (i < arguments_.size() && arguments_[i].name() != name) ++i;
    return i;
  }
  void check(std::size_t samples) const {
    const auto refuse = [](const std::string& sentence) { throw Error(errc::invalid_argument, sentence); };
    if (samples == 0) refuse("its forward takes no tensors");
    if (samples > arguments_.size() || keyword_names_.size() > samples) {
      refuse("its forward takes " + std::to_string(arguments_.size()) + " inputs, but " + std::to_string(samples) +
             " samples and " + std::to_string(keyword_names_.size()) + " names are given");
    }
    for (const std::string& name : keyword_names_) {
      if (position_of(name) == arguments_.size()) refuse("its forward has no input \"" + printable(name) + "\"");
    }
  }

  torch::jit::Module module_;
  std::vector<std::string> keyword_names_;
  std::vector<c10::Argument> arguments_;
  ExpertSchema schema_;
};

}  // namespace detail

/// Serves a TorchScript file, scripted or traced, as ModuleBackend serves a module: inputs and outputs are tensors or
/// tuples, lists and dictionaries of them. It is trained with the optimizer of the options, or answers only.
class TorchScriptBackend final : public PooledBackend {
 public:
  /// Throws errc::invalid_argument with a sentence when the file cannot be read, or cannot compute a batch of the
  /// samples.
  explicit TorchScriptBackend(const std::string& uid, const TorchScriptOptions& script,
                              const BackendOptions& options = {})
      : TorchScriptBackend(uid, load(script), script, options) {}

  /// The module itself; not while requests are computed.
  [[nodiscard]] torch::jit::Module& module() noexcept { return module_; }

 private:
  TorchScriptBackend(const std::string& uid, const torch::jit::Module& module, const TorchScriptOptions& script,
                     BackendOptions options)
      : PooledBackend(uid, describe(uid, module, script, options), with_training(std::move(options), script.trained)),
        module_(module) {}

  [[nodiscard]] static torch::jit::Module load(const TorchScriptOptions& script) {
    try {
      auto module = torch::jit::load(script.file);
      module.train(script.trained);
      for (Tensor parameter : module.parameters()) {
        if (!script.trained) parameter.requires_grad_(false);
      }
      return module;
    } catch (const c10::Error& e) {
      throw Error(errc::invalid_argument,
                  "cannot read the TorchScript file " + printable(script.file) + ": " + printable(detail::what_of(e)));
    }
  }

  [[nodiscard]] static ComputedModule describe(const std::string& uid, const torch::jit::Module& module,
                                               const TorchScriptOptions& script, const BackendOptions& options) {
    ComputedModule described;
    if (const auto name = module.type()->name()) described.class_name = name->name();
    for (const auto& parameter : module.named_parameters())
      described.parameters.insert(parameter.name, parameter.value);
    for (const auto& buffer : module.named_buffers()) described.buffers.insert(buffer.name, buffer.value);
    try {
      detail::ScriptModule callable(module, script, options);
      described.schema = callable.schema();
      described.schema.outputs = detail::schema_of_outputs(
          uid, described, [&](std::span<const Tensor> inputs) { return callable.call(inputs); }, options.compression);
      described.compute = [callable = std::move(callable)](std::span<const Tensor> inputs) mutable {
        return callable.call(inputs).flatten();
      };
      check_buffers(module, described);
    } catch (const Error& e) {
      throw detail::in_context("the TorchScript file " + printable(script.file), e);
    }
    return described;
  }
  /// A script may put another tensor in the place of a buffer, which then could be neither saved nor put back.
  static void check_buffers(const torch::jit::Module& module, const ComputedModule& described) {
    for (const auto& buffer : module.named_buffers()) {
      if (described.buffers[buffer.name].is_same(buffer.value)) continue;
      throw Error(errc::invalid_argument, "its forward replaces the buffer \"" + buffer.name +
                                              "\"; let it be changed in place, as add_ and copy_ do");
    }
  }
  [[nodiscard]] static BackendOptions with_training(BackendOptions options, bool trained) {
    if (trained) return options;
    options.optimizer = no_optimizer();
    options.schedule = {};
    options.clip_grad_norm.reset();
    return options;
  }

  torch::jit::Module module_;
};

}  // namespace skep::inline v0::moe
