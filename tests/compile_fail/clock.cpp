// A clock whose sleep blocks instead of being awaited is no Clock.
// expect: does not satisfy 'Clock'
// expect: clock.sleep_until(t)
#include "skep/async/awaitable.hpp"

struct Sleeper {
  skep::SteadyTime steady_now() { return {}; }
#ifdef WRONG
  void sleep_until(skep::SteadyTime) {}
#else
  skep::awaitable<void> sleep_until(skep::SteadyTime) { co_return; }
#endif
  skep::Executor executor() { return {}; }
};
static_assert(skep::Clock<Sleeper>);
