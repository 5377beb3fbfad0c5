#include "supervisor/supervisor_service.h"

#include <algorithm>

#include "ipcm/error.h"
#include "ipcm/handle.h"
#include "ipcm/launch.h"
#include "launch/launch.h"
#include "os/process.h"
#include "os/random.h"
#include "service/diagnostic.h"
#include "service/service_runtime.h"
#include "supervisor/register.h"

namespace ipcm::supervisor {
namespace {

constexpr int kGaveUp = 1;  // exit status

double random_fraction() {
  constexpr int kBits = 53;  // of a double
  return static_cast<double>(os::random_bits() >> (64 - kBits)) / static_cast<double>(1ULL << kBits);
}

double seconds(Duration span) { return std::chrono::duration<double>(span).count(); }

}  // namespace

const char* to_string(State state) {
  static constexpr const char* kNames[] = {"waiting", "resting", "starting", "running", "stopping",
                                           "stopped", "done",    "ended",    "failed"};
  return kNames[static_cast<std::size_t>(state)];
}

SupervisorService::SupervisorService(ServiceSetup setup, const Args& args)
    : Service(std::move(setup)),
      definition_(define(args, name())),
      intensity_(definition_.intensity, definition_.period),
      log_(runtime().loop(), 2) {
  for (const ChildPlan& plan : definition_.children) children_.emplace_back(plan, random_fraction);
}

void SupervisorService::on_start() {
  watch_peers();
  log_.reopen();
  runtime().wake();  // the first turn starts the children
}

void SupervisorService::on_activity(const Activity& activity) {
  for (const auto& [peer, change] : activity.peer_delta)
    if (change < 0) subscribers_.erase(peer);
  if (activity.terminated) return;  // on_cleanup() stops the children
  for (std::size_t i = 0; i < children_.size(); ++i) look(i);
  progress();
}

launch::Launch* SupervisorService::launch_of(const Child& child) {
  return runtime().children().find(child.plan.name);
}

void SupervisorService::set_timer(Child& child, os::Clock::time_point when) {
  child.is_due = false;
  child.timer = runtime().loop().at(when, [this, &child] {
    child.is_due = true;
    runtime().wake();
  });
}

/// Starts and stops what can be started and stopped now.
void SupervisorService::progress() {
  begin_stops();
  const bool is_stopping =
      std::any_of(children_.begin(), children_.end(), [](const Child& child) { return child.is_to_stop; });
  if (!is_stopping && gave_up_.empty())
    for (const std::size_t index : definition_.order) {
      const auto& needs = definition_.nodes[index].needs;
      if (children_[index].state == State::waiting &&
          std::all_of(needs.begin(), needs.end(), [this](std::size_t one) { return children_[one].is_up(); }))
        begin(index);
    }
  answer_waiters();
  if (!gave_up_.empty() && !has_processes()) terminate(kGaveUp);
}

void SupervisorService::begin(std::size_t index) {
  Child& child = children_[index];
  ServiceOptions options;
  options.class_name = child.plan.class_name;
  options.args = child.plan.args;
  options.exec.emplace();
  options.exec->path = child.plan.boot.empty() ? os::own_executable() : child.plan.boot;
  options.timeout = child.plan.timeout;
  options.new_session = true;  // its own process group; a Ctrl-C is for whoever started the supervisor
  options.log = true;
  child.state = State::starting;
  try {
    (void)ipcm_service_nowait(child.plan.name, options);
    tell("starting", {{"service", child.plan.name}});
  } catch (const Error& error) {
    ended(index, error.what(), false);
  }
}

void SupervisorService::look(std::size_t index) {
  Child& child = children_[index];
  if (child.state == State::resting && child.is_due) child.state = State::waiting;
  if (child.state == State::stopping) look_at_stop(child);
  if (child.state == State::starting) look_at_start(index);
  if (child.state != State::running) return;
  launch::Launch* launch = launch_of(child);
  if (!launch->child().reaped()) return;
  const auto& status = launch->child().status();
  ended(index, status ? status->describe() : "ended with an unknown status", status && status->success());
}

void SupervisorService::look_at_start(std::size_t index) {
  Child& child = children_[index];
  try {
    if (!peer(child.plan.name).ready()) return;
  } catch (const LaunchError& error) {
    ended(index, error.what(), false);
    return;
  }
  child.state = State::running;
  child.ready_since = os::Clock::now();
  if (!child.plan.ready_by_exit)
    tell("ready", {{"service", child.plan.name}, {"pid", launch_of(child)->service_pid()}});
}

/// A child has ended by itself, or did not start.
void SupervisorService::ended(std::size_t index, const std::string& how, bool is_success) {
  Child& child = children_[index];
  child.last_end = how;
  runtime().wake();  // the next turn looks at the others
  if (is_success && child.plan.ready_by_exit) {
    child.state = State::done;
    child.is_to_stop = false;
    tell("done", {{"service", child.plan.name}});
  } else if (child.is_to_stop) {  // it would have been stopped anyway
    child.is_to_stop = false;
    if (child.starts_again)
      rest(child);
    else
      child.state = State::stopped;
    tell("ended", {{"service", child.plan.name}, {"how", how}});
  } else if (restarts(child.plan.policy, is_success)) {
    restart(index, is_success);
  } else {
    child.state = is_success ? State::ended : State::failed;
    tell(to_string(child.state), {{"service", child.plan.name}, {"how", how}});
  }
}

void SupervisorService::restart(std::size_t index, bool is_success) {
  Child& child = children_[index];
  const auto now = os::Clock::now();
  const Duration wait =
      child.backoff.next(child.state == State::running ? now - child.ready_since : Duration::zero());
  child.state = State::failed;
  Facts facts = {{"service", child.plan.name}, {"how", child.last_end}};
  if (!intensity_.allows(now)) {
    tell("failed", facts);
    give_up("service '" + child.plan.name + "' " + child.last_end + "; that would be more than " +
            std::to_string(definition_.intensity) + " restarts within " +
            std::to_string(std::chrono::duration_cast<std::chrono::seconds>(definition_.period).count()) +
            " s");
    return;
  }
  facts["restart"] = ++child.restarts;
  facts["delay"] = seconds(wait);
  tell(is_success ? "ended" : "failed", facts);
  child.rest_until = os::later_by(now, wait);
  rest(child);
  const auto together = restarted_with(definition_.strategy, definition_.order, index);
  for (std::size_t i = 0; i < children_.size(); ++i) {
    Child& other = children_[i];
    if (i == index || !together[i] || !other.has_process()) continue;
    other.rest_until = child.rest_until;
    if (!other.is_to_stop && other.state != State::stopping) stop(i, true);
  }
}

/// Lets a child wait for its next start.
void SupervisorService::rest(Child& child) {
  child.state = State::resting;
  set_timer(child, child.rest_until);
}

void SupervisorService::give_up(const std::string& why) {
  gave_up_ = why;
  tell("gave up", {{"why", why}});
  service::complain(name(), "it gives up: " + why);
  for (std::size_t i = 0; i < children_.size(); ++i) stop(i, false);
}

/// Writes an event to stderr, a line of JSON, and sends it to the subscribers.
void SupervisorService::tell(const std::string& event, Facts facts) {
  facts["event"] = event;
  facts["time"] = os::wall_clock_seconds();
  const Content content = facts;
  std::string line = content.json();
  line += '\n';
  log_.write(line);
  for (const std::string& peer : subscribers_) {
    std::string why;
    if (!client().try_message(peer, content, &why))
      service::complain(name(),
                        std::string("an event for '").append(peer).append("' is dropped: ").append(why));
  }
}

void add_class(Registry& registry) {
  registry.add<SupervisorService>("supervisor", "starts services in order and again; see docs/supervise.md");
}

}  // namespace ipcm::supervisor
