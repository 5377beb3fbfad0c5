#pragma once

#include <optional>
#include <string>
#include <utility>

#include "loop/loop.h"
#include "supervisor/definition.h"

namespace ipcm::supervisor {

/// The states of a child. The last four are final: only a request starts it again.
///
///     waiting → starting → running → (end) → resting → waiting …        starting, running → stopping → stopped or waiting
enum class State {
  waiting,   ///< for the children that it needs
  resting,   ///< until its next start
  starting,  ///< its process runs and is not ready
  running,
  stopping,
  stopped,  ///< by a request
  done,     ///< it was to run to completion, and has ended with status 0
  ended,    ///< with status 0; its policy does not start it again
  failed,   ///< its policy does not start it again
};

[[nodiscard]] const char* to_string(State state);

/// How far the stop of a child has gone.
enum class Stop { asked, terminated, killed, given_up };

/// A child of a supervisor.
struct Child {
  Child(const ChildPlan& its_plan, std::function<double()> random)
      : plan(its_plan), backoff(its_plan.delays, std::move(random)) {}

  ChildPlan plan;
  State state = State::waiting;
  Backoff backoff;
  os::Clock::time_point ready_since{};
  os::Clock::time_point rest_until{};  ///< no start before
  std::uint64_t restarts = 0;
  std::string last_end;       ///< how it ended, or why it did not start; empty: it has not ended yet
  bool is_to_stop = false;    ///< it stops as soon as those that need it have stopped
  bool starts_again = false;  ///< after that stop
  Stop stop = Stop::asked;    ///< in the state stopping
  bool is_due = false;        ///< the timer has run
  Watch timer;

  [[nodiscard]] bool has_process() const {
    return state == State::starting || state == State::running || state == State::stopping;
  }
  [[nodiscard]] bool is_over() const { return state >= State::stopped; }
  /// Whether those that need it may start.
  [[nodiscard]] bool is_up() const {
    return plan.ready_by_exit ? state == State::done : state == State::running && !is_to_stop;
  }
};

}  // namespace ipcm::supervisor
