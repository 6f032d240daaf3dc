// Whether bytes are UTF-8: what is not must never reach code that believes it is text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "skep/core/bytes.hpp"

namespace skep::inline v0::codec {

/// As RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
[[nodiscard]] inline bool is_utf8(BytesView bytes) noexcept {
  const auto continues = [&](std::size_t i) { return i < bytes.size() && (bytes[i] & 0xc0U) == 0x80; };
  std::size_t i = 0;
  while (i < bytes.size()) {
    if (bytes.size() - i >= 8) {  // eight ASCII bytes at once
      std::uint64_t word;
      std::memcpy(&word, bytes.data() + i, sizeof(word));
      if ((word & 0x8080808080808080U) == 0) {
        i += 8;
        continue;
      }
    }
    const std::uint8_t lead = bytes[i];
    if (lead < 0x80) {
      ++i;
    } else if (lead >= 0xc2 && lead <= 0xdf) {
      if (!continues(i + 1)) return false;
      i += 2;
    } else if (lead >= 0xe0 && lead <= 0xef) {
      if (!continues(i + 1) || !continues(i + 2)) return false;
      if (lead == 0xe0 && bytes[i + 1] < 0xa0) return false;   // overlong
      if (lead == 0xed && bytes[i + 1] >= 0xa0) return false;  // surrogate
      i += 3;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      if (!continues(i + 1) || !continues(i + 2) || !continues(i + 3)) return false;
      if (lead == 0xf0 && bytes[i + 1] < 0x90) return false;   // overlong
      if (lead == 0xf4 && bytes[i + 1] >= 0x90) return false;  // above U+10FFFF
      i += 4;
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace skep::inline v0::codec
