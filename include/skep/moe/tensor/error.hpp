// What can be wrong with tensors that come from another peer.
#pragma once

#include <string_view>
#include <system_error>

#include "skep/core/error.hpp"

namespace skep::inline v0::moe {

/// Why a tensor, a schema or a message of tensors cannot be read or written.
enum class tensor_errc {
  unknown_dtype = 1,    ///< The name of the element type is none of LibTorch's.
  unknown_compression,  ///< The number of the codec is not assigned.
  not_floating,         ///< A lossy codec or requires_grad was given for whole numbers.
  not_for_bfloat16,     ///< A 16-bit codec was given for bfloat16, whose range it does not have.
  not_for_scalars,      ///< MEANSTD_16BIT was given for a tensor without dimensions.
  wrong_size,           ///< The buffer does not have as many bytes as its shape says.
  wrong_codebook,       ///< The codebook of an 8-bit codec does not have 256 values.
  wrong_blocks,         ///< BLOCKWISE_8BIT has another number of blocks than its shape makes.
  incomplete,           ///< The message or the next tensor came before all chunks of this one.
  header_missing,       ///< A chunk belongs to no tensor.
  wrong_structure,      ///< The tensors do not fit the nesting they were given for.
};

[[nodiscard]] constexpr std::string_view describe(tensor_errc e) noexcept {
  switch (e) {
    case tensor_errc::unknown_dtype: return "the tensor's element type is unknown";
    case tensor_errc::unknown_compression: return "the tensor's compression is unknown";
    case tensor_errc::not_floating: return "only floating-point tensors can be compressed or require gradients";
    case tensor_errc::not_for_bfloat16: return "the 16-bit compressions do not support bfloat16";
    case tensor_errc::not_for_scalars: return "the compression MEANSTD_16BIT needs a tensor with a dimension";
    case tensor_errc::wrong_size: return "the tensor's buffer does not have the size that its shape says";
    case tensor_errc::wrong_codebook: return "the tensor's codebook does not have 256 values";
    case tensor_errc::wrong_blocks: return "the tensor's number of blocks does not fit its shape";
    case tensor_errc::incomplete: return "the tensor is incomplete";
    case tensor_errc::header_missing:
      return "a chunk belongs to no tensor: its first part with shape and type is missing";
    case tensor_errc::wrong_structure: return "the number of tensors does not fit their structure";
  }
  return "unknown error";
}
[[nodiscard]] constexpr const char* category_name(tensor_errc) noexcept { return "skep.tensor"; }
[[nodiscard]] inline std::error_code make_error_code(tensor_errc e) noexcept { return make_enum_error(e); }

}  // namespace skep::inline v0::moe

template <>
struct std::is_error_code_enum<skep::moe::tensor_errc> : std::true_type {};
