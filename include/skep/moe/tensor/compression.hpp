// Compression: codecs and element types by their wire names, which go together, and how many bytes they make.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/core/result.hpp"
#include "skep/moe/tensor/codecs/blockwise.hpp"
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

/// Whether a codec takes an element type: NONE takes all, the others floating-point numbers, but those of 16 bits not
/// bfloat16, whose range they do not have. @return not_floating, not_for_bfloat16
[[nodiscard]] inline Result<void> takes(Compression codec, at::ScalarType dtype) noexcept {
  if (codec == Compression::none) return {};
  if (!at::isFloatingType(dtype)) return tensor_errc::not_floating;
  const bool is_16bit = codec == Compression::float16 || codec == Compression::meanstd_16bit;
  if (is_16bit && dtype == at::kBFloat16) return tensor_errc::not_for_bfloat16;
  return {};
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
  /// How many rows of the last dimension there are; nullopt without dimensions. `numel()` must have a value.
  [[nodiscard]] std::optional<std::int64_t> rows() const noexcept {
    if (size.empty()) return {};
    return std::accumulate(size.begin(), size.end() - 1, std::int64_t{1}, std::multiplies<>());
  }
};

/// The 8-bit codecs have codebooks of so many float32 values, no fewer and no more.
inline constexpr std::size_t codebook_size = 256;

/// How many bytes the buffer of a whole tensor has. bfloat16 travels as float32 from Hivemind's default setting and as
/// two bytes otherwise: `legacy_bfloat16` says which is meant.
/// @return limit_exceeded, or what `takes` says, or not_for_scalars for MEANSTD_16BIT without a dimension
[[nodiscard]] inline Result<std::size_t> buffer_size(const TensorHeader& header, bool legacy_bfloat16 = true) noexcept {
  const auto count = header.numel();
  if (!count) return errc::limit_exceeded;
  if (const auto can = takes(header.compression, header.dtype); !can) return can.error();
  const auto elements = static_cast<std::size_t>(*count);
  constexpr std::size_t codebook = sizeof(std::int64_t) + codebook_size * sizeof(float);
  switch (header.compression) {
    case Compression::none:
      if (header.dtype == at::kBFloat16) return elements * (legacy_bfloat16 ? 4 : 2);
      return elements * at::elementSize(header.dtype);
    case Compression::float16: return elements * 2;
    case Compression::meanstd_16bit: {
      const auto rows = header.rows();
      if (!rows) return tensor_errc::not_for_scalars;
      return elements * 2 + static_cast<std::size_t>(*rows) * 2 * sizeof(float);
    }
    case Compression::quantile_8bit:
    case Compression::uniform_8bit: return codebook + elements;
    case Compression::blockwise_8bit:
      return sizeof(std::int64_t) + codecs::blocks_of(elements) * sizeof(float) + codebook + elements;
  }
  return tensor_errc::unknown_compression;
}

}  // namespace skep::inline v0::moe
