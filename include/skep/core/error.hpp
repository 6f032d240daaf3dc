// Errors: the exception types that users meet, and the one way in which a folder makes a category of its own codes.
#pragma once

#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace skep::inline v0 {

/// An enumeration that can be an error code: `describe(e)` gives its sentence, `category_name(e)` the folder's name.
/// Both are found by argument-dependent lookup; specialise `std::is_error_code_enum` beside them.
template <class E>
concept ErrorEnum = requires(E e) {
  { describe(e) } -> std::convertible_to<std::string_view>;
  { category_name(e) } -> std::convertible_to<const char*>;
};

/// The category of an `ErrorEnum`. Visible by default: a hidden copy in a shared library would compare unequal.
template <ErrorEnum E>
class __attribute__((visibility("default"))) EnumCategory final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return category_name(E{}); }
  [[nodiscard]] std::string message(int value) const override { return std::string(describe(static_cast<E>(value))); }

  [[nodiscard]] static const EnumCategory& instance() noexcept {
    static const EnumCategory category;
    return category;
  }
};

template <ErrorEnum E>
[[nodiscard]] std::error_code make_enum_error(E e) noexcept {
  return {static_cast<int>(e), EnumCategory<E>::instance()};
}

/// What can go wrong in any folder.
enum class errc {
  timed_out = 1,     ///< The deadline of the wait is over.
  cancelled,         ///< The caller, or the scope it belongs to, gave up.
  closed,            ///< The object was closed before or during the call.
  busy,              ///< A bounded queue or quota is full; try again later.
  limit_exceeded,    ///< A length, count or depth is above its limit.
  truncated,         ///< The bytes end before the value does.
  malformed,         ///< The bytes are not what the format allows.
  invalid_argument,  ///< The caller gave a value that the call does not take.
  wrong_thread,      ///< A blocking call was made from a thread that must not block.
  unreachable,       ///< No address of the peer could be connected.
  refused,           ///< The other side does not offer what was asked for.
  not_found,         ///< What was asked for does not exist.
  remote,            ///< The other side reported a failure of its own.
};

[[nodiscard]] constexpr std::string_view describe(errc e) noexcept {
  switch (e) {
    case errc::timed_out: return "the deadline is over";
    case errc::cancelled: return "the operation was cancelled";
    case errc::closed: return "closed";
    case errc::busy: return "busy, try again later";
    case errc::limit_exceeded: return "a limit is exceeded";
    case errc::truncated: return "the bytes end too early";
    case errc::malformed: return "malformed bytes";
    case errc::invalid_argument: return "invalid argument";
    case errc::wrong_thread: return "a blocking call from a thread that must not block";
    case errc::unreachable: return "unreachable";
    case errc::refused: return "refused";
    case errc::not_found: return "not found";
    case errc::remote: return "the remote side failed";
  }
  return "unknown error";
}
[[nodiscard]] constexpr const char* category_name(errc) noexcept { return "skep"; }
[[nodiscard]] inline std::error_code make_error_code(errc e) noexcept { return make_enum_error(e); }

/// What the sentence of every `Error` begins with.
inline constexpr std::string_view error_prefix = "skep: ";

/// A sentence as a part of a longer one.
[[nodiscard]] constexpr std::string_view without_prefix(std::string_view sentence) noexcept {
  if (sentence.starts_with(error_prefix)) sentence.remove_prefix(error_prefix.size());
  return sentence;
}

/// A failure on this side. `what()` is one sentence that says who, what and what to do, beginning with "skep: ".
class __attribute__((visibility("default"))) Error : public std::system_error {
 public:
  Error(std::error_code code, std::string_view sentence)
      : std::system_error(code), sentence_(std::string(error_prefix).append(sentence)) {}

  [[nodiscard]] const char* what() const noexcept override { return sentence_.c_str(); }

 private:
  std::string sentence_;
};

/// Text from another machine made safe to print: control characters escaped, at most `limit` bytes kept.
[[nodiscard]] inline std::string printable(std::string_view foreign, std::size_t limit = 512) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (const char c : foreign.substr(0, limit)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      out.push_back(c);
    } else {
      out += "\\x";
      out.push_back(digits[byte >> 4]);
      out.push_back(digits[byte & 15]);
    }
  }
  if (foreign.size() > limit) out += "...";
  return out;
}

/// A failure that another peer reported about itself; never raised for anything local.
class __attribute__((visibility("default"))) RemoteError : public Error {
 public:
  /// @param who   the peer and method that were called
  /// @param text  the peer's own words, escaped and cut here
  RemoteError(std::string_view who, std::string_view text)
      : Error(make_error_code(errc::remote), std::string(who) + " answered with an error: " + printable(text)),
        text_(printable(text)) {}

  [[nodiscard]] const std::string& text() const noexcept { return text_; }

 private:
  std::string text_;
};

}  // namespace skep::inline v0

template <>
struct std::is_error_code_enum<skep::errc> : std::true_type {};
