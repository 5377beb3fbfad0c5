#include "service/child_services.h"

#include <csignal>
#include <exception>
#include <utility>

#include "bus/member.h"
#include "bus/obituary_file.h"
#include "os/process.h"
#include "service/start.h"
#include "wire/parsed_content.h"

namespace ipcm::service {

void ChildServices::start(const std::string& name, const ServiceOptions& options, bool wait) {
  using Verdict = launch::Launch::Verdict;
  if (options.new_bus || options.ipcm_info)
    throw UsageError("service '" + name +
                     "': inside a service it joins the service's own bus; for another bus use "
                     "ipcm::ipcm_service(), which gives a Handle");
  if (const auto* before = find(name); before != nullptr && before->verdict() == Verdict::pending)
    throw UsageError("service '" + name + "' is being started already");
  const auto began = os::Clock::now();
  const auto deadline = os::Deadline::limit(options.timeout);
  // Requests that still wait for an earlier start wait for this one.
  auto waiting = requests_.starts().take_requests(name);
  requests_.starts().forget(name);
  forget(name);
  ServiceOptions complete = options;
  if (complete.registry == nullptr) complete.registry = parent_.registry;
  if (leash_ >= 0) complete.watch_pids = {os::pid_of(leash_).value_or(-1)};
  std::unique_ptr<launch::Launch> started;
  try {
    auto plan = plan_start(name, complete, parent_.parameters.info, &parent_);
    plan.began = began;
    if (leash_ >= 0) plan.leash_to = leash_;
    plan.on_bus = [this, name] { return presence_of(client_.member(), name); };
    if (options.pre_fork) options.pre_fork();
    started = std::make_unique<launch::Launch>(loop_, std::move(plan));
  } catch (...) {
    requests_.fail_held(name, waiting, std::current_exception());
    throw;
  }
  launch::Launch& launch = *started;
  launches_[name].launch = std::move(started);
  requests_.starts().follow(name, launch, wait ? client::HeldStarts::Hold::no : client::HeldStarts::Hold::yes,
                            std::move(waiting));
  if (!wait) {
    if (options.timeout != kNoLimit) launch.limit(deadline);
    return;
  }
  launch.decide(deadline);
  if (launch.verdict() != Verdict::failed) return;
  const LaunchError error = launch.error();
  requests_.release_decided();  // the launch is still needed for that
  requests_.starts().forget(name);
  launches_.erase(name);  // the error has its end
  throw error;
}

void ChildServices::adopt(const std::string& name, Pid pid, os::UniqueFd process) {
  if (const auto* before = find(name);
      before != nullptr && before->verdict() == launch::Launch::Verdict::pending)
    throw UsageError("service '" + name + "' is being started already");
  requests_.starts().forget(name);
  forget(name);
  launch::LaunchPlan plan;
  plan.name = name;
  plan.new_session = true;
  plan.known_end = [info = parent_.parameters.info, name, pid] {
    return bus::status_in_obituary(info, name, pid);
  };
  launches_[name].launch =
      std::make_unique<launch::Launch>(loop_, std::move(plan), os::Child(pid, std::move(process)));
}

void ChildServices::collect_end(Started& started) {
  launch::Launch& launch = *started.launch;
  const auto& status = launch.child().status();
  if (launch.child().reaped() && status && !std::exchange(started.is_end_told, true))
    ended_.push_back({launch.first_pid(), *status});
}

void ChildServices::forget(const std::string& name) {
  const auto found = launches_.find(name);
  if (found == launches_.end()) return;
  (void)found->second.launch->child().try_reap();
  collect_end(found->second);
  launches_.erase(found);
}

launch::Launch* ChildServices::find(const std::string& name) {
  const auto found = launches_.find(name);
  return found == launches_.end() ? nullptr : found->second.launch.get();
}

std::vector<Activity::Ended> ChildServices::take_ended() {
  // A Launch reaps its child itself, so that SIGCHLD shows nothing of it.
  for (auto& [name, started] : launches_) collect_end(started);
  return std::exchange(ended_, {});
}

std::vector<Worker> ChildServices::running() {
  std::vector<Worker> all;
  for (const auto& [name, started] : launches_)
    if (const auto& launch = started.launch;
        launch->verdict() != launch::Launch::Verdict::failed && !launch->child().reaped())
      all.push_back({name, launch->service_pid() > 0 ? launch->service_pid() : launch->first_pid()});
  return all;
}

bool ChildServices::ready(const std::string& name, std::optional<os::Deadline> wait) {
  using Verdict = launch::Launch::Verdict;
  launch::Launch* launch = find(name);
  if (launch == nullptr) return wait ? client_.member().await_active(name, *wait) : client_.peer_active(name);
  if (wait) (void)loop_.run_until([&] { return launch->verdict() != Verdict::pending; }, *wait);
  requests_.release_decided();
  if (launch->verdict() == Verdict::failed) throw launch->error();
  return launch->verdict() == Verdict::ready;
}

void ChildServices::end() {
  const auto running = [&] {
    std::vector<launch::Launch*> all;
    for (const auto& [name, started] : launches_)
      if (const auto& launch = started.launch;
          launch->child().is_ours() && !launch->child().try_reap() && !launch->child().reaped())
        all.push_back(launch.get());
    return all;
  };
  const auto wait = [&](Duration span) {
    return loop_.run_until([&] { return running().empty(); }, os::Deadline::after(span));
  };
  if (running().empty()) return;
  for (const auto& [name, started] : launches_) (void)client_.try_message(name, wire::terminate_content());
  if (wait(SpawnOptions{}.polite_time)) return;
  for (launch::Launch* launch : running()) launch->child().signal(SIGTERM);
  if (wait(SpawnOptions{}.term_time)) return;
  for (launch::Launch* launch : running()) (void)launch->child().kill_and_reap();
}

}  // namespace ipcm::service
