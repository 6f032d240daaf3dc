// Pickler: writes what torch.save writes for state dictionaries: dictionaries, lists, tuples, numbers, texts, tensors.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe {

/// A dictionary of any keys and values.
[[nodiscard]] inline c10::impl::GenericDict any_dict() {
  return c10::impl::GenericDict(c10::AnyType::get(), c10::AnyType::get());
}

namespace detail {

/// The opcodes of protocol 2 that state dictionaries need.
enum class PickleOp : std::uint8_t {
  append = 'a',
  appends = 'e',
  binary_float = 'G',
  binary_get = 'h',
  binary_int = 'J',
  binary_int1 = 'K',
  binary_int2 = 'M',
  binary_put = 'q',
  binary_unicode = 'X',
  build = 'b',
  empty_dict = '}',
  empty_list = ']',
  empty_tuple = ')',
  global = 'c',
  long1 = 0x8a,
  long_binary_get = 'j',
  long_binary_put = 'r',
  mark = '(',
  new_false = 0x89,
  new_true = 0x88,
  none = 'N',
  persistent_id = 'Q',
  protocol = 0x80,
  reduce = 'R',
  set_item = 's',
  set_items = 'u',
  stop = '.',
  tuple = 't',
  tuple1 = 0x85,
  tuple2 = 0x86,
  tuple3 = 0x87,
};

struct StorageName {
  at::ScalarType dtype;
  const char* name;  // of the class in Python's module torch
};
inline constexpr StorageName storage_names[] = {
    {at::kFloat, "FloatStorage"},       {at::kDouble, "DoubleStorage"}, {at::kHalf, "HalfStorage"},
    {at::kBFloat16, "BFloat16Storage"}, {at::kLong, "LongStorage"},     {at::kInt, "IntStorage"},
    {at::kShort, "ShortStorage"},       {at::kChar, "CharStorage"},     {at::kByte, "ByteStorage"},
    {at::kBool, "BoolStorage"},
};

}  // namespace detail

/// Writes one value in protocol 2; tensors by reference to their storages, which go into other records of the file.
/// Python reads it with `torch.load(file, weights_only=True)`. Not thread-safe.
class Pickler {
 public:
  /// Throws errc::invalid_argument for what has no form here. Recurses as deep as the value is nested.
  explicit Pickler(const c10::IValue& whole) {
    bytes_ = {static_cast<std::uint8_t>(PickleOp::protocol), 2};
    value(whole);
    op(PickleOp::stop);
  }

  [[nodiscard]] const Bytes& bytes() const noexcept { return bytes_; }
  /// The tensors themselves, contiguous, by the keys "0", "1", ...
  [[nodiscard]] const std::vector<Tensor>& storages() const noexcept { return storages_; }

 private:
  using PickleOp = detail::PickleOp;

  void value(const c10::IValue& v) {
    if (v.isNone()) return op(PickleOp::none);
    if (v.isBool()) return op(v.toBool() ? PickleOp::new_true : PickleOp::new_false);
    if (v.isInt()) return integer(v.toInt());
    if (v.isDouble()) return real(v.toDouble());
    if (v.isString()) return text(v.toStringRef());
    if (v.isTensor()) return tensor(v.toTensor());
    if (v.isGenericDict()) {
      op(PickleOp::empty_dict);
      op(PickleOp::mark);
      for (const auto& item : v.toGenericDict()) {
        value(item.key());
        value(item.value());
      }
      return op(PickleOp::set_items);
    }
    if (v.isTuple()) {
      op(PickleOp::mark);
      for (const auto& item : v.toTupleRef().elements()) value(item);
      return op(PickleOp::tuple);
    }
    if (v.isList()) {
      op(PickleOp::empty_list);
      op(PickleOp::mark);
      for (const auto& item : v.toListRef()) value(item);
      return op(PickleOp::appends);
    }
    throw Error(errc::invalid_argument, "a value of type " + v.tagKind() + " cannot be pickled");
  }

  void op(PickleOp code) { bytes_.push_back(static_cast<std::uint8_t>(code)); }
  void little_endian(std::uint64_t number, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) bytes_.push_back(static_cast<std::uint8_t>(number >> (8 * i)));
  }
  void integer(std::int64_t number) {
    if (number >= std::numeric_limits<std::int32_t>::min() && number <= std::numeric_limits<std::int32_t>::max()) {
      op(PickleOp::binary_int);
      return little_endian(static_cast<std::uint64_t>(number), 4);
    }
    op(PickleOp::long1);
    bytes_.push_back(8);
    little_endian(static_cast<std::uint64_t>(number), 8);
  }
  void real(double number) {
    op(PickleOp::binary_float);  // the only number that is big-endian
    const auto bits = std::bit_cast<std::uint64_t>(number);
    for (int shift = 56; shift >= 0; shift -= 8) bytes_.push_back(static_cast<std::uint8_t>(bits >> shift));
  }
  void text(std::string_view words) {
    op(PickleOp::binary_unicode);
    little_endian(words.size(), 4);
    append(bytes_, as_bytes(words));
  }
  void global(std::string_view module_and_name) {
    op(PickleOp::global);
    append(bytes_, as_bytes(module_and_name));
  }
  void sizes(at::IntArrayRef numbers) {
    op(PickleOp::mark);
    for (const std::int64_t number : numbers) integer(number);
    op(PickleOp::tuple);
  }
  /// torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks)
  void tensor(const Tensor& given) {
    const Tensor whole = given.detach().cpu().contiguous();
    const char* name = nullptr;
    for (const auto& known : detail::storage_names) {
      if (known.dtype == whole.scalar_type()) name = known.name;
    }
    if (name == nullptr) throw Error(errc::invalid_argument, "a tensor of its type cannot be pickled");
    global("torch._utils\n_rebuild_tensor_v2\n");
    op(PickleOp::mark);
    op(PickleOp::mark);
    text("storage");
    global("torch\n" + std::string(name) + "\n");
    text(std::to_string(storages_.size()));
    text("cpu");
    integer(whole.numel());
    op(PickleOp::tuple);
    op(PickleOp::persistent_id);
    integer(0);
    sizes(whole.sizes());
    sizes(whole.strides());
    op(PickleOp::new_false);
    global("collections\nOrderedDict\n");
    op(PickleOp::empty_tuple);
    op(PickleOp::reduce);
    op(PickleOp::tuple);
    op(PickleOp::reduce);
    storages_.push_back(whole);
  }

  Bytes bytes_;
  std::vector<Tensor> storages_;
};

}  // namespace skep::inline v0::moe
