// Time as the library uses it: steady time for deadlines, wall time for the expirations of records.
#pragma once

#include <chrono>
#include <compare>

namespace skep::inline v0 {

using namespace std::chrono_literals;  // so that users write 5s and 10min as in the documentation

using Duration = std::chrono::nanoseconds;
using SteadyTime = std::chrono::time_point<std::chrono::steady_clock, Duration>;

/// A wait without end must be asked for by name.
inline constexpr Duration unlimited = Duration::max();

/// The end of a wait that begins at `now`; saturates, so that `unlimited` stays unlimited.
[[nodiscard]] constexpr SteadyTime deadline_after(SteadyTime now, Duration wait) noexcept {
  if (wait == unlimited) return SteadyTime::max();
  if (wait > Duration::zero() && now.time_since_epoch() > Duration::max() - wait) return SteadyTime::max();
  return now + wait;
}

/// Seconds since 1970 as a double, the form in which Hivemind's records carry their expiration; kept bit for bit.
struct WallTime {
  double seconds = 0;

  friend constexpr auto operator<=>(WallTime, WallTime) noexcept = default;
  friend constexpr WallTime operator+(WallTime t, std::chrono::duration<double> d) noexcept {
    return {t.seconds + d.count()};
  }
  friend constexpr WallTime operator-(WallTime t, std::chrono::duration<double> d) noexcept {
    return {t.seconds - d.count()};
  }
  friend constexpr std::chrono::duration<double> operator-(WallTime a, WallTime b) noexcept {
    return std::chrono::duration<double>(a.seconds - b.seconds);
  }
};

[[nodiscard]] inline WallTime system_wall_now() noexcept {
  return {std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count()};
}

/// The expiration of a record that shall live for `life` from now on, by this machine's clock.
[[nodiscard]] inline WallTime expires_in(std::chrono::duration<double> life) noexcept {
  return system_wall_now() + life;
}

}  // namespace skep::inline v0
