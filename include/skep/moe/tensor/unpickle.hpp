// Unpickler: reads the pickles of state dictionaries, and nothing that would have to be executed.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/moe/tensor/pickle.hpp"
#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe {

/// Reads what torch.save of Python or `Pickler` wrote, protocol 2. It makes values only: dictionaries (ordered ones,
/// too), lists, tuples, numbers, texts, tensors; a name of anything else that would have to be called is an error, so a
/// file cannot run code. Not thread-safe; once.
class Unpickler {
 public:
  /// The bytes of the storage with a key, uint8[n]; undefined when there is none.
  using Storages = std::function<Tensor(const std::string& key)>;

  Unpickler(BytesView bytes, Storages storages) : rest_(bytes), storages_(std::move(storages)) {}

  [[nodiscard]] Result<c10::IValue> read() {
    try {
      while (step()) {
      }
    } catch (const c10::Error&) {  // a value of another type than its place asks for
      return errc::malformed;
    }
    if (!done_ || stack_.size() != 1) return errc::malformed;
    return std::move(stack_.back());
  }

 private:
  using PickleOp = detail::PickleOp;
  /// @return whether to go on
  [[nodiscard]] bool step() {
    if (rest_.empty()) return false;
    const auto code = static_cast<PickleOp>(number(1));
    switch (code) {
      case PickleOp::stop: done_ = good_; return false;
      case PickleOp::protocol: good_ = number(1) == 2; break;
      case PickleOp::none: push({}); break;
      case PickleOp::new_true: push(true); break;
      case PickleOp::new_false: push(false); break;
      case PickleOp::binary_int: push(std::int64_t{static_cast<std::int32_t>(number(4))}); break;
      case PickleOp::binary_int1: push(static_cast<std::int64_t>(number(1))); break;
      case PickleOp::binary_int2: push(static_cast<std::int64_t>(number(2))); break;
      case PickleOp::long1: long_integer(); break;
      case PickleOp::binary_float: real(); break;
      case PickleOp::binary_unicode: push(std::string(as_text(take(number(4))))); break;
      case PickleOp::global: global(); break;
      case PickleOp::empty_dict: push(any_dict()); break;
      case PickleOp::empty_list: push(c10::impl::GenericList(c10::AnyType::get())); break;
      case PickleOp::empty_tuple: push(c10::ivalue::Tuple::create(std::vector<c10::IValue>{})); break;
      case PickleOp::mark: marks_.push_back(stack_.size()); break;
      case PickleOp::tuple: push(c10::ivalue::Tuple::create(since_mark())); break;
      case PickleOp::tuple1: push(c10::ivalue::Tuple::create(last(1))); break;
      case PickleOp::tuple2: push(c10::ivalue::Tuple::create(last(2))); break;
      case PickleOp::tuple3: push(c10::ivalue::Tuple::create(last(3))); break;
      case PickleOp::append: append_items(last(1)); break;
      case PickleOp::appends: append_items(since_mark()); break;
      case PickleOp::set_item: set_items(last(2)); break;
      case PickleOp::set_items: set_items(since_mark()); break;
      case PickleOp::binary_put: put(number(1)); break;
      case PickleOp::long_binary_put: put(number(4)); break;
      case PickleOp::binary_get: get(number(1)); break;
      case PickleOp::long_binary_get: get(number(4)); break;
      case PickleOp::persistent_id: storage(); break;
      case PickleOp::reduce: reduce(); break;
      case PickleOp::build: (void)last(1); break;  // the metadata of a state dictionary
      default: good_ = false;
    }
    return good_;
  }

  BytesView take(std::uint64_t size) {
    if (size > rest_.size()) {
      good_ = false;
      return {};
    }
    const BytesView piece = rest_.first(static_cast<std::size_t>(size));
    rest_ = rest_.subspan(piece.size());
    return piece;
  }
  std::uint64_t number(std::size_t size) {
    std::uint64_t value = 0;
    const BytesView piece = take(size);
    for (std::size_t i = 0; i < piece.size(); ++i) value |= std::uint64_t{piece[i]} << (8 * i);
    return value;
  }
  void long_integer() {
    const std::uint64_t size = number(1);
    if (size > 8) good_ = false;
    const auto bits = good_ ? number(static_cast<std::size_t>(size)) : 0;
    const bool negative = size > 0 && size < 8 && (bits >> (8 * size - 1)) != 0;
    push(static_cast<std::int64_t>(negative ? bits - (std::uint64_t{1} << (8 * size)) : bits));
  }
  void real() {
    std::uint64_t bits = 0;
    for (const std::uint8_t byte : take(8)) bits = bits << 8 | byte;
    push(std::bit_cast<double>(bits));
  }
  /// "module name", kept as a text until it is called.
  void global() {
    std::string name;
    for (int line = 0; line < 2; ++line) {
      const auto text = as_text(rest_);
      const std::size_t end = text.find('\n');
      if (end == std::string_view::npos) {
        good_ = false;
        return;
      }
      name += (line == 0 ? "" : " ") + std::string(text.substr(0, end));
      rest_ = rest_.subspan(end + 1);
    }
    push(std::move(name));
  }

