// Tensor codecs: a tensor to the bytes of its buffer and back, for every codec and element type of Hivemind's.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>

#include "skep/core/endian.hpp"
#include "skep/core/result.hpp"
#include "skep/moe/tensor/codecs/blockwise.hpp"
#include "skep/moe/tensor/codecs/codebook.hpp"
#include "skep/moe/tensor/codecs/half.hpp"
#include "skep/moe/tensor/codecs/meanstd.hpp"
#include "skep/moe/tensor/codecs/quantile.hpp"
#include "skep/moe/tensor/codecs/uniform.hpp"
#include "skep/moe/tensor/compression.hpp"
#include "skep/moe/tensor/error.hpp"
#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe {

namespace detail {
[[nodiscard]] inline std::uint8_t* bytes_in(const Tensor& buffer) {
  return static_cast<std::uint8_t*>(buffer.data_ptr());
}
template <class T>
[[nodiscard]] std::span<const T> elements_in(const Tensor& tensor) {
  return {static_cast<const T*>(tensor.data_ptr()), static_cast<std::size_t>(tensor.numel())};
}

/// What the lossy codecs work on. What is finite in float64 stays so.
[[nodiscard]] inline Tensor as_floats(Tensor values) {
  if (values.scalar_type() == at::kDouble) {
    constexpr double largest = std::numeric_limits<float>::max();
    values = at::where(values.isinf(), values, values.clamp(-largest, largest));
  }
  return values.to(at::kFloat).contiguous();
}

/// The buffer of MEANSTD_16BIT: all numbers, the means of the rows, their deviations.
inline void encode_meanstd(std::span<const float> values, std::size_t rows, std::uint8_t* to) {
  const std::size_t width = rows == 0 ? 0 : values.size() / rows;
  std::uint8_t* means = to + values.size() * sizeof(codecs::Half);
  std::uint8_t* deviations = means + rows * sizeof(float);
  auto* halves = reinterpret_cast<codecs::Half*>(to);
  for (std::size_t row = 0; row < rows; ++row) {
    const auto scale = codecs::encode_row(values.subspan(row * width, width), halves + row * width);
    store_le(means + row * sizeof(float), scale.mean);
    store_le(deviations + row * sizeof(float), scale.deviation);
  }
}
template <class T>
void decode_meanstd(const std::uint8_t* from, std::size_t rows, std::size_t width, T* to) {
  const auto* halves = reinterpret_cast<const codecs::Half*>(from);
  const std::uint8_t* means = from + rows * width * sizeof(codecs::Half);
  const std::uint8_t* deviations = means + rows * sizeof(float);
  for (std::size_t row = 0; row < rows; ++row) {
    const codecs::RowScale scale{load_le<float>(means + row * sizeof(float)),
                                 load_le<float>(deviations + row * sizeof(float))};
    codecs::decode_row(std::span(halves + row * width, width), scale, to + row * width);
  }
}

/// The buffer of QUANTILE_8BIT and UNIFORM_8BIT: int64 length of the codebook, codebook, codes.
inline void encode_codes(std::span<const float> values, Compression codec, std::uint8_t* to) {
  std::uint8_t* codebook = to + sizeof(std::int64_t);
  std::uint8_t* codes = codebook + sizeof(codecs::Codebook);
  store_le(to, static_cast<std::int64_t>(codebook_size));
  const codecs::Codebook means = codec == Compression::uniform_8bit ? codecs::encode_uniform(values, codes)
                                                                    : codecs::encode_quantile(values, codes);
  std::memcpy(codebook, means.data(), sizeof(means));
}
/// That of BLOCKWISE_8BIT: int64 number of blocks, int64 length of the codebook, the blocks' largest magnitudes,
/// codebook, codes.
inline void encode_blocks(std::span<const float> values, std::uint8_t* to) {
  const std::size_t blocks = codecs::blocks_of(values.size());
  auto* largest = reinterpret_cast<float*>(to + 2 * sizeof(std::int64_t));
  auto* codebook = reinterpret_cast<std::uint8_t*>(largest + blocks);
  store_le(to, static_cast<std::int64_t>(blocks));
  store_le(to + sizeof(std::int64_t), static_cast<std::int64_t>(codebook_size));
  const codecs::Codebook shares = codecs::encode_blockwise(values, largest, codebook + sizeof(shares));
  std::memcpy(codebook, shares.data(), sizeof(shares));
}

[[nodiscard]] inline Result<void> check_length(const std::uint8_t* at, std::size_t expected, tensor_errc otherwise) {
  if (load_le<std::uint64_t>(at) != expected) return otherwise;
  return {};
}
[[nodiscard]] inline codecs::Codebook read_codebook(const std::uint8_t* at) {
  codecs::Codebook codebook;
  std::memcpy(codebook.data(), at, sizeof(codebook));
  return codebook;
}
template <class T>
void look_up_in(const Tensor& table, std::span<const std::uint8_t> codes, const Tensor& to) {
  std::array<T, codebook_size> values;
  std::memcpy(values.data(), table.data_ptr(), sizeof(values));
  codecs::look_up(codes, values, static_cast<T*>(to.data_ptr()));
}
[[nodiscard]] inline Result<Tensor> decode_codes(const TensorHeader& header, const Tensor& buffer) {
  const std::uint8_t* from = bytes_in(buffer);
  if (const auto right = check_length(from, codebook_size, tensor_errc::wrong_codebook); !right) return right.error();
  const codecs::Codebook codebook = read_codebook(from + sizeof(std::int64_t));
  const auto codes = elements_in<std::uint8_t>(buffer).subspan(sizeof(std::int64_t) + sizeof(codebook));
  const Tensor table = torch::tensor(at::ArrayRef<float>(codebook)).to(header.dtype);
  Tensor tensor = at::empty(header.size, header.dtype);
  switch (at::elementSize(header.dtype)) {
    case 2: look_up_in<std::uint16_t>(table, codes, tensor); break;
    case 4: look_up_in<std::uint32_t>(table, codes, tensor); break;
    default: look_up_in<std::uint64_t>(table, codes, tensor); break;
  }
  return tensor;
}
[[nodiscard]] inline Result<Tensor> decode_blocks(const TensorHeader& header, const Tensor& buffer) {
  Tensor tensor = at::empty(header.size, at::kFloat);
  const std::size_t blocks = codecs::blocks_of(static_cast<std::size_t>(tensor.numel()));
  const std::uint8_t* from = bytes_in(buffer);
  if (const auto right = check_length(from, blocks, tensor_errc::wrong_blocks); !right) return right.error();
  from += sizeof(std::int64_t);
  if (const auto right = check_length(from, codebook_size, tensor_errc::wrong_codebook); !right) return right.error();
  const auto* largest = reinterpret_cast<const float*>(from + sizeof(std::int64_t));
  const auto* codebook = reinterpret_cast<const std::uint8_t*>(largest + blocks);
  const std::span codes(codebook + sizeof(codecs::Codebook), static_cast<std::size_t>(tensor.numel()));
  codecs::decode_blockwise(codes, largest, read_codebook(codebook), tensor.data_ptr<float>());
  return tensor.to(header.dtype);
}
[[nodiscard]] inline Tensor decode_halves(const TensorHeader& header, const Tensor& buffer) {
  if (buffer.numel() == 0) return at::empty(header.size, header.dtype);
  if (header.dtype != at::kFloat) return buffer.view(at::kHalf).view(header.size).to(header.dtype);
  Tensor tensor = at::empty(header.size, at::kFloat);
  codecs::expand(elements_in<codecs::Half>(buffer.view(at::kHalf)), tensor.data_ptr<float>());
  return tensor;
}
[[nodiscard]] inline Tensor decode_rows(const TensorHeader& header, const Tensor& buffer) {
  Tensor tensor = at::empty(header.size, header.dtype);
  const auto rows = static_cast<std::size_t>(*header.rows());
  const auto width = static_cast<std::size_t>(header.size.back());
  const std::uint8_t* from = bytes_in(buffer);
  switch (header.dtype) {
    case at::kDouble: decode_meanstd(from, rows, width, tensor.data_ptr<double>()); break;
    case at::kHalf: decode_meanstd(from, rows, width, static_cast<codecs::Half*>(tensor.data_ptr())); break;
    default: decode_meanstd(from, rows, width, tensor.data_ptr<float>()); break;
  }
  return tensor;
}
/// A tensor of another type and shape on the storage of a buffer of bytes, itself no view of it: two views of two kinds
/// would take 2 us, and what remembers them goes along with the tensor.
[[nodiscard]] inline Tensor on_storage_of(const Tensor& buffer, at::ScalarType dtype, at::IntArrayRef size) {
  const auto width = static_cast<std::int64_t>(at::elementSize(dtype));
  const bool is_aligned = buffer.storage_offset() % width == 0;
  const Tensor& bytes = is_aligned ? buffer : buffer.clone();
  Tensor tensor = at::detail::make_tensor<at::TensorImpl>(
      at::Storage(bytes.storage()), at::DispatchKeySet(at::DispatchKey::CPU), at::scalarTypeToTypeMeta(dtype));
  tensor.unsafeGetTensorImpl()->set_storage_offset(bytes.storage_offset() / width);
  tensor.unsafeGetTensorImpl()->set_sizes_contiguous(size);
  return tensor;
}
[[nodiscard]] inline Tensor decode_raw(const TensorHeader& header, const Tensor& buffer) {
  const auto bytes = static_cast<std::size_t>(buffer.numel());
  const auto elements = static_cast<std::size_t>(*header.numel());
  const bool is_long_bfloat16 = header.dtype == at::kBFloat16 && bytes == elements * 4;
  if (bytes == 0) return at::empty(header.size, header.dtype);
  if (header.dtype == at::kBool) return buffer.ne(0).view(header.size);  // a byte above 1 is no bool
  if (is_long_bfloat16) return on_storage_of(buffer, at::kFloat, header.size).to(header.dtype);
  return on_storage_of(buffer, header.dtype, header.size);
}
}  // namespace detail

