// Schemas: what tensors an expert takes and gives, as it tells its clients and checks their requests by.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/codec/msgpack.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/moe/tensor/compression.hpp"
#include "skep/moe/tensor/tensor_tree.hpp"

namespace skep::inline v0::moe {

/// One tensor of a batch without the batch dimension (Hivemind's BatchTensorDescriptor).
struct BatchTensorDescriptor {
  std::vector<std::int64_t> size = {};               ///< of one sample
  std::optional<at::ScalarType> dtype = at::kFloat;  ///< nullopt: the expert does not say
  bool requires_grad = false;
  bool pin_memory = false;
  Compression compression = Compression::none;  ///< how clients should send it; any codec is read
  std::optional<std::string> device_type = "cpu";
  std::optional<std::int64_t> device_index = std::nullopt;

  /// The descriptor of a batch with at least one dimension.
  [[nodiscard]] static BatchTensorDescriptor of_batch(const Tensor& batch,
                                                      Compression compression = Compression::none) {
    return {batch.sizes().slice(1).vec(), batch.scalar_type(), batch.requires_grad(), false, compression, "cpu", {}};
  }
  /// A batch of zeros.
  [[nodiscard]] Tensor make_zeros(std::int64_t batch_size) const {
    std::vector<std::int64_t> shape{batch_size};
    shape.insert(shape.end(), size.begin(), size.end());
    return at::zeros(shape, dtype.value_or(at::kFloat));
  }
  /// Whether a tensor of this shape, batch included, and type is such a batch.
  [[nodiscard]] bool fits(at::IntArrayRef shape, at::ScalarType type) const noexcept {
    return shape.size() == size.size() + 1 && (!dtype || *dtype == type) && shape.slice(1) == at::IntArrayRef(size);
  }
  /// "float32[batch, 64]"
  [[nodiscard]] std::string to_string() const {
    std::string text(dtype ? name_of(*dtype) : "tensor");
    text += "[batch";
    for (const std::int64_t extent : size) text += ", " + std::to_string(extent);
    return text + "]";
  }

