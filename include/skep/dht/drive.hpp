// drive: carries out a traversal, sending its requests and handing it the answers, until it ends or time is over.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/deadline_wheel.hpp"
#include "skep/async/event.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/traversal.hpp"

namespace skep::inline v0::dht::detail {

/// Where requests in flight leave their answers; they may come when nobody reads them any more.
template <class Answer>
struct Inbox {
  std::deque<std::pair<std::size_t, std::optional<Answer>>> answers;  // by the number of the request
  std::shared_ptr<Event> news;
};

template <class Answer>
awaitable<void> deliver(awaitable<std::optional<Answer>> request, std::size_t number,
                        std::shared_ptr<Inbox<Answer>> inbox) {
  std::optional<Answer> answer;
  std::exception_ptr thrown;
  try {
    answer = co_await std::move(request);
  } catch (...) {
    thrown = std::current_exception();
  }
  inbox->answers.emplace_back(number, std::move(answer));
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

/// Sends what the traversal asks for: `ask(request)` makes the coroutine of one request, which gives an answer or
/// nothing when the node failed; `settle(request, answer)` is told of each answer that comes in time. A request that is
/// hedged by the measure of `state.answer_times` gets company, one that is late is waited for only if it is needed, and
/// one that is lost counts as failed. Ends when the
/// traversal is finished or at `deadline`; requests still in flight then run on in the node's scope until their own
/// limit. Throws errc::closed.
/// @param news  set by whoever has changed the traversal meanwhile
template <class Answer, class State>
awaitable<void> drive(std::shared_ptr<State> state, Traversal& traversal, SteadyTime deadline,
                      std::function<awaitable<std::optional<Answer>>(const Traversal::Request&)> ask,
                      std::function<void(const Traversal::Request&, Answer)> settle, std::shared_ptr<Event> news) {
  struct Flight {
    Traversal::Request request;
    SteadyTime hedge_at;  // max: that is over
    SteadyTime late_at;
    SteadyTime lost_at;
  };
  const auto inbox = std::make_shared<Inbox<Answer>>();
  inbox->news = std::move(news);
  std::map<std::size_t, Flight> flights;
  std::size_t number = 0;
  for (;;) {
    if (state->closed) throw Error(errc::closed, "the DHT node was closed");
    const SteadyTime now = state->net.steady_now();
    for (auto& request : traversal.next()) {
      auto asked = ask(std::as_const(request));
      const SteadyTime hedge_at = now + state->answer_times.hedge_after(request.node.contact);
      const SteadyTime late_at = now + state->answer_times.late_after(request.node.contact);
      const SteadyTime lost_at = now + state->answer_times.lost_after(request.node.contact);
      flights.emplace(number, Flight{std::move(request), hedge_at, late_at, lost_at});
      state->children.spawn(deliver<Answer>(std::move(asked), number++, inbox));
    }
    if (traversal.finished() || now >= deadline) co_return;

    SteadyTime wake = deadline;
    for (const auto& [_, flight] : flights) wake = std::min({wake, flight.hedge_at, flight.late_at, flight.lost_at});
    co_await wait_until(state->net, *inbox->news, wake);
    inbox->news->reset();
    for (auto answers = std::exchange(inbox->answers, {}); auto& [from, answer] : answers) {
      const auto flight = flights.extract(from);
      if (flight.empty()) continue;  // given up before
      const Traversal::Request& request = flight.mapped().request;
      if (!answer) {
        traversal.failed(request);
        continue;
      }
      traversal.answered(request);
      settle(request, std::move(*answer));
    }
    const SteadyTime after = state->net.steady_now();
    for (auto flight = flights.begin(); flight != flights.end();) {
      if (flight->second.hedge_at <= after) {
        flight->second.hedge_at = SteadyTime::max();
        traversal.hedge(flight->second.request);
      }
      if (flight->second.late_at <= after) {
        flight->second.late_at = SteadyTime::max();
        traversal.slow(flight->second.request);
      }
      if (flight->second.lost_at <= after) {
        traversal.failed(flight->second.request);
        flight = flights.erase(flight);
      } else {
        ++flight;
      }
    }
  }
}

}  // namespace skep::inline v0::dht::detail
