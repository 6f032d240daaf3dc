// Pinning to processor cores, without which a figure says more about the scheduler than about the program.
#pragma once

#include <sched.h>

#include <cerrno>
#include <system_error>
#include <vector>

namespace skep::bench {

/// The cores that this process may run on.
[[nodiscard]] inline std::vector<int> allowed_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) throw std::system_error(errno, std::generic_category());
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

/// Keeps the calling thread, and the threads it starts from now on, on one core.
inline void pin_to(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) throw std::system_error(errno, std::generic_category());
}

}  // namespace skep::bench
