// Base64 with padding (RFC 4648, section 4), in which keys and signatures travel as text.
#pragma once

#include <sodium.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"

namespace skep::inline v0::crypto {

[[nodiscard]] inline std::string base64(BytesView bytes) {
  std::string text(sodium_base64_encoded_len(bytes.size(), sodium_base64_VARIANT_ORIGINAL), '\0');
  sodium_bin2base64(text.data(), text.size(), bytes.data(), bytes.size(), sodium_base64_VARIANT_ORIGINAL);
  text.pop_back();  // a terminating zero
  return text;
}

/// @return errc::malformed for other letters, missing padding, unused bits that are not zero
[[nodiscard]] inline Result<Bytes> from_base64(std::string_view text) {
  // libsodium 1.0.18 takes some bytes above ASCII for letters
  if (std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; })) {
    return errc::malformed;
  }
  Bytes bytes(text.size() / 4 * 3 + 3);
  std::size_t size = 0;
  const char* end = nullptr;
  if (sodium_base642bin(bytes.data(), bytes.size(), text.data(), text.size(), nullptr, &size, &end,
                        sodium_base64_VARIANT_ORIGINAL) != 0 ||
      end != text.data() + text.size()) {
    return errc::malformed;
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace skep::inline v0::crypto
