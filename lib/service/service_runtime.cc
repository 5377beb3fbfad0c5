#include "service/service_runtime.h"

#include <sys/epoll.h>

#include <algorithm>
#include <csignal>

#include "bus/member.h"
#include "bus/obituary_file.h"
#include "bus/take_down.h"
#include "client/inspection_document.h"
#include "os/child.h"
#include "os/process.h"
#include "service/diagnostic.h"
#include "service/self_inspection.h"
#include "service/serve.h"
#include "service/start.h"
#include "transport/protocols.h"
#include "wire/parsed_content.h"

namespace ipcm::service {
namespace {

/// How often, at most, the size of the log is looked at.
constexpr auto kLogLook = std::chrono::milliseconds(100);
constexpr auto kFlushTime = std::chrono::seconds(5);
/// One after the other, with nothing that works in between.
constexpr int kMostFailedTurns = 100'000;

}  // namespace

ServiceRuntime::ServiceRuntime(Service& self, ServiceSetup setup)
    : self_(self),
      setup_(std::move(setup.setup_)),
      loop_(std::make_shared<Loop>()),
      dispatcher_(self, *setup_, record_),
      workers_(setup_->parameters.name),
      descriptors_(*loop_),
      loop_recovery_(
          *loop_, [this](const std::string& why) { complain("it goes on after a failure: " + why); }, [] {}),
      peers_recovery_(
          *loop_, [this](const std::string& why) { complain("peers can't be listed: " + why); },
          [this] { something_ = true; }),
      own_place_(
          *loop_,
          [this](const std::string& why) { complain("its place on the bus can't be watched: " + why); },
          [this] { something_ = true; }) {
  const ServiceOptions& given = setup_->callbacks;
  if (given.on_start) callbacks.on_start.push(given.on_start);
  if (given.on_all) callbacks.on_all.push(given.on_all);
  if (given.on_interval) callbacks.on_interval.push(given.on_interval);
  if (given.on_general_message) callbacks.on_general_message.push(given.on_general_message);
  if (given.on_peer_delta) callbacks.on_peer_delta.push(given.on_peer_delta);
  if (given.on_pid) callbacks.on_pid.push(given.on_pid);
  for (const auto& [signal, callback] : given.on_sig) callbacks.on_sig[signal].push(callback);
  if (given.on_unhandled) callbacks.on_unhandled.push(given.on_unhandled);
  if (given.should_end) callbacks.should_end.push(given.should_end);
  if (given.on_cleanup) callbacks.on_cleanup.push(given.on_cleanup);
}

ServiceRuntime::~ServiceRuntime() = default;

Client& ServiceRuntime::client() {
  if (!client_)
    throw UsageError("service '" + setup_->parameters.name +
                     "' is not on the bus yet; use on_start, not the constructor");
  return *client_;
}

client::PendingRequests& ServiceRuntime::requests() {
  (void)client();
  return *requests_;
}

ChildServices& ServiceRuntime::children() {
  (void)client();
  return *children_;
}

void ServiceRuntime::join() {
  std::vector<int> signals = {SIGTERM, SIGINT, SIGCHLD};
  for (const auto& [signal, list] : callbacks.on_sig) signals.push_back(signal);
  loop_->spin(setup_->parameters.spin);
  signals_ = std::make_unique<os::SignalReader>(signals);
  signals_watch_ = loop_->watch(signals_->fd(), EPOLLIN, [this](std::uint32_t) { on_signals(); });
  watch_processes();

  transport::JoinRequest request;
  request.info = setup_->parameters.info;
  request.name = setup_->parameters.name;
  request.class_name = class_name_on_bus(setup_->parameters.class_name);
  request.is_inspectable = true;
  auto member = std::make_shared<bus::Member>(request, loop_, bus::Member::Sending::queues);
  forget_obituary(request.info,
                  request.name);  // of the predecessor: it was the last process of that name until now
  requests_ = std::make_shared<client::PendingRequests>(std::move(member),
                                                        client::PendingRequests::IncomingRequests::parsed);
  client_.emplace(requests_);
  client_->on_diagnostic([this](const std::string& sentence) { complain(sentence); });
  children_.emplace(*setup_, *loop_, *client_, *requests_);
}

void ServiceRuntime::start() {
  self_.on_start();
  if (!callbacks.on_all.empty() || !callbacks.on_peer_delta.empty()) watch_peers();
  if (setup_->parameters.interval) {
    next_interval_ = os::from_now(*setup_->parameters.interval);
    arm_interval();
  }
}

void ServiceRuntime::watch_processes() {
  const auto add = [this](Pid pid, os::UniqueFd process) {
    auto watched = std::make_unique<Watched>(Watched{pid, std::move(process), {}});
    Watched* entry = watched.get();
    watched->watch = loop_->watch(entry->process.get(), EPOLLIN, [this, entry](std::uint32_t) {
      next_.pid_watch.push_back(entry->pid);
      something_ = true;
      entry->watch.stop();
    });
    watched_.push_back(std::move(watched));
  };
  Pid leashed = 0;
  if (setup_->leash) {
    leashed = os::pid_of(setup_->leash.get()).value_or(-1);
    leash_ = setup_->leash.get();
    add(leashed, std::move(setup_->leash));
    // The launcher has ended, or it lives in another pid namespace: then its numbers mean other processes
    // here.
    if (leashed < 0) return;
  }
  for (const Pid pid : setup_->parameters.watch_pids) {
    if (pid == leashed)
      continue;  // the leash names that process itself, not a number that may have been given away
    if (auto process = os::open_process(pid)) {
      add(pid, std::move(*process));
    } else {
      next_.pid_watch.push_back(pid);
      something_ = true;
    }
  }
}

void ServiceRuntime::on_signals() {
  while (const auto receipt = signals_->next()) {
    if (receipt->signal == SIGCHLD)
      os::reap_ended_children([this](Pid pid, ExitStatus status) { next_.pids.push_back({pid, status}); });
    if (receipt->signal != SIGCHLD || callbacks.on_sig.contains(SIGCHLD)) ++next_.sigs[receipt->signal];
    something_ = true;
  }
}

void ServiceRuntime::arm_interval() {
  interval_watch_ = loop_->at(next_interval_, [this] {
    next_.interval = something_ = true;
    // From when it was due, so that the rhythm holds; but beats that were missed are not made up for.
    const auto now = os::Clock::now();
    next_interval_ = os::later_by(next_interval_, *setup_->parameters.interval);
    if (next_interval_ <= now) next_interval_ = os::later_by(now, *setup_->parameters.interval);
    arm_interval();
  });
}

void ServiceRuntime::arm_watchdog(ready::Announcer& announcer) {
  const auto period = announcer.watchdog();
  if (!period) return;
  watchdog_watch_ = loop_->at(os::from_now(*period), [this, &announcer] {
    announcer.alive();
    arm_watchdog(announcer);
  });
}

int ServiceRuntime::run(ready::Announcer& announcer) {
  arm_watchdog(announcer);
  record_.ready = ServiceRecord::Clock::now();
  // Events may have come before on_start, or while it ran.
  turn();
  while (!exit_code_) {
    const auto until = something_ || requests_->has_work() || descriptors_.are_due() ? os::Deadline::passed()
                                                                                     : os::Deadline::never();
    // One failed call is no reason to end the service.
    if (loop_recovery_.attempt([&] { loop_->turn(until); }))
      failed_turns_ = 0;
    else if (++failed_turns_ > kMostFailedTurns)
      throw Error("the loop can't go on: " + std::to_string(kMostFailedTurns) + " calls failed in a row");
    turn();
    if (log_) look_after_log();
  }
  return *exit_code_;
}

/// Keeps the log small. A watch on the file would notice its growth at once, but the kernel takes tens of
/// milliseconds to end a watch, and so to end this process.
void ServiceRuntime::look_after_log() {
  const auto now = os::Clock::now();
  if (now < next_log_look_) return;
  next_log_look_ = now + kLogLook;
  log_.roll_beyond(os::RollingLog::kFull);
}

template <class Call>
void ServiceRuntime::guarded(const char* what, Call&& call) {
  if (!setup_->parameters.intercept_errors) {
    call();
    return;
  }
  try {
    call();
  } catch (const std::exception& error) {
    complain_of_failure(std::string("an error in ") + what + " was intercepted: " + error.what());
  } catch (...) {
    complain_of_failure(std::string("an error of an unknown type in ") + what + " was intercepted");
  }
}

void ServiceRuntime::complain(const std::string& sentence) const {
  service::complain(setup_->parameters.name, sentence);
}

void ServiceRuntime::complain_of_failure(const std::string& sentence) {
  record_.note_failure(sentence);
  complain(sentence);
}

void ServiceRuntime::end_with_bus() {
  const std::string& why = client_->member().ended();
  if (why.empty() || exit_code_) return;
  complain("it ends: " + why);
  terminate(static_cast<int>(Exit::bus_unavailable));
}

void ServiceRuntime::turn() {
  end_with_bus();
  own_place_.process(client_->member().transport(), watched_.empty());
  for (const auto& [signal, list] : callbacks.on_sig)
    signals_->add(signal);  // those that were added meanwhile
  guarded("a response callback", [&] { requests_->process(); });
  guarded("a callback of watch()", [&] { descriptors_.run(); });
  note_children();
  workers_.forget_ended();
  if (peer_changes_ && peer_changes_->has_news()) (void)peers_recovery_.attempt([this] { note_peers(); });

  client_->member().inbox().take_each(messages_);
  // A mailbox may have been looked at after the loop was: a signal that was sent before a message comes
  // first.
  if (!messages_.empty() &&
      (client_->member().inbox().keeps_messages() || !client_->member().transport().keeps_links()))
    on_signals();
  Activity activity = std::exchange(next_, {});
  const bool noted = std::exchange(something_, false);
  if (!noted && messages_.empty() && activity.peer_delta.empty()) return;
  const std::size_t inspections = answer_inspections();
  if (!noted && activity.peer_delta.empty() && inspections > 0 && inspections == messages_.size()) {
    finish_messages();  // nothing has come that concerns the service
    return;
  }

  for (const auto& [signal, count] : activity.sigs) {
    const auto found = callbacks.on_sig.find(signal);
    if (found != callbacks.on_sig.end() && !found->second.empty()) {
      for (unsigned i = 0; i < count; ++i) guarded("a signal callback", [&] { found->second(self_); });
    } else if (signal == SIGTERM || signal == SIGINT) {
      activity.terminated = true;
    }
  }
  // A flood of messages does not keep the interval and the watchdog waiting.
  constexpr std::size_t kBetweenLooks = 8;
  bool has_beaten = false;
  for (std::size_t i = 0; i < messages_.size(); ++i) {
    if (i % kBetweenLooks == kBetweenLooks - 1) has_beaten |= beat_if_due();
    deliver(messages_[i], activity);
  }
  for (const auto& ended : activity.pids)
    guarded("on_pid", [&] { callbacks.on_pid(self_, ended.pid, ended.status); });
  if (!activity.peer_delta.empty())
    guarded("on_peer_delta", [&] { callbacks.on_peer_delta(self_, activity.peer_delta); });
  if (activity.interval) guarded("on_interval", [&] { self_.on_interval(); });
  activity.interval |= has_beaten;
  if (!activity.pid_watch.empty()) activity.terminated = true;
  guarded("on_activity", [&] { self_.on_activity(activity); });
  if (!callbacks.on_unhandled.empty()) tell_unhandled(activity);
  if (activity.terminated) terminate(0);
  guarded("should_end", [&] {
    if (self_.should_end()) terminate(0);
  });
  finish_messages();
}

void ServiceRuntime::note_children() {
  for (Activity::Ended& ended : children_->take_ended()) {
    next_.pids.push_back(ended);
    something_ = true;
  }
  if (std::exchange(seen_decided_, requests_->starts().decided()) != requests_->starts().decided())
    something_ = true;
}

void ServiceRuntime::finish_messages() {
  if (client_->member().inbox().keeps_messages() && !messages_.empty()) {
    std::vector<std::string> ids;
    for (const wire::IncomingMessage& incoming : messages_) ids.push_back(incoming.message.id);
    client_->member().inbox().finish(ids);
  }
  bus::clear_for_more(messages_);
  client_->member().inbox().finish_taken();  // messages that a callback has taken
}

std::size_t ServiceRuntime::answer_inspections() {
  const auto inspects = [](const wire::IncomingMessage& incoming) {
    return incoming.parsed && incoming.parsed->inspects;
  };
  const auto count = static_cast<std::size_t>(std::count_if(messages_.begin(), messages_.end(), inspects));
  if (count == 0) return 0;
  bus::Member& member = client_->member();
  Inspection facts = describe_self(setup_->parameters, record_, member);
  facts.messages.waiting = messages_.size() - count + member.inbox().size();
  for (const Worker& worker : workers_.running()) facts.workers.push_back({worker.name, worker.pid});
  for (const Worker& service : children_->running()) facts.services.push_back({service.name, service.pid});
  const Content answer = client::write_inspection(facts);
  for (const wire::IncomingMessage& incoming : messages_) {
    if (!inspects(incoming)) continue;
    try {
      RequestDispatcher::send_response(
          member, Request(incoming.parsed->id, incoming.message.from, {}, incoming.connection), answer);
    } catch (const PeerGone&) {
      // It does not wait any more.
    } catch (const Error& error) {
      complain(std::string("its facts could not be sent: ") + error.what());
    }
  }
  return count;
}

bool ServiceRuntime::beat_if_due() {
  loop_->run_due_timers();
  if (!std::exchange(next_.interval, false)) return false;
  guarded("on_interval", [&] { self_.on_interval(); });
  return true;
}

void ServiceRuntime::tell_unhandled(Activity rest) {
  if (!callbacks.on_interval.empty()) rest.interval = false;
  if (!callbacks.on_general_message.empty()) rest.messages.clear();
  if (!callbacks.on_peer_delta.empty()) rest.peer_delta.clear();
  if (!callbacks.on_pid.empty()) rest.pids.clear();
  std::erase_if(rest.sigs, [&](const auto& entry) {
    const auto found = callbacks.on_sig.find(entry.first);
    return found != callbacks.on_sig.end() && !found->second.empty();
  });
  if (!rest.interval && rest.messages.empty() && rest.peer_delta.empty() && rest.pids.empty() &&
      rest.sigs.empty() && rest.pid_watch.empty())
    return;
  guarded("on_unhandled", [&] { callbacks.on_unhandled(self_, rest); });
}

void ServiceRuntime::deliver(wire::IncomingMessage& incoming, Activity& activity) {
  const Message& message = incoming.message;
  wire::ParsedContent& parsed = *incoming.parsed;
  if (parsed.inspects) return;
  if (parsed.meaning == wire::Meaning::request) {
    dispatcher_.dispatch(
        Request(std::move(parsed.id), std::move(incoming.message.from), std::move(parsed.payload),
                incoming.connection, std::move(incoming.message.fields)),
        client_->member());
    return;
  }
  if (parsed.meaning == wire::Meaning::terminate) activity.terminated = true;
  activity.messages.push_back(message);
  guarded("on_general_message", [&] { self_.on_general_message(message); });
}

void ServiceRuntime::send_response(const Request& request, const Content& answer) {
  try {
    RequestDispatcher::send_response(client().member(), request, answer);
  } catch (const PeerGone&) {
    ++record_.failed;
    throw;
  }
  ++record_.answered;
}

void ServiceRuntime::send_error(const Request& request, const std::string& text) {
  record_.note_failure("the request " + request.id() + " of '" + request.from() + "' failed: " + text);
  try {
    RequestDispatcher::send_error(client().member(), request, text);
  } catch (const PeerGone&) {
    ++record_.failed;
    throw;
  }
  ++record_.failed;
}

void ServiceRuntime::terminate(int code) {
  if (!exit_code_) exit_code_ = code;
}

void ServiceRuntime::watch_peers() {
  if (!peer_changes_) peer_changes_.emplace(client().member());
}

void ServiceRuntime::watch(int fd, Readiness wanted, std::function<void()> callback) {
  (void)client();
  descriptors_.set(fd, wanted, std::move(callback));
}

void ServiceRuntime::note_peers() {
  if (wakes_on_changes_of_bus_) something_ = true;
  for (const auto& [peer, change] : peer_changes_->take()) next_.peer_delta[peer] = change;
}

void ServiceRuntime::keep_failure(int status) const noexcept {
  // Without a bus, there is no place for it.
  if (status == 0 || !client_ || !client_->member().ended().empty()) return;
  try {
    std::optional<Obituary::TimePoint> started;
    if (const auto began = os::start_time(os::own_pid())) started = bus::time_of(*began);
    (void)bus::keep_obituary(setup_->parameters.info,
                             {.name = setup_->parameters.name,
                              .class_name = class_name_on_bus(setup_->parameters.class_name),
                              .pid = os::own_pid(),
                              .started = started,
                              .status = ExitStatus::exited(status)});
  } catch (const std::exception&) {
    // Its launcher, or an observer, will know its status too.
  }
}

void ServiceRuntime::leave() {
  guarded("on_cleanup", [&] { self_.on_cleanup(); });
  interval_watch_.stop();
  watchdog_watch_.stop();
  workers_.begin_to_end();
  children_->end();
  workers_.end();
  bus::Member& member = client_->member();
  const bool orphaned =
      member.transport().is_orphaned();  // before leaving: a removal also removes the sign of it
  member.leave(os::Deadline::after(kFlushTime));
  if (!orphaned && !member.transport().is_orphaned()) return;
  // The owner was killed: the last member removes the bus. Others that leave now may have a file there for
  // a moment: so it takes more than one attempt.
  constexpr int kAttempts = 100;
  for (int i = 0; i < kAttempts; ++i)
    if (member.transport().peers().empty() &&
        transport::find_protocol(setup_->parameters.info.protocol)
            .remove_route(setup_->parameters.info, transport::Living::spare))
      return;
}

}  // namespace ipcm::service
