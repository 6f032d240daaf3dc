// The opening words of a stream: the header and the protocol's name, said by both sides in the same bytes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "skep/core/bytes.hpp"
#include "skep/core/result.hpp"
#include "skep/p2p/error.hpp"
#include "skep/p2p/multistream.hpp"

namespace skep::inline v0::p2p {

/// What a caller writes before the protocol's own bytes, in the same frame, and what the callee echoes.
[[nodiscard]] inline Bytes protocol_greeting(std::string_view protocol) {
  Bytes out;
  out.reserve(24 + protocol.size());
  append_multistream_token(out, multistream_header);
  append_multistream_token(out, protocol);
  return out;
}

/// Checks that the answer to a pipelined greeting is its echo, in pieces of any size and without a copy.
class GreetingReader {
 public:
  [[nodiscard]] bool done(BytesView greeting) const noexcept { return matched_ == greeting.size(); }

  /// @return how many bytes of `in` belong to the echo; errc::protocol_not_supported, errc::negotiation_failed
  [[nodiscard]] Result<std::size_t> receive(BytesView greeting, BytesView in) noexcept {
    const BytesView expected = greeting.subspan(matched_);
    const std::size_t n = std::min(expected.size(), in.size());
    const auto differ = std::mismatch(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(n), expected.begin()).first;
    if (differ == in.begin() + static_cast<std::ptrdiff_t>(n)) {
      matched_ += n;
      return n;
    }
    constexpr std::size_t header_token = multistream_header.size() + 2;
    const std::size_t at = matched_ + static_cast<std::size_t>(differ - in.begin());
    // the only other answer that is allowed after the header: 03 'n' 'a' 0a
    if (at == header_token && *differ == multistream_refusal.size() + 1) return errc::protocol_not_supported;
    return errc::negotiation_failed;
  }

 private:
  std::size_t matched_ = 0;
};

}  // namespace skep::inline v0::p2p