  void push(c10::IValue value) { stack_.push_back(std::move(value)); }
  [[nodiscard]] std::vector<c10::IValue> last(std::size_t count) {
    if (count > stack_.size() - (marks_.empty() ? 0 : marks_.back())) {
      good_ = false;
      return std::vector<c10::IValue>(count);
    }
    const auto from = stack_.end() - static_cast<std::ptrdiff_t>(count);
    std::vector<c10::IValue> values(std::make_move_iterator(from), std::make_move_iterator(stack_.end()));
    stack_.erase(from, stack_.end());
    return values;
  }
  [[nodiscard]] std::vector<c10::IValue> since_mark() {
    if (marks_.empty()) {
      good_ = false;
      return {};
    }
    const std::size_t count = stack_.size() - marks_.back();
    auto values = last(count);
    marks_.pop_back();
    return values;
  }
  [[nodiscard]] c10::IValue top() {
    if (stack_.empty()) good_ = false;
    return stack_.empty() ? c10::IValue() : stack_.back();
  }
  void append_items(std::vector<c10::IValue> values) {
    auto list = top().toList();
    for (auto& value : values) list.push_back(std::move(value));
  }
  void set_items(std::vector<c10::IValue> values) {
    auto dict = top().toGenericDict();
    if (values.size() % 2 != 0) good_ = false;
    for (std::size_t i = 0; i + 1 < values.size(); i += 2) dict.insert_or_assign(values[i], values[i + 1]);
  }
  void put(std::uint64_t place) { memo_[place] = top(); }
  void get(std::uint64_t place) {
    const auto found = memo_.find(place);
    if (found == memo_.end()) {
      good_ = false;
    } else {
      push(found->second);
    }
  }

  /// ("storage", class, key, device, elements) becomes (bytes, class).
  void storage() {
    const auto id = last(1);
    const auto& parts = id[0].toTupleRef().elements();
    if (parts.size() != 5) {
      good_ = false;
      return;
    }
    const Tensor bytes = storages_(parts[2].toStringRef());
    if (!bytes.defined()) good_ = false;
    push(c10::ivalue::Tuple::create({bytes, parts[1]}));
  }
  void reduce() {
    const auto call = last(2);
    const std::string& name = call[0].toStringRef();
    const auto& arguments = call[1].toTupleRef().elements();
    if (name == "collections OrderedDict" && arguments.empty()) return push(any_dict());
    if (name == "torch._utils _rebuild_parameter" && !arguments.empty()) return push(arguments[0]);
    if (name != "torch._utils _rebuild_tensor_v2" || arguments.size() < 4) {
      good_ = false;
      return;
    }
    auto tensor = rebuild(arguments);
    if (!tensor) good_ = false;
    push(tensor.value_or(Tensor()));
  }
  [[nodiscard]] static std::optional<Tensor> rebuild(at::ArrayRef<c10::IValue> arguments) {
    const auto& storage = arguments[0].toTupleRef().elements();
    const std::int64_t offset = arguments[1].toInt();
    std::vector<std::int64_t> extents[2];
    for (std::size_t i = 0; i < 2; ++i) {
      for (const auto& extent : arguments[2 + i].toTupleRef().elements()) extents[i].push_back(extent.toInt());
    }
    const auto& [sizes, strides] = extents;
    if (offset < 0 || sizes.size() != strides.size() || sizes.size() > 16) return std::nullopt;
    for (const auto& known : detail::storage_names) {
      if (storage.size() != 2 || storage[1].toStringRef() != "torch " + std::string(known.name)) continue;
      const Tensor bytes = storage[0].toTensor();
      const auto room = bytes.numel() / static_cast<std::int64_t>(at::elementSize(known.dtype));
      std::int64_t end = offset;  // behind the last element
      bool empty = false;
      for (std::size_t i = 0; i < sizes.size(); ++i) {
        std::int64_t span = 0;
        if (sizes[i] < 0 || strides[i] < 0) return std::nullopt;
        if (sizes[i] == 0) empty = true;
        if (sizes[i] > 1 && __builtin_mul_overflow(sizes[i] - 1, strides[i], &span)) return std::nullopt;
        if (__builtin_add_overflow(end, span, &end)) return std::nullopt;
      }
      const auto options = at::TensorOptions().dtype(known.dtype);
      if (empty) return at::empty(sizes, options);
      if (end >= room) return std::nullopt;
      return at::empty({0}, options).set_(bytes.storage(), offset, sizes, strides);
    }
    return std::nullopt;
  }

  BytesView rest_;
  Storages storages_;
  std::vector<c10::IValue> stack_;
  std::vector<std::size_t> marks_;
  std::map<std::uint64_t, c10::IValue> memo_;
  bool good_ = true;
  bool done_ = false;
};

}  // namespace skep::inline v0::moe