  friend bool operator==(const BatchTensorDescriptor&, const BatchTensorDescriptor&) = default;
};

using SchemaTree = Tree<BatchTensorDescriptor>;

/// "float32[16, 65]"
[[nodiscard]] inline std::string describe_tensor(at::IntArrayRef shape, at::ScalarType dtype) {
  std::string text(name_of(dtype));
  text += "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

/// What an expert takes and gives (Hivemind: the answer of rpc_info). The wire form is a MessagePack map; tuples,
/// lists and dictionaries stay what they are, since Python compares them.
struct ExpertSchema {
  SchemaTree args = {};                          ///< a tuple
  SchemaTree kwargs = SchemaTree::dict({}, {});  ///< a dictionary
  SchemaTree outputs = {};                       ///< a leaf or any nesting
  std::vector<std::string> keyword_names = {};   ///< of kwargs, in the order of the expert's parameters

  /// What a forward request holds: positional inputs, then keyword inputs by sorted name.
  [[nodiscard]] std::vector<BatchTensorDescriptor> inputs() const {
    auto all = args.flatten();
    kwargs.flatten_into(all);
    return all;
  }
  /// What a forward answer holds, and, after the inputs, the gradients of a backward request.
  [[nodiscard]] std::vector<BatchTensorDescriptor> flat_outputs() const { return outputs.flatten(); }

  /// The value of `ExpertInfo.serialized_info`.
  [[nodiscard]] Bytes encode() const;
  /// Reads a peer's. Unknown keys are skipped. @return errc::malformed (also for samples above 2 GiB),
  /// errc::truncated, errc::limit_exceeded (more than 1024 tensors), tensor_errc::unknown_dtype,
  /// tensor_errc::unknown_compression.
  [[nodiscard]] static Result<ExpertSchema> decode(BytesView bytes);
};

namespace detail {

inline constexpr std::size_t max_schema_tensors = 1024;

/// No peer makes us reserve more than 2 GiB for each sample by saying so.
inline constexpr std::int64_t max_sample_bytes = std::int64_t{1} << 31;

[[nodiscard]] inline bool is_moderate(const BatchTensorDescriptor& d) noexcept {
  auto room = max_sample_bytes / static_cast<std::int64_t>(at::elementSize(d.dtype.value_or(at::kDouble)));
  for (const std::int64_t extent : d.size) room /= std::max<std::int64_t>(extent, 1);
  return room > 0;
}

[[nodiscard]] inline codec::msgpack::Value value_of(const BatchTensorDescriptor& d) {
  using codec::msgpack::Value;
  codec::msgpack::Array size{Value()};
  for (const std::int64_t extent : d.size) size.emplace_back(extent);
  const Value dtype = d.dtype ? Value("torch." + std::string(name_of(*d.dtype))) : Value();
  const Value device_type = d.device_type ? Value(*d.device_type) : Value();
  const Value device_index = d.device_index ? Value(*d.device_index) : Value();
  const codec::msgpack::Map map{{"size", codec::msgpack::Tuple{std::move(size)}},
                                {"dtype", dtype},
                                {"layout", "torch.strided"},
                                {"requires_grad", d.requires_grad},
                                {"pin_memory", d.pin_memory},
                                {"compression", static_cast<std::int64_t>(d.compression)},
                                {"device_type", device_type},
                                {"device_index", device_index}};
  return codec::msgpack::Extension{codec::msgpack::descriptor_extension, codec::msgpack::encode(map)};
}

[[nodiscard]] inline codec::msgpack::Value value_of(const SchemaTree& tree) {
  if (tree.is_leaf()) return value_of(tree.leaf());
  if (tree.kind() == SchemaTree::Kind::dict) {
    codec::msgpack::Map map;
    for (std::size_t i = 0; i < tree.items().size(); ++i) map.emplace_back(tree.keys()[i], value_of(tree.items()[i]));
    return map;
  }
  codec::msgpack::Array items;
  for (const SchemaTree& item : tree.items()) items.push_back(value_of(item));
  if (tree.kind() == SchemaTree::Kind::list) return items;
  return codec::msgpack::Tuple{std::move(items)};
}

[[nodiscard]] inline Result<BatchTensorDescriptor> descriptor_of(BytesView data) {
  const auto map = codec::msgpack::decode(data, 8);
  if (!map) return map.error();
  BatchTensorDescriptor d;
  const auto* size = map->find("size");
  const auto* extents = size ? size->get_if<codec::msgpack::Tuple>() : nullptr;
  if (!extents || extents->items.empty() || !extents->items[0].is_nil()) return errc::malformed;
  for (std::size_t i = 1; i < extents->items.size(); ++i) {
    const auto* extent = extents->items[i].get_if<std::int64_t>();
    if (!extent || *extent < 0) return errc::malformed;
    d.size.push_back(*extent);
  }
  d.dtype.reset();
  if (const auto* dtype = map->find("dtype"); dtype && !dtype->is_nil()) {
    const auto* text = dtype->get_if<std::string>();
    if (!text || !text->starts_with("torch.")) return errc::malformed;
    const auto known = dtype_of_name(std::string_view(*text).substr(6));
    if (!known) return known.error();
    d.dtype = *known;
  }
  if (!is_moderate(d)) return errc::malformed;
  if (const auto* compression = map->find("compression")) {
    const auto* number = compression->get_if<std::int64_t>();
    if (!number) return errc::malformed;
    const auto known = compression_of_number(static_cast<std::uint64_t>(*number));
    if (!known) return known.error();
    d.compression = *known;
  }
  const auto flag = [&](const char* key) {
    const auto* value = map->find(key);
    const auto* set = value ? value->get_if<bool>() : nullptr;
    return set && *set;
  };
  d.requires_grad = flag("requires_grad");
  d.pin_memory = flag("pin_memory");
  d.device_type.reset();
  if (const auto* value = map->find("device_type")) {
    if (const auto* text = value->get_if<std::string>()) d.device_type = *text;
  }
  if (const auto* value = map->find("device_index")) {
    if (const auto* index = value->get_if<std::int64_t>()) d.device_index = *index;
  }
  return d;
}

/// Recurses as deep as the value is nested, which its reader bounds.
[[nodiscard]] inline Result<SchemaTree> tree_of_value(const codec::msgpack::Value& value, std::size_t& tensors) {
  if (const auto* leaf = value.get_if<codec::msgpack::Extension>()) {
    if (leaf->type != codec::msgpack::descriptor_extension) return errc::malformed;
    if (++tensors > max_schema_tensors) return errc::limit_exceeded;
    auto d = descriptor_of(leaf->data);
    if (!d) return d.error();
    return SchemaTree(*std::move(d));
  }
  std::vector<SchemaTree> items;
  if (const auto* map = value.get_if<codec::msgpack::Map>()) {
    std::vector<std::string> keys;
    for (const auto& [key, item] : *map) {
      const auto* text = key.get_if<std::string>();
      if (!text) return errc::malformed;
      auto tree = tree_of_value(item, tensors);
      if (!tree) return tree;
      keys.push_back(*text);
      items.push_back(*std::move(tree));
    }
    return SchemaTree::dict(std::move(keys), std::move(items));
  }
  const auto* tuple = value.get_if<codec::msgpack::Tuple>();
  const auto* array = tuple ? &tuple->items : value.get_if<codec::msgpack::Array>();
  if (!array) return errc::malformed;
  for (const auto& item : *array) {
    auto tree = tree_of_value(item, tensors);
    if (!tree) return tree;
    items.push_back(*std::move(tree));
  }
  return tuple ? SchemaTree::tuple(std::move(items)) : SchemaTree::list(std::move(items));
}

}  // namespace detail

inline Bytes ExpertSchema::encode() const {
  using codec::msgpack::Tuple;
  Tuple forward{{detail::value_of(args), detail::value_of(kwargs)}};
  Tuple names;
  for (const std::string& name : keyword_names) names.items.emplace_back(name);
  return codec::msgpack::encode(codec::msgpack::Map{{"forward_schema", std::move(forward)},
                                                    {"outputs_schema", detail::value_of(outputs)},
                                                    {"keyword_names", std::move(names)}});
}

inline Result<ExpertSchema> ExpertSchema::decode(BytesView bytes) {
  const auto info = codec::msgpack::decode(bytes);
  if (!info) return info.error();
  const auto* forward = info->find("forward_schema");
  const auto* outputs_value = info->find("outputs_schema");
  const auto* names = info->find("keyword_names");
  const auto* parts = forward ? forward->get_if<codec::msgpack::Tuple>() : nullptr;
  if (!parts || parts->items.size() != 2 || !outputs_value) return errc::malformed;
  ExpertSchema schema;
  std::size_t tensors = 0;
  for (const auto& [value, tree] :
       {std::pair{&parts->items[0], &schema.args}, std::pair{&parts->items[1], &schema.kwargs},
        std::pair{outputs_value, &schema.outputs}}) {
    auto read = detail::tree_of_value(*value, tensors);
    if (!read) return read.error();
    *tree = *std::move(read);
  }
  if (schema.args.is_leaf() || schema.kwargs.kind() != SchemaTree::Kind::dict) return errc::malformed;
  if (const auto* list = names ? names->get_if<codec::msgpack::Tuple>() : nullptr) {
    for (const auto& name : list->items) {
      const auto* text = name.get_if<std::string>();
      if (!text) return errc::malformed;
      schema.keyword_names.push_back(*text);
    }
  }
  return schema;
}

}  // namespace skep::inline v0::moe
