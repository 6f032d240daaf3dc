// Tensor codecs: element types and codecs by their wire names, a tensor to the bytes of its buffer and back.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/core/result.hpp"
#include "skep/moe/tensor/error.hpp"
#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe {

/// How a tensor's elements are written; the numbers of Hivemind's CompressionType.
enum class Compression : std::uint8_t {
  none = 0,
  meanstd_16bit = 1,
  float16 = 2,
  quantile_8bit = 3,
  uniform_8bit = 4,
  blockwise_8bit = 5,
};

namespace detail {
inline constexpr std::array<std::string_view, 6> compression_names{"NONE",          "MEANSTD_16BIT", "FLOAT16",
                                                                   "QUANTILE_8BIT", "UNIFORM_8BIT",  "BLOCKWISE_8BIT"};
inline constexpr std::array<std::pair<at::ScalarType, std::string_view>, 12> dtype_names{
    {{at::kFloat, "float32"},
     {at::kDouble, "float64"},
     {at::kHalf, "float16"},
     {at::kBFloat16, "bfloat16"},
     {at::kLong, "int64"},
     {at::kInt, "int32"},
     {at::kShort, "int16"},
     {at::kChar, "int8"},
     {at::kByte, "uint8"},
     {at::kBool, "bool"},
     {at::kComplexFloat, "complex64"},
     {at::kComplexDouble, "complex128"}}};
}  // namespace detail

/// The codec's name as users and flags write it ("FLOAT16").
[[nodiscard]] inline std::string_view name_of(Compression codec) noexcept {
  return detail::compression_names[static_cast<std::size_t>(codec)];
}
/// @return tensor_errc::unknown_compression for what is none of the six names.
[[nodiscard]] inline Result<Compression> compression_of_name(std::string_view name) noexcept {
  for (std::size_t i = 0; i < detail::compression_names.size(); ++i) {
    if (detail::compression_names[i] == name) return static_cast<Compression>(i);
  }
  return tensor_errc::unknown_compression;
}
[[nodiscard]] inline Result<Compression> compression_of_number(std::uint64_t number) noexcept {
  if (number >= detail::compression_names.size()) return tensor_errc::unknown_compression;
  return static_cast<Compression>(number);
}
/// Whether this build can write and read the codec, and if not, the error that names it.
[[nodiscard]] inline Result<void> supported(Compression codec) noexcept {
  switch (codec) {
    case Compression::none:
    case Compression::float16: return {};
    case Compression::meanstd_16bit: return tensor_errc::no_meanstd_16bit;
    case Compression::quantile_8bit: return tensor_errc::no_quantile_8bit;
    case Compression::uniform_8bit: return tensor_errc::no_uniform_8bit;
    case Compression::blockwise_8bit: return tensor_errc::no_blockwise_8bit;
  }
  return tensor_errc::unknown_compression;
}

/// The wire name of an element type ("float32"); empty for types that do not travel.
[[nodiscard]] inline std::string_view name_of(at::ScalarType dtype) noexcept {
  for (const auto& [type, name] : detail::dtype_names) {
    if (type == dtype) return name;
  }
  return {};
}
[[nodiscard]] inline Result<at::ScalarType> dtype_of_name(std::string_view name) noexcept {
  for (const auto& [type, known] : detail::dtype_names) {
    if (known == name) return type;
  }
  return tensor_errc::unknown_dtype;
}

/// What a tensor's message says about it besides its bytes (Hivemind's runtime.proto, Tensor).
struct TensorHeader {
  std::vector<std::int64_t> size;  ///< all dimensions, the batch first
  at::ScalarType dtype = at::kFloat;
  Compression compression = Compression::none;
  bool requires_grad = false;
  std::uint32_t chunks = 0;  ///< of a stream: in how many pieces the buffer comes; only informational