/// The buffer of a tensor: a contiguous tensor on the CPU whose storage holds exactly the bytes to send. NONE shares
/// the storage of `tensor` where nothing needs to be converted, FLOAT16 that of a float16 tensor. Other element types
/// than float32 go through float32 in lossy codecs, as with Hivemind. The bytes depend on the values alone, not on the
/// processor. Infinite numbers and NaN come back as such from every codec and spoil no other number; finite ones beyond
/// a codec's range become its largest. Thread: any; not differentiable.
/// @return what `takes` and `buffer_size` say, unknown_dtype
[[nodiscard]] inline Result<Tensor> encode(const Tensor& tensor, Compression codec) {
  if (name_of(tensor.scalar_type()).empty()) return tensor_errc::unknown_dtype;
  const TensorHeader header{.size = tensor.sizes().vec(), .dtype = tensor.scalar_type(), .compression = codec};
  const auto size = buffer_size(header);
  if (!size) return size.error();
  const at::NoGradGuard no_grad;
  Tensor values = tensor.cpu().resolve_conj().resolve_neg();
  if (codec == Compression::none && values.scalar_type() == at::kBFloat16) values = values.to(at::kFloat);
  if (codec == Compression::none || (codec == Compression::float16 && values.scalar_type() == at::kHalf)) {
    return values.contiguous();
  }
  const Tensor floats = detail::as_floats(std::move(values));
  const auto from = detail::elements_in<float>(floats);
  Tensor buffer = at::empty({static_cast<std::int64_t>(*size)}, at::kByte);
  std::uint8_t* to = detail::bytes_in(buffer);
  switch (codec) {
    case Compression::float16: codecs::compress(from, 0, 1, reinterpret_cast<codecs::Half*>(to)); break;
    case Compression::meanstd_16bit: detail::encode_meanstd(from, static_cast<std::size_t>(*header.rows()), to); break;
    case Compression::blockwise_8bit: detail::encode_blocks(from, to); break;
    default: detail::encode_codes(from, codec, to); break;
  }
  return buffer;
}

