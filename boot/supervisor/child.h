#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "loop/loop.h"
#include "supervisor/definition.h"
#include "supervisor/health_check.h"

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

/// What a child does after its stop.
enum class AfterStop { stays, starts_again, counts_as_failed };

/// A child of a supervisor. It does not move.
struct Child {
  Child(const ChildPlan& its_plan, std::function<double()> random)
      : plan(its_plan), backoff(its_plan.delays, std::move(random)) {}

  ChildPlan plan;
  State state = State::waiting;
  Backoff backoff;
  std::optional<os::Clock::time_point> ready_since;  ///< nullopt: it was not ready since its last start
  Duration ready_for{};                              ///< how long it had been ready when it failed or ended
  os::Clock::time_point rest_until{};                ///< no start before
  std::uint64_t restarts = 0;
  std::string last_end;     ///< how it ended, or why it did not start; empty: it has not ended yet
  bool is_to_stop = false;  ///< it stops as soon as those that need it have stopped
  AfterStop after_stop = AfterStop::stays;
  std::string failure;      ///< why it is stopped, if it counts as failed then
  std::string next;         ///< what happens after its last end, such as "restart 3 in 0.8 s"
  Content begun_args;       ///< of its process; those of a balancer may change meanwhile
  std::uint64_t drain = 0;  ///< a replica that stops after its last answer: the number of that order
  std::unique_ptr<HealthCheck> health;  ///< while it is ready
  Stop stop = Stop::asked;              ///< in the state stopping
  bool is_due = false;                  ///< the timer has run
  Watch timer;

  /// It is not ready any more.
  void note_end_of_readiness() {
    health.reset();
    ready_for = ready_since ? os::Clock::now() - *ready_since : Duration::zero();
    ready_since.reset();
  }
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
