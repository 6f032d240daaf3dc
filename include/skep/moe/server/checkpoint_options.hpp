// CheckpointOptions: where experts are saved, how often, and how many files are kept.
#pragma once

#include <cstddef>
#include <filesystem>

#include "skep/core/time.hpp"

namespace skep::inline v0::moe {

/// Options of Checkpoints.
struct CheckpointOptions {
  std::filesystem::path directory = {};  ///< must exist; empty: nothing is saved and nothing restored
  Duration period = 30s;                 ///< between two checkpoints of an expert that is trained
  std::size_t keep = 3;                  ///< files kept of each expert, at least one; the oldest are removed
};

}  // namespace skep::inline v0::moe
