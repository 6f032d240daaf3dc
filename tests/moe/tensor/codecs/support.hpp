// What the tests of the codecs share: numbers that every language computes alike, and errors.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

namespace skep::test {

inline constexpr float infinity = std::numeric_limits<float>::infinity();
inline constexpr float nan = std::numeric_limits<float>::quiet_NaN();

/// Numbers of a named distribution, made with exact operations only: a recorder in Python gets the same.
[[nodiscard]] inline std::vector<float> numbers(std::string_view distribution, std::size_t size) {
  std::uint64_t state = 7;
  const auto share = [&state] {
    state = state * 6364136223846793005U + 1442695040888963407U;
    return static_cast<double>(state >> 40) / (1 << 24);
  };
  const auto bell = [&] { return share() + share() + share() + share() - 2; };
  std::vector<float> all(size);
  for (float& number : all) {
    double value = bell();
    if (distribution == "shifted") value = 1000 + value / 1000;
    if (distribution == "clusters") value += share() < 0.5 ? -1000 : 1000;
    if (distribution == "sparse") value = value < 1 ? 0 : value;
    if (distribution == "few") value = std::floor(value * 4);
    if (distribution == "tails") value = value / (2.0001 - std::abs(value));
    if (distribution == "tiny") value = value / 1e12;
    number = static_cast<float>(value);
  }
  return all;
}
inline constexpr std::string_view distributions[] = {"bell", "shifted", "clusters", "sparse", "few", "tails", "tiny"};

[[nodiscard]] inline double mean_squared_error(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    sum += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  return sum / static_cast<double>(a.size());
}

/// Equal as bytes: NaN equals NaN, the zeros differ.
template <class T>
[[nodiscard]] bool same_bytes(std::span<const T> a, std::span<const T> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}
template <class A, class B>
[[nodiscard]] bool same_bytes(const A& a, const B& b) {
  return same_bytes(std::span<const typename A::value_type>(a), std::span<const typename A::value_type>(b));
}

}  // namespace skep::test
