// words_of: the sentence that a call throws.
#pragma once

#include <exception>
#include <string>

namespace skep::test {

/// What a call throws, in words; empty when it throws nothing.
template <class Call>
[[nodiscard]] std::string words_of(Call call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace skep::test
