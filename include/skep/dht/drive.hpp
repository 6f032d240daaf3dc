// drive: carries out a traversal, sending its requests and handing it the answers, until it ends or time is over.
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/deadline_wheel.hpp"
#include "skep/async/event.hpp"
#include "skep/async/semaphore.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/core/error.hpp"
#include "skep/core/new_shared.hpp"
#include "skep/core/remove_where.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/answer_times.hpp"
#include "skep/dht/local_node.hpp"
#include "skep/dht/traversal.hpp"

namespace skep::inline v0::dht::detail {

/// Where requests in flight leave their answers; they may come when nobody reads them any more.
struct Inbox {
  struct Letter {
    std::size_t request;  // its number
    std::optional<NodeAnswer> answer;
    bool left = false;  // no answer yet: the request has waited for its turn and leaves only now
  };
  std::vector<Letter> letters;
  std::shared_ptr<Event> news;
};

template <class State>
awaitable<void> deliver(std::shared_ptr<State> state, awaitable<std::optional<NodeAnswer>> request, std::size_t number,
                        std::shared_ptr<Inbox> inbox, bool takes_turn) {
  std::optional<NodeAnswer> answer;
  std::exception_ptr thrown;
  Semaphore::Permit turn;
  try {
    if (takes_turn) {
      turn = co_await state->turns->acquire();
      inbox->letters.push_back({number, {}, true});
      inbox->news->set();
    }
    answer = co_await std::move(request);
  } catch (...) {
    thrown = std::current_exception();
  }
  inbox->letters.push_back({number, std::move(answer)});
  inbox->news->set();
  if (thrown) std::rethrow_exception(thrown);
}

/// Sets an event when its time has come.
class Alarm final : public Deadline {
 public:
  explicit Alarm(Event& event) noexcept : event_(&event) {}
  [[nodiscard]] bool rang() const noexcept { return rang_; }

 protected:
  void expired() noexcept override {
    rang_ = !event_->is_set();
    event_->set();
  }

 private:
  Event* event_;
  bool rang_ = false;
};

/// Waits until an event is set or `when` has come. @return whether it was set in time
template <Clock C>
awaitable<bool> wait_until(C& clock, Event& event, SteadyTime when) {
  if (event.is_set()) co_return true;
  if (clock.steady_now() >= when) co_return false;
  if constexpr (DeadlineClock<C>) {
    Alarm alarm(event);
    clock.deadlines().insert(alarm, when);
    co_await event.wait();
    if (alarm.rang()) event.reset();
    co_return !alarm.rang();
  } else {
    try {
      co_await with_deadline(clock, when, event.wait());
    } catch (const Error& error) {
      if (error.code() != errc::timed_out) throw;
    }
    co_return event.is_set();
  }
}

/// The requests of a traversal that are on their way, and when it has to be told that they take long.
class Flights {
 public:
  /// A request is made. Until it has `left` it takes no time.
  /// @return its number
  std::size_t launch(Traversal::Request request) {
    flights_.push_back({std::move(request), number_, SteadyTime::max(), SteadyTime::max(), SteadyTime::max()});
    return number_++;
  }
  /// A request leaves now.
  void left(std::size_t number, const AnswerTimes& times, SteadyTime now) {
    for (auto& flight : flights_) {
      if (flight.number != number) continue;
      const auto& peer = flight.request.node.contact;
      flight.hedge_at = deadline_after(now, times.hedge_after(peer));
      flight.late_at = deadline_after(now, times.late_after(peer));
      flight.lost_at = deadline_after(now, times.lost_after(peer));
    }
  }

  /// The request that is answered; none when it was given up before.
  [[nodiscard]] std::optional<Traversal::Request> land(std::size_t number) {
    const auto flight =
        std::find_if(flights_.begin(), flights_.end(), [&](const Flight& f) { return f.number == number; });
    if (flight == flights_.end()) return std::nullopt;
    std::optional<Traversal::Request> request(std::move(flight->request));
    flights_.erase(flight);
    return request;
  }

  /// When `overdue` has something to say, `deadline` at the latest.
  [[nodiscard]] SteadyTime next(SteadyTime deadline) const {
    for (const auto& flight : flights_) {
      deadline = std::min({deadline, flight.hedge_at, flight.late_at, flight.lost_at});
    }
    return deadline;
  }

  /// Tells the traversal of requests that want company, are late, or are lost.
  void overdue(Traversal& traversal, SteadyTime now) {
    for (auto& flight : flights_) {
      if (flight.hedge_at <= now) {
        flight.hedge_at = SteadyTime::max();
        traversal.hedge(flight.request);
      }
      if (flight.late_at <= now) {
        flight.late_at = SteadyTime::max();
        traversal.slow(flight.request);
      }
      if (flight.lost_at <= now) traversal.failed(flight.request);
    }
    remove_where(flights_, [&](const Flight& flight) { return flight.lost_at <= now; });
  }

 private:
  struct Flight {
    Traversal::Request request;
    std::size_t number;
    SteadyTime hedge_at;  // max: that is over
    SteadyTime late_at;
    SteadyTime lost_at;
  };
  std::vector<Flight> flights_;  // a handful: the traversal's parallelism
  std::size_t number_ = 0;
};

/// Sends what the traversal asks for: `ask(request)` makes the coroutine of one request, which gives an answer or
/// nothing when the node failed; `settle(request, answer)` is told of each answer that comes in time. A request that is
/// hedged by the measure of `state.answer_times` gets company, one that is late is waited for only if it is needed, and
/// one that is lost counts as failed; while a request waits for one of `state.turns` it takes no time. Ends when
/// the traversal is finished or at `deadline`; requests still in flight then run on in the node's scope until their own
/// limit. Throws errc::closed.
/// @param news  set by whoever has changed the traversal meanwhile
template <class State>
awaitable<void> drive(std::shared_ptr<State> state, Traversal& traversal, SteadyTime deadline,
                      std::function<awaitable<std::optional<NodeAnswer>>(const Traversal::Request&)> ask,
                      std::function<void(const Traversal::Request&, NodeAnswer&)> settle, std::shared_ptr<Event> news) {
  const auto inbox = new_shared<Inbox>();
  inbox->news = std::move(news);
  Flights flights;
  for (;;) {
    if (state->closed) throw Error(errc::closed, "the DHT node was closed");
    const SteadyTime now = state->net.steady_now();
    for (auto& request : traversal.next()) {
      auto asked = ask(std::as_const(request));
      const bool takes_turn = state->turns && request.node.contact != state->net.self();  // not what it does itself
      const auto number = flights.launch(std::move(request));
      if (!takes_turn) flights.left(number, state->answer_times, now);
      state->children.spawn(deliver(state, std::move(asked), number, inbox, takes_turn));
    }
    if (traversal.finished() || now >= deadline) co_return;

    co_await wait_until(state->net, *inbox->news, flights.next(deadline));
    inbox->news->reset();
    std::vector<Inbox::Letter> letters;
    letters.swap(inbox->letters);
    for (auto& [number, answer, left] : letters) {
      if (left) {
        flights.left(number, state->answer_times, state->net.steady_now());
        continue;
      }
      const auto request = flights.land(number);
      if (!request) continue;
      if (!answer) {
        traversal.failed(*request);
        continue;
      }
      traversal.answered(*request);
      settle(*request, *answer);
    }
    flights.overdue(traversal, state->net.steady_now());
  }
}

}  // namespace skep::inline v0::dht::detail
