// Environment variables that stand in for Hivemind's (HIVEMIND_... becomes SKEP_...), beside those of the console.
#pragma once

#include <cstddef>

#include "skep/cli/checks.hpp"
#include "skep/core/error.hpp"

namespace skep::inline v0::cli {

/// Requests in flight for one key of the DHT, from the value of SKEP_DHT_NUM_WORKERS; 4 when it is not set.
/// @throws errc::invalid_argument
[[nodiscard]] inline std::size_t dht_num_workers(const char* value) {
  constexpr std::size_t usual = 4;
  if (value == nullptr) return usual;
  std::size_t workers = 0;
  if (detail::read_number(value, workers) && workers >= 1 && workers <= 1024) return workers;
  throw Error(errc::invalid_argument,
              "SKEP_DHT_NUM_WORKERS: \"" + printable(value) + "\" is not a whole number from 1 to 1024");
}

}  // namespace skep::inline v0::cli
