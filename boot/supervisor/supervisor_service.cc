#include "supervisor/supervisor_service.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "bus/obituary_file.h"
#include "ipcm/error.h"
#include "ipcm/handle.h"
#include "ipcm/launch.h"
#include "ipcm/obituary.h"
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

std::string readable_delay(Duration span) {
  constexpr double kShort = 10;
  std::array<char, 32> text{};
  const double count = seconds(span);
  (void)std::snprintf(text.data(), text.size(), count < kShort ? "%.2g s" : "%.0f s", count);
  return text.data();
}

}  // namespace

const char* to_string(State state) {
  static constexpr const char* kNames[] = {"waiting", "resting", "starting", "running", "stopping",
                                           "stopped", "done",    "ended",    "failed"};
  return kNames[static_cast<std::size_t>(state)];
}

SupervisorService::SupervisorService(ServiceSetup setup, const Args& args)
    : Service(std::move(setup)),
      arguments_(args),
      definition_(define(args, name())),
      intensity_(definition_.intensity, definition_.period),
      log_(runtime().loop(), 2),
      adopts_(definition_.adopts),
      records_(info(), name()) {
  for (const ChildPlan& plan : definition_.children) children_.push_back(make_child(plan));
}

std::unique_ptr<Child> SupervisorService::make_child(const ChildPlan& plan) {
  return std::make_unique<Child>(plan, random_fraction);
}

void SupervisorService::on_start() {
  watch_peers();
  log_.reopen();
  if (adopts_) expect_owner();
  is_adopting_ = adopts_;
  runtime().wake();  // the first turn starts the children
}

void SupervisorService::on_activity(const Activity& activity) {
  for (const auto& [peer, change] : activity.peer_delta)
    if (change < 0) subscribers_.erase(peer);
  has_begun_ |= !definition_.awaits_subscriber || !subscribers_.empty() || activity.terminated;
  if (!has_begun_) return;
  has_lost_owner_ |= !activity.pid_watch.empty();
  if (std::exchange(is_adopting_, false)) adopt_children();
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
      std::any_of(children_.begin(), children_.end(), [](const auto& child) { return child->is_to_stop; });
  if (!is_stopping && gave_up_.empty())
    for (const std::size_t index : definition_.order)
      if (can_start(index)) begin(index);
  for (const auto& child : children_) keep_record(*child);
  answer_waiters();
  answer_reloads();
  forget_those_that_left();
  if (!gave_up_.empty() && !has_processes()) terminate(kGaveUp);
}

bool SupervisorService::can_start(std::size_t index) const {
  const Node& node = definition_.nodes[index];
  const auto is_up = [this](std::size_t one) { return children_[one]->is_up(); };
  if (children_[index]->state != State::waiting) return false;
  return node.needs_any ? std::any_of(node.needs.begin(), node.needs.end(), is_up)
                        : std::all_of(node.needs.begin(), node.needs.end(), is_up);
}

void SupervisorService::begin(std::size_t index) {
  Child& child = *children_[index];
  ServiceOptions options;
  options.class_name = child.plan.class_name;
  options.args = child.plan.args;
  options.exec.emplace();
  options.exec->path = child.plan.boot.empty() ? os::own_executable() : child.plan.boot;
  options.timeout = child.plan.timeout;
  options.new_session = true;  // its own process group; a Ctrl-C is for whoever started the supervisor
  options.log = true;
  child.state = State::starting;
  child.failure.clear();
  child.begun_args = child.plan.args;
  try {
    (void)ipcm_service_nowait(child.plan.name, options);
    keep_record(child);
    tell("starting", {{"service", child.plan.name}});
  } catch (const Error& error) {
    ended(index, error.what(), false);
  }
}

void SupervisorService::look(std::size_t index) {
  Child& child = *children_[index];
  if (child.state == State::resting && child.is_due) child.state = State::waiting;
  if (child.state == State::stopping) look_at_stop(child);
  if (child.state == State::starting) look_at_start(index);
  if (child.state != State::running) return;
  launch::Launch* launch = launch_of(child);
  if (!launch->child().reaped()) {
    if (child.drain != 0 && child.is_due) stop_drained(child.drain);  // its time is up
    return look_at_health(child);
  }
  const auto& status = launch->child().status();
  std::string how = status ? status->describe() : "ended with an unknown status";
  // The reason is in its log: that of a missed watchdog, or that of a supervisor which gave up.
  if (!status || !status->success())
    if (const auto obituary = obituary_of(info(), child.plan.name);
        obituary && obituary->pid == launch->first_pid() && !obituary->last_words.empty())
      how += "; its last words: " + obituary->last_line();
  ended(index, how, status && status->success());
}

void SupervisorService::begin_health_checks(Child& child) {
  child.health.reset();
  if (child.plan.health)
    child.health = std::make_unique<HealthCheck>(*this, *child.plan.health, child.plan.name);
}

void SupervisorService::look_at_health(Child& child) {
  if (!child.health || child.is_to_stop) return;
  const auto why = child.health->look();
  if (!why) return;
  child.failure = *why;
  child.after_stop = AfterStop::counts_as_failed;
  begin_stop(child);
}