/// The tensor that a whole buffer stands for, with the numbers that Hivemind reads from it; shares the buffer's storage
/// where nothing needs to be converted.
/// @param buffer  uint8, one dimension, as long as the message's bytes, with LibTorch's alignment of 64
/// @return what `buffer_size` says, wrong_size, wrong_codebook, wrong_blocks
[[nodiscard]] inline Result<Tensor> decode(const TensorHeader& header, const Tensor& buffer) {
  const auto bytes = static_cast<std::size_t>(buffer.numel());
  const auto expected = buffer_size(header);
  if (!expected) return expected.error();
  const bool is_short_bfloat16 =
      header.dtype == at::kBFloat16 && header.compression == Compression::none && bytes * 2 == *expected;
  if (bytes != *expected && !is_short_bfloat16) return tensor_errc::wrong_size;
  const bool takes_gradient = at::isFloatingType(header.dtype) || at::isComplexType(header.dtype);
  if (header.requires_grad && !takes_gradient) return tensor_errc::not_floating;

  const at::NoGradGuard no_grad;
  const auto decoded = [&]() -> Result<Tensor> {
    switch (header.compression) {
      case Compression::none: return detail::decode_raw(header, buffer);
      case Compression::float16: return detail::decode_halves(header, buffer);
      case Compression::meanstd_16bit: return detail::decode_rows(header, buffer);
      case Compression::blockwise_8bit: return detail::decode_blocks(header, buffer);
      default: return detail::decode_codes(header, buffer);
    }
  }();
  if (decoded && header.requires_grad) (*decoded).requires_grad_();
  return decoded;
}

}  // namespace skep::inline v0::moe
