// What a service starts itself: Core's part of it.

#include <csignal>

#include "bus/member.h"
#include "service/core.h"
#include "service/start.h"
#include "wire/conversation.h"

namespace ipcm::service {

void Core::launch(const std::string& name, const ServiceOptions& options, bool wait) {
  if (options.new_bus || options.ipcm_info)
    throw UsageError("service '" + name +
                     "': inside a service it joins the service's own bus; for another bus use "
                     "ipcm::ipcm_service(), which gives a Handle");
  if (const auto* before = launched(name);
      before != nullptr && before->verdict() == launch::Launch::Verdict::pending)
    throw UsageError("service '" + name + "' is being started already");
  launches_.erase(name);
  ServiceOptions complete = options;
  if (complete.registry == nullptr) complete.registry = setup_->registry;
  if (complete.watch_pids.empty() && !complete.detached) complete.watch_pids = {os::own_pid()};
  auto request = plan_start(name, complete, setup_->info, setup_.get());
  request.on_bus = [this, name] { return presence_of(client().member(), name); };
  auto& launch = launches_[name];
  try {
    launch = std::make_unique<launch::Launch>(*loop_, std::move(request));
  } catch (...) {
    launches_.erase(name);
    throw;
  }
  if (wait) {
    const std::unique_ptr<launch::Launch>& started = launch;
    started->decide(os::Deadline::limit(options.timeout));
    if (started->verdict() == launch::Launch::Verdict::failed) {
      const LaunchError error = started->error();
      launches_.erase(name);
      throw error;
    }
    return;
  }
  requests_->hold(name);
  starting_.insert(name);
  if (options.timeout != kNoLimit) launch->limit(os::Deadline::after(options.timeout));
}

launch::Launch* Core::launched(const std::string& name) {
  const auto found = launches_.find(name);
  return found == launches_.end() ? nullptr : found->second.get();
}

void Core::note_ended_launches() {
  // Children like any other, but owned: reaped by their Launch, and told of here.
  for (const auto& [name, launch] : launches_) {
    const auto& status = launch->child().status();
    if (!launch->child().reaped() || !told_.insert(launch->first_pid()).second || !status) continue;
    const bool exited = status->how == ExitStatus::How::exited;
    constexpr int kExitShift = 8, kCoreBit = 0x80;
    next_.pids.push_back({launch->first_pid(), exited
                                                   ? status->value << kExitShift
                                                   : status->value | (status->core_dumped ? kCoreBit : 0)});
    something_ = true;
  }
}

void Core::follow_launches() {
  for (auto at = starting_.begin(); at != starting_.end();) {
    const std::string name = *at;
    const launch::Launch& launch = *launches_.at(name);
    if (launch.verdict() == launch::Launch::Verdict::pending) {
      ++at;
      continue;
    }
    at = starting_.erase(at);
    if (launch.verdict() == launch::Launch::Verdict::ready)
      requests_->let_go(name);
    else
      requests_->fail_held(name, std::make_exception_ptr(launch.error()));
    something_ = true;
  }
}

bool Core::ready(const std::string& name, std::optional<os::Deadline> wait) {
  launch::Launch* launch = launched(name);
  if (launch == nullptr)  // somebody else started it
    return wait ? client().member().await_active(name, *wait) : client().peer_active(name);
  if (wait) loop_->run_until([&] { return launch->verdict() != launch::Launch::Verdict::pending; }, *wait);
  follow_launches();
  if (launch->verdict() == launch::Launch::Verdict::failed) throw launch->error();
  return launch->verdict() == launch::Launch::Verdict::ready;
}

void Core::end_launched() {
  // All at once: the word to end, then SIGTERM, then SIGKILL, each with its time.
  const auto running = [&] {
    std::vector<launch::Launch*> all;
    for (const auto& [name, launch] : launches_)
      if (launch->child().is_ours() && !launch->child().try_reap() && !launch->child().reaped())
        all.push_back(launch.get());
    return all;
  };
  const auto wait = [&](Duration span) {
    return loop_->run_until([&] { return running().empty(); }, os::Deadline::after(span));
  };
  if (running().empty()) return;
  for (const auto& [name, launch] : launches_) (void)client_->try_message(name, wire::terminate_content());
  if (wait(SpawnOptions{}.polite_time)) return;
  for (launch::Launch* launch : running()) launch->child().signal(SIGTERM);
  if (wait(SpawnOptions{}.term_time)) return;
  for (launch::Launch* launch : running()) (void)launch->child().kill_and_reap();
}

}  // namespace ipcm::service