void SupervisorService::look_at_start(std::size_t index) {
  Child& child = *children_[index];
  try {
    if (!peer(child.plan.name).ready()) return;
  } catch (const LaunchError& error) {
    ended(index, error.what(), false);
    return;
  }
  child.state = State::running;
  child.ready_since = os::Clock::now();
  child.next.clear();
  begin_health_checks(child);
  keep_record(child);  // before anybody hears of it
  if (child.plan.is_balancer && child.begun_args != child.plan.args) update_balancer(child);
  if (!child.plan.ready_by_exit)
    tell("ready", {{"service", child.plan.name}, {"pid", launch_of(child)->service_pid()}});
}

/// A child has ended by itself, did not start, or was stopped as failed.
void SupervisorService::ended(std::size_t index, const std::string& how, bool is_success) {
  Child& child = *children_[index];
  child.last_end = how;
  child.next.clear();
  if (child.state != State::stopping) child.note_end_of_readiness();
  runtime().wake();  // the next turn looks at the others
  if (is_success && child.plan.ready_by_exit) {
    child.state = State::done;
    child.is_to_stop = false;
    tell("done", {{"service", child.plan.name}});
  } else if (child.is_to_stop || child.plan.is_leaving) {  // it would have been stopped anyway
    child.is_to_stop = false;
    if (child.after_stop == AfterStop::starts_again && !child.plan.is_leaving)
      rest(child);
    else
      child.state = State::stopped;
    tell("ended", {{"service", child.plan.name}, {"how", how}});
  } else if (restarts(child.plan.policy, is_success)) {
    restart(index, is_success);
  } else {
    child.state = is_success ? State::ended : State::failed;
    tell_end(index, to_string(child.state), "no restart", {});
  }
}

void SupervisorService::restart(std::size_t index, bool is_success) {
  Child& child = *children_[index];
  const auto now = os::Clock::now();
  const Duration wait = child.backoff.next(child.ready_for);
  child.state = State::failed;
  if (!intensity_.allows(now)) {
    tell_end(index, "failed", "the supervisor gives up", {});
    give_up("service '" + child.plan.name + "' " + child.last_end + "; that would be more than " +
            std::to_string(definition_.intensity) + " restarts within " +
            std::to_string(std::chrono::duration_cast<std::chrono::seconds>(definition_.period).count()) +
            " s");
    return;
  }
  ++child.restarts;
  child.rest_until = os::later_by(now, wait);
  tell_end(index, is_success ? "ended" : "failed",
           "restart " + std::to_string(child.restarts) + " in " + readable_delay(wait),
           {{"restart", child.restarts}, {"delay", seconds(wait)}});
  rest(child);
  auto together = restarted_with(definition_.strategy, definition_.order, index);
  if (child.plan.propagate) {
    const auto dependents = with_dependents(definition_.nodes, index);
    for (std::size_t i = 0; i < together.size(); ++i) together[i] = together[i] || dependents[i];
  }
  for (std::size_t i = 0; i < children_.size(); ++i)
    if (i != index && together[i]) stop_for_restart(i, index);
}

/// Stops a child that is started again because another one has failed.
void SupervisorService::stop_for_restart(std::size_t index, std::size_t failed) {
  Child& child = *children_[index];
  if (!child.has_process()) return;
  child.rest_until = children_[failed]->rest_until;
  if (!child.is_to_stop && child.state != State::stopping) stop(index, AfterStop::starts_again);
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
  for (std::size_t i = 0; i < children_.size(); ++i) stop(i, AfterStop::stays);
}

/// Writes an event to stderr, a line of JSON, and sends it to the subscribers.
void SupervisorService::tell(const std::string& event, Facts facts) {
  facts["event"] = event;
  facts["time"] = os::wall_clock_seconds();
  const Content content = facts;
  std::string line = content.json();
  line += '\n';
  log_.write(line);
  for (const std::string& peer : subscribers_) send(peer, content);
}

void SupervisorService::send(const std::string& peer, const Content& content) {
  std::string why;
  if (!client().try_message(peer, content, &why))
    service::complain(name(),
                      std::string("an event for '").append(peer).append("' is dropped: ").append(why));
}

/// Tells the end of a child and what happens next: to the subscribers, to the children that need it, and in its
/// obituary.
void SupervisorService::tell_end(std::size_t index, const std::string& event, const std::string& next,
                                 Facts facts) {
  Child& child = *children_[index];
  child.next = next;
  facts.insert({{"service", child.plan.name}, {"how", child.last_end}, {"next", next}});
  if (launch::Launch* launch = launch_of(child))
    bus::keep_next(info(), child.plan.name, launch->first_pid(), next);
  tell(event, facts);
  if (child.plan.propagate && facts.contains("restart")) return;  // they are started again with it
  const Content message = Facts{{"event", event}, {"service", child.plan.name}, {"next", next}};
  const auto dependents = with_dependents(definition_.nodes, index);
  for (std::size_t i = 0; i < children_.size(); ++i)
    if (i != index && dependents[i] && children_[i]->state == State::running)
      send(children_[i]->plan.name, message);
}

void add_class(Registry& registry) {
  registry.add<SupervisorService>("supervisor", "starts services in order and again; see docs/supervise.md");
}

}  // namespace ipcm::supervisor
