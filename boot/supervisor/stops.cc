// How a supervisor stops its children: in the reverse order of their dependencies, each by a message, SIGTERM, and
// SIGKILL to its process group.

#include <algorithm>
#include <csignal>
#include <utility>

#include "ipcm/error.h"
#include "launch/launch.h"
#include "service/diagnostic.h"
#include "service/service_runtime.h"
#include "supervisor/supervisor_service.h"
#include "wire/parsed_content.h"

namespace ipcm::supervisor {
namespace {

/// The time between the message and SIGTERM.
constexpr Duration kPolite = std::chrono::seconds(1);
/// The grace of a hurried stop.
constexpr Duration kHurried = std::chrono::seconds(2);
/// A process in an uninterruptible wait may outlast SIGKILL.
constexpr Duration kAfterKill = std::chrono::seconds(10);

}  // namespace

/// Lets a child stop in its turn. One without a process is stopped at once.
void SupervisorService::stop(std::size_t index, AfterStop after) {
  Child& child = *children_[index];
  child.after_stop = after;
  if (child.state == State::stopping || child.is_over()) return;
  if (child.has_process()) {
    child.is_to_stop = true;
  } else if (after == AfterStop::stays) {
    child.timer.stop();
    child.next.clear();
    child.state = State::stopped;
  }
}

bool SupervisorService::is_needed_by_stopping(std::size_t index) const {
  for (std::size_t other = 0; other < children_.size(); ++other) {
    const auto& needs = definition_.nodes[other].needs;
    if (children_[other]->is_to_stop && std::find(needs.begin(), needs.end(), index) != needs.end())
      return true;
  }
  return false;
}

void SupervisorService::begin_stops() {
  for (std::size_t i = 0; i < children_.size(); ++i) {
    Child& child = *children_[i];
    if (child.is_to_stop && child.state != State::stopping && !is_needed_by_stopping(i)) begin_stop(child);
  }
}

void SupervisorService::begin_stop(Child& child) {
  const bool is_on_bus = child.state == State::running;
  child.note_end_of_readiness();
  child.state = State::stopping;
  child.stop = Stop::asked;
  tell("stopping", {{"service", child.plan.name}});
  if (is_on_bus && client().try_message(child.plan.name, wire::terminate_content()))
    set_timer(child, os::from_now(kPolite));
  else
    press(child);
}

/// Takes the next step of a stop.
void SupervisorService::press(Child& child) {
  os::Child& process = launch_of(child)->child();
  if (child.stop == Stop::asked) {
    child.stop = Stop::terminated;
    (void)process.signal(SIGTERM);
    set_timer(child, os::from_now(is_ending_ && is_hurried() ? kHurried : child.plan.grace));
  } else if (child.stop == Stop::terminated) {
    child.stop = Stop::killed;
    tell("killed", {{"service", child.plan.name}});
    process.signal_group(SIGKILL);
    (void)process.signal(SIGKILL);
    set_timer(child, os::from_now(kAfterKill));
  } else {
    child.stop = Stop::given_up;
    service::complain(name(), "service '" + child.plan.name + "' outlasts SIGKILL");
  }
}

void SupervisorService::look_at_stop(Child& child) {
  launch::Launch* launch = launch_of(child);
  const bool has_ended = launch->child().reaped() && launch->verdict() != launch::Launch::Verdict::pending;
  if (!has_ended) {
    if (child.is_due) press(child);
    if (child.stop != Stop::given_up) return;
  }
  child.timer.stop();
  child.is_to_stop = false;
  const auto& status = launch->child().status();
  const std::string how = status ? status->describe() : "ended with an unknown status";
  if (has_ended && child.after_stop == AfterStop::counts_as_failed && !is_ending_) {
    ended(index_of(child), std::exchange(child.failure, {}) + "; then it " + how, false);
    return;
  }
  child.last_end = how;
  child.next.clear();
  tell("stopped", {{"service", child.plan.name}, {"how", how}});
  if (child.after_stop == AfterStop::starts_again && has_ended)
    rest(child);
  else
    child.state = child.after_stop == AfterStop::stays ? State::stopped : State::failed;
}

bool SupervisorService::has_processes() const {
  return std::any_of(children_.begin(), children_.end(),
                     [](const auto& child) { return child->has_process(); });
}

/// Whether a signal has come, or nobody waits for an order any more.
bool SupervisorService::is_hurried() const { return has_lost_owner_ || runtime().is_told_to_end(); }

/// Ends the order: each child gets SIGTERM now, and SIGKILL soon.
void SupervisorService::hurry() {
  for (const auto& child : children_) {
    if (!child->has_process()) continue;
    if (child->state == State::stopping && child->stop != Stop::asked) {
      if (child->stop == Stop::terminated) set_timer(*child, os::from_now(kHurried));
      continue;
    }
    child->note_end_of_readiness();
    child->state = State::stopping;
    child->stop = Stop::asked;
    press(*child);
  }
}

void SupervisorService::on_cleanup() {
  is_ending_ = true;
  for (std::size_t i = 0; i < children_.size(); ++i) stop(i, AfterStop::stays);
  bool has_hurried = false;
  const auto is_over = [&] {
    if (!has_hurried && is_hurried()) {
      has_hurried = true;
      hurry();
    }
    for (const auto& each : children_) {
      Child& child = *each;
      if (child.state == State::stopping) look_at_stop(child);
      // One that has ended meanwhile by itself needs no stop.
      if ((child.state == State::starting || child.state == State::running) &&
          launch_of(child)->child().reaped()) {
        child.note_end_of_readiness();
        child.state = State::stopped;
        child.is_to_stop = false;
      }
    }
    begin_stops();
    return !has_processes();
  };
  (void)runtime().loop().run_until(is_over, os::Deadline::never());  // each stop has its limits
  if (adopts_)
    for (const auto& child : children_) records_.forget(child->plan.name);
  for (const Waiter& waiter : waiters_) refuse(waiter.request, "supervisor '" + name() + "' ends");
  waiters_.clear();
  for (const Reload& reload : reloads_) refuse(reload.request, "supervisor '" + name() + "' ends");
  reloads_.clear();
}

}  // namespace ipcm::supervisor
