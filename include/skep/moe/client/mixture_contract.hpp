// MixtureContract: what the experts of a mixture take and give, as one of them has told, until that does not fit.
#pragma once

#include <algorithm>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/dht.hpp"
#include "skep/moe/client/blocking.hpp"
#include "skep/moe/client/expert_call.hpp"
#include "skep/moe/uid.hpp"
#include "skep/p2p/host.hpp"
#include "skep/p2p/network.hpp"

namespace skep::inline v0::moe {

/// Asked of an expert once for all. Whoever told one that does not fit may have been wrong: another is asked first next
/// time. Thread-safe; `of` may block.
class MixtureContract {
 public:
  /// @param timeout  for asking, of all experts together
  MixtureContract(dht::DHT dht, Duration timeout) : dht_(std::move(dht)), timeout_(timeout) {}

  /// The one that is known and not doubted, or what the first of `experts` that answers tells. Without experts the one
  /// that is known in any case. Throws what the last of them failed with, errc::not_found when there is none to ask.
  [[nodiscard]] std::shared_ptr<const ExpertContract> of(std::vector<ExpertInfo> experts) {
    {
      const std::scoped_lock lock(mutex_);
      if (known_ && (experts.empty() || !doubted_)) return known_;
      if (experts.empty()) throw Error(errc::not_found, "there is no expert to ask what it takes and gives");
      std::ranges::stable_partition(experts, [this](const ExpertInfo& expert) { return expert != mistrusted_; });
    }
    auto [fetched, told_by] = detail::block_on(dht_, ask(dht_, std::move(experts), timeout_));
    const std::scoped_lock lock(mutex_);
    known_ = fetched;
    doubted_ = false;
    told_by_ = std::move(told_by);
    return fetched;
  }

  /// Inputs or answers did not fit it. Until another one is told it says what form zeros have.
  void doubt(const std::shared_ptr<const ExpertContract>& contract) {
    const std::scoped_lock lock(mutex_);
    if (known_ != contract) return;
    doubted_ = true;
    mistrusted_ = told_by_;
  }
  [[nodiscard]] bool is_doubted() const {
    const std::scoped_lock lock(mutex_);
    return doubted_;
  }
  [[nodiscard]] std::shared_ptr<const ExpertContract> known() const {
    const std::scoped_lock lock(mutex_);
    return known_;
  }

 private:
  using Told = std::pair<std::shared_ptr<const ExpertContract>, ExpertInfo>;

  static awaitable<Told> ask(dht::DHT dht, std::vector<ExpertInfo> experts, Duration timeout) {
    const p2p::Host host = detail::host_of(dht);
    const SteadyTime deadline = deadline_after(host.steady_now(), timeout);
    std::exception_ptr failure;
    for (auto& expert : experts) {
      try {
        const Duration left = deadline == SteadyTime::max() ? unlimited : deadline - host.steady_now();
        // one that hangs must not use up the time of all
        const Duration share = std::min(left, std::max<Duration>(left / 4, 1s));
        auto contract =
            co_await fetch_contract(host, expert, p2p::CallOptions{.timeout = share}, detail::authorizer_of(dht));
        co_return Told(std::move(contract), expert);
      } catch (const std::exception&) {
        failure = std::current_exception();
      }
      if (host.steady_now() >= deadline) break;
    }
    std::rethrow_exception(failure);
  }

  dht::DHT dht_;
  Duration timeout_;
  mutable std::mutex mutex_;
  std::shared_ptr<const ExpertContract> known_;
  ExpertInfo told_by_;
  bool doubted_ = false;                  ///< inputs or answers did not fit `known_`
  std::optional<ExpertInfo> mistrusted_;  ///< told one that did not fit
};

}  // namespace skep::inline v0::moe
