// What a training run leaves behind for the picture and the summary: curves, the load of each expert, stalls.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace example {

/// One point of the curves.
struct Point {
  double samples = 0;   ///< training samples seen so far
  double loss = 0;      ///< mean cross entropy since the last point
  double accuracy = 0;  ///< share of right answers on training samples since the last point, in [0, 1]
};

/// How many rows an expert was given in one slice of the run.
using Load = std::map<std::string, std::int64_t>;

/// Something that was done to the swarm while it trained.
struct Incident {
  double samples = 0;  ///< training samples seen before it
  std::string label;   ///< for the picture, such as "server killed"
};

/// One finished run.
struct History {
  std::string name;
  std::vector<Point> curve;
  std::vector<Load> load;  ///< one entry per point of the curve
  Load updates;            ///< backward calls that each expert answered: its optimizer steps
  std::vector<Incident> incidents;
  double test_accuracy = 0;
  double samples_per_second = 0;
  double longest_stall_s = 0;  ///< the longest single training step
};

}  // namespace example
