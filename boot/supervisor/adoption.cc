// How a supervisor takes over the children of its predecessor of the same name, which was killed.
//
// With the parameter `adopt`, children end with the owner of the bus and not with their supervisor. A record beside the
// bus has what the next one needs. A child is adopted if the process in its record is proven (the kernel names it as
// the holder of the name on the bus, or its start time is that of the record), it is ready, and its class, boot binary
// and arguments are those of the definition. Any other child with a record is ended: one that was still starting, since
// its report would reach nobody; one whose definition has changed, which starts again; and one that is not in the
// definition.

#include <algorithm>
#include <cmath>
#include <csignal>

#include "bus/member.h"
#include "bus/obituary_file.h"
#include "ipcm/error.h"
#include "launch/launch.h"
#include "os/process.h"
#include "service/diagnostic.h"
#include "service/service_runtime.h"
#include "supervisor/supervisor_service.h"

namespace ipcm::supervisor {
namespace {

/// Two processes with one pid can't begin that close together.
constexpr double kSameStart = 1;
/// The time between SIGTERM and SIGKILL for a child that is not in the definition.
constexpr Duration kStrayGrace = std::chrono::seconds(10);

/// Returns the state in which a child stays without a process; nullopt: it is to run.
std::optional<State> final_state(const std::string& word) {
  for (const State state : {State::stopped, State::done, State::ended, State::failed})
    if (word == to_string(state)) return state;
  return std::nullopt;
}

}  // namespace

void SupervisorService::expect_owner() {
  if (runtime().leash() < 0)
    throw UsageError(
        "adopt: this supervisor is leashed to no process, so nothing would end its children if it is killed; "
        "let a process "
        "start it that stays and owns the bus");
  runtime().children().leash_to(runtime().leash());
}

/// Takes over the process of a record. Returns whether it is ready; nullopt: it does not run any more.
std::optional<bool> SupervisorService::take_over(const std::string& child, const ChildRecord& record) {
  auto found = client().member().transport().identify(child);
  const bool is_holder =
      found.facts.pid > 0 && (found.facts.pid == record.pid || found.facts.pid == record.service);
  if (found.process && is_holder && !found.facts.is_us) {
    if (os::has_ended(found.process.get())) return std::nullopt;
    runtime().children().adopt(child, found.facts.pid, std::move(found.process));
    return found.facts.state == transport::PeerFacts::State::active &&
           record.state == to_string(State::running);
  }
  auto process = os::open_process(record.pid);
  if (!process) return std::nullopt;
  const auto started =
      os::start_time(record.pid);  // after the pidfd is open: it is the start of that process
  if (!started || std::abs(*started - record.started) > kSameStart || os::has_ended(process->get()))
    return std::nullopt;
  runtime().children().adopt(child, record.pid, std::move(*process));
  return false;
}

void SupervisorService::adopt_children() {
  for (std::size_t i = 0; i < children_.size(); ++i) restore(i);
  end_strays();
}

void SupervisorService::restore(std::size_t index) {
  Child& child = *children_[index];
  const auto record = records_.read(child.plan.name);
  if (!record) return;
  const bool is_same = record->describes(child.plan);
  child.restarts = record->restarts;
  child.backoff.resume(record->failures);
  child.last_end = record->last_end;
  if (record->pid <= 0) {
    const auto state = final_state(record->state);
    if (is_same && state) child.state = *state;
    return;
  }
  const auto is_ready = take_over(child.plan.name, *record);
  if (!is_ready && record->stays_down) {
    child.state = State::stopped;
    return;
  }
  if (!is_ready) {
    const auto status =
        bus::status_in_obituary(info(), child.plan.name, record->service > 0 ? record->service : record->pid);
    child.state = State::starting;
    if (is_same)
      ended(index, status ? status->describe() : "ended while no supervisor ran, with an unknown status",
            status && status->success());
    else
      child.state = State::waiting;
    return;
  }
  child.state = State::running;
  child.ready_since = os::Clock::now();
  begin_health_checks(child);
  if (is_same && *is_ready) {
    tell("adopted", {{"service", child.plan.name}, {"pid", launch_of(child)->first_pid()}});
    return;
  }
  child.rest_until = {};
  stop(index, record->stays_down ? AfterStop::stays : AfterStop::starts_again);
}

/// Ends the children of the predecessor that are not in the definition.
void SupervisorService::end_strays() {
  for (const std::string& peer : client().peers()) {
    if (std::any_of(children_.begin(), children_.end(),
                    [&](const auto& child) { return child->plan.name == peer; }))
      continue;
    const auto record = records_.read(peer);
    if (!record || record->pid <= 0) continue;
    const auto is_ready = take_over(peer, *record);
    records_.forget(peer);
    if (!is_ready) continue;
    tell("stopping", {{"service", peer}});
    (void)runtime().children().find(peer)->child().signal(SIGTERM);
    strays_.push_back(runtime().loop().at(os::from_now(kStrayGrace), [this, peer] {
      if (launch::Launch* launch = runtime().children().find(peer)) {
        launch->child().signal_group(SIGKILL);
        (void)launch->child().signal(SIGKILL);
      }
    }));
  }
}

void SupervisorService::keep_record(const Child& child) {
  if (!adopts_) return;
  const launch::Launch* launch = child.has_process() ? launch_of(child) : nullptr;
  try {
    records_.keep(child, launch != nullptr ? launch->first_pid() : 0,
                  launch != nullptr ? launch->service_pid() : 0);
  } catch (const Error& error) {
    service::complain(name(), "the record of '" + child.plan.name +
                                  "' can't be written, so it could not be adopted: " + error.what());
  }
}

}  // namespace ipcm::supervisor
