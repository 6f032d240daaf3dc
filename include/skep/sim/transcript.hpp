// Transcript: every message of a simulation as one number, and the latest of them as lines to read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <iomanip>
#include <map>
#include <ostream>
#include <string>
#include <string_view>

#include "skep/core/time.hpp"

namespace skep::inline v0::sim {

/// What became of a message.
enum class Fate : std::uint8_t {
  arrives,
  lost,     ///< on its way
  cut_off,  ///< a partition lies between the two
  unheard,  ///< one of the two is dead
};

/// One way of a call.
struct Message {
  SteadyTime sent;
  Duration way{};        ///< how long it takes, if it arrives
  std::size_t from = 0;  ///< numbers of peers; 0: nobody has that id
  std::size_t to = 0;
  std::string_view method;  ///< must stay where it is
  bool is_answer = false;
  std::size_t size = 0;  ///< bytes
  Fate fate = Fate::arrives;
};

inline std::ostream& operator<<(std::ostream& out, const Message& message) {
  const auto ms = [](Duration time) { return std::chrono::duration<double, std::milli>(time).count(); };
  out << std::fixed << std::setprecision(3) << std::setw(14) << ms(message.sent.time_since_epoch()) << " ms  #"
      << message.from << (message.is_answer ? " => #" : " -> #") << message.to << "  " << message.method
      << (message.is_answer ? " answers " : " ") << message.size << " B, ";
  switch (message.fate) {
    case Fate::arrives: return out << "arrives after " << ms(message.way) << " ms";
    case Fate::lost: return out << "is lost";
    case Fate::cut_off: return out << "is cut off";
    case Fate::unheard: return out << "is not heard";
  }
  return out;
}

/// Counts and digests messages, and keeps the latest. Pure.
class Transcript {
 public:
  /// @param keep  how many messages `print` can show
  explicit Transcript(std::size_t keep = 0) : keep_(keep) {}

  /// A name that lives as long as the transcript, and counts its calls.
  [[nodiscard]] std::string_view call(std::string_view method) {
    auto known = calls_.find(method);
    if (known == calls_.end()) known = calls_.emplace(std::string(method), 0).first;
    ++known->second;
    return known->first;
  }
  void add(const Message& message) {
    ++messages_;
    bytes_ += message.size;
    mix(static_cast<std::uint64_t>(message.sent.time_since_epoch().count()));
    mix(static_cast<std::uint64_t>(message.way.count()));
    mix(message.from << 32 ^ message.to);
    mix(message.size << 3 ^ static_cast<std::uint64_t>(message.fate) << 1 ^ std::uint64_t{message.is_answer});
    if (keep_ == 0) return;
    if (latest_.size() == keep_) latest_.pop_front();
    latest_.push_back(message);
  }

  /// Equal for equal seeds.
  [[nodiscard]] std::uint64_t hash() const noexcept { return hash_; }
  [[nodiscard]] std::size_t messages() const noexcept { return messages_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  /// How often a method was called, and all methods.
  [[nodiscard]] std::size_t calls(std::string_view method) const {
    const auto found = calls_.find(method);
    return found == calls_.end() ? 0 : found->second;
  }
  [[nodiscard]] const std::map<std::string, std::size_t, std::less<>>& calls() const noexcept { return calls_; }
  [[nodiscard]] const std::deque<Message>& latest() const noexcept { return latest_; }

  /// The timeline: one line for each of the latest messages.
  void print(std::ostream& out) const {
    for (const Message& message : latest_) out << message << '\n';
  }

 private:
  void mix(std::uint64_t word) noexcept {
    hash_ = (hash_ ^ word) * 0x9e3779b97f4a7c15U;
    hash_ ^= hash_ >> 29;
  }

  std::size_t keep_;
  std::deque<Message> latest_;
  std::map<std::string, std::size_t, std::less<>> calls_;
  std::size_t messages_ = 0;
  std::size_t bytes_ = 0;
  std::uint64_t hash_ = 0;
};

}  // namespace skep::inline v0::sim