  /// @return nullopt when the product does not fit 62 bits.
  [[nodiscard]] std::optional<std::int64_t> numel() const noexcept {
    std::int64_t count = 1;
    for (const std::int64_t extent : size) {
      if (extent < 0 || __builtin_mul_overflow(count, extent, &count) || count >= (std::int64_t{1} << 58)) return {};
    }
    return count;
  }
};

/// How many bytes the buffer of a whole tensor has. bfloat16 travels as float32 from Hivemind's default setting and as
/// two bytes otherwise: `legacy_bfloat16` says which is meant.
[[nodiscard]] inline Result<std::size_t> buffer_size(const TensorHeader& header, bool legacy_bfloat16 = true) noexcept {
  const auto count = header.numel();
  if (!count) return errc::limit_exceeded;
  if (const auto can = supported(header.compression); !can) return can.error();
  const auto elements = static_cast<std::size_t>(*count);
  if (header.compression == Compression::float16) return elements * 2;
  if (header.dtype == at::kBFloat16) return elements * (legacy_bfloat16 ? 4 : 2);
  return elements * at::elementSize(header.dtype);
}

/// The buffer of a tensor: a contiguous tensor on the CPU whose storage holds exactly the bytes to send. It shares the
/// storage of `tensor` where nothing needs to be converted. Thread: any; not differentiable.
/// @return not_floating or not_for_bfloat16 when the codec does not take the element type, unknown_dtype, no_...
[[nodiscard]] inline Result<Tensor> encode(const Tensor& tensor, Compression codec) {
  if (const auto can = supported(codec); !can) return can.error();
  if (name_of(tensor.scalar_type()).empty()) return tensor_errc::unknown_dtype;
  const at::NoGradGuard no_grad;
  Tensor values = tensor.is_cpu() ? tensor : tensor.cpu();
  if (codec == Compression::float16) {
    if (!values.is_floating_point()) return tensor_errc::not_floating;
    if (values.scalar_type() == at::kBFloat16) return tensor_errc::not_for_bfloat16;
    constexpr double largest = 65504;
    if (values.scalar_type() != at::kHalf) values = values.clamp(-largest, largest).to(at::kHalf);
  } else if (values.scalar_type() == at::kBFloat16) {
    values = values.to(at::kFloat);
  }
  if (!values.is_contiguous()) values = values.contiguous();
  return values;
}

/// The tensor that a whole buffer stands for; shares the buffer's storage where nothing needs to be converted.
/// @param buffer  uint8, one dimension, as long as the message's bytes, with LibTorch's alignment of 64
[[nodiscard]] inline Result<Tensor> decode(const TensorHeader& header, const Tensor& buffer) {
  const auto bytes = static_cast<std::size_t>(buffer.numel());
  const auto expected = buffer_size(header);
  if (!expected) return expected.error();
  const bool is_float = at::isFloatingType(header.dtype);
  const bool short_bfloat16 =
      header.dtype == at::kBFloat16 && header.compression == Compression::none && bytes * 2 == *expected;
  if (bytes != *expected && !short_bfloat16) return tensor_errc::wrong_size;
  if (header.requires_grad && !is_float && !at::isComplexType(header.dtype)) return tensor_errc::not_floating;

  const at::NoGradGuard no_grad;
  at::ScalarType stored = header.dtype;
  if (header.compression == Compression::float16) {
    if (!is_float) return tensor_errc::not_floating;
    if (header.dtype == at::kBFloat16) return tensor_errc::not_for_bfloat16;
    stored = at::kHalf;
  } else if (header.dtype == at::kBFloat16 && !short_bfloat16) {
    stored = at::kFloat;
  }
  Tensor tensor;
  if (bytes == 0) {
    tensor = at::empty(header.size, stored);
  } else if (stored == at::kBool) {
    tensor = buffer.ne(0).view(header.size);  // a byte above 1 is no bool
  } else {
    tensor = buffer.view(stored).view(header.size);
  }
  if (stored != header.dtype) tensor = tensor.to(header.dtype);
  if (header.requires_grad) tensor.requires_grad_();
  return tensor;
}

}  // namespace skep::inline v0::moe
