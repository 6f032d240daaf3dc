// An enumeration without describe() has no sentences, so it makes no error codes.
// expect: constraints not satisfied for class template 'EnumCategory'
// expect: 'describe(e)' would be invalid
#include "skep/core/error.hpp"

namespace mine {
enum class errc { broken = 1 };
constexpr const char* category_name(errc) { return "mine"; }
#ifndef WRONG
constexpr std::string_view describe(errc) { return "broken"; }
#endif
inline std::error_code code(errc e) { return {static_cast<int>(e), skep::EnumCategory<errc>::instance()}; }
}  // namespace mine
