// Calls to an expert that several servers may serve: when a request may go to another of them, and its way there.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/core/error.hpp"
#include "skep/moe/client/dispatch.hpp"
#include "skep/moe/uid.hpp"
#include "skep/p2p/error.hpp"
#include "skep/p2p/network.hpp"

namespace skep::inline v0::moe {

/// Whether a request that failed was certainly not begun by the server, so that even one that trains the expert may go
/// to another: the server was not reached, does not serve the expert, leaves, or has too much to do. Hivemind's servers
/// give no such answers.
/// @param code  of the failure
/// @param said  what the server said itself, where `code` is errc::remote
[[nodiscard]] inline bool never_began(std::error_code code, const std::string& uid, std::string_view said) {
  if (code == errc::unreachable || code == p2p::errc::wrong_peer || code == p2p::errc::protocol_not_supported) {
    return true;
  }
  if (code != errc::remote) return false;
  said = without_prefix(said);
  return said.starts_with("busy: ") || said == "this server is leaving, ask another" ||
         said == "this server has no expert \"" + printable(uid) + "\"" ||
         said.starts_with(uid + "_forward is busy: ") || said.starts_with(uid + "_backward is busy: ");
}

/// The same for what was thrown.
[[nodiscard]] inline bool refused_to_begin(const Error& error, const std::string& uid) {
  const auto* remote = dynamic_cast<const RemoteError*>(&error);
  return never_began(error.code(), uid, remote ? remote->text() : std::string());
}

/// What it would mean to compute a request twice.
enum class Repeat : std::uint8_t {
  harmless,  ///< nothing (forward): it is repeated also when the connection broke
  harmful,   ///< the expert would be trained twice (backward)
};

/// Makes a call at one server of an expert and, until one begins it, at the others, each once and in random order.
/// @param others   asked once, when the first failed: a coroutine of std::vector<ExpertInfo>, who else serves it
/// @param attempt  from an ExpertInfo to the coroutine of the call
/// Throws what the call throws; when all servers failed, what the first of them did, with how many did.
template <class T, p2p::Network Network, class Others, class Attempt>
[[nodiscard]] awaitable<T> call_any_replica(Network network, ExpertInfo expert, Repeat repeat, Others others,
                                            Attempt attempt) {
  std::vector<ExpertInfo> tried;
  std::vector<ExpertInfo> left;
  std::exception_ptr first;
  for (;;) {
    std::exception_ptr failure;
    try {
      co_return co_await attempt(expert);
    } catch (const Error& error) {
      const bool broke = repeat == Repeat::harmless && CallOutcome{.code = error.code()}.server_failed();
      if (is_cancellation(std::current_exception()) || !(broke || refused_to_begin(error, expert.uid))) throw;
      failure = std::current_exception();
    }
    if (!first) {
      first = failure;
      left = co_await others();
    }
    tried.push_back(expert);
    std::erase_if(left, [&](const ExpertInfo& one) { return std::ranges::count(tried, one) > 0; });
    if (left.empty()) break;
    expert = left[network.random().below(left.size())];
  }
  if (tried.size() == 1) std::rethrow_exception(first);
  try {
    std::rethrow_exception(first);
  } catch (const Error& error) {
    throw Error(error.code(), std::string(without_prefix(error.what())) + "; " + std::to_string(tried.size() - 1) +
                                  (tried.size() == 2 ? " other server" : " other servers") +
                                  " of the same expert failed as well");
  }
}

}  // namespace skep::inline v0::moe
