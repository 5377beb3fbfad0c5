#include "bus/take_down.h"

#include <sys/epoll.h>

#include <algorithm>
#include <csignal>
#include <optional>

#include "bus/member.h"
#include "bus/obituary_file.h"
#include "bus/transient_client.h"
#include "ipcm/error.h"
#include "os/process.h"
#include "os/time_limit.h"
#include "wire/parsed_content.h"

namespace ipcm {
namespace bus {
namespace {

using State = transport::PeerFacts::State;

/// The time to send the message to terminate to receivers that are slow to read.
constexpr auto kFlushTime = std::chrono::seconds(5);
/// How long SIGTERM has effect, and SIGKILL, where the caller is in a hurry (SpawnOptions::hurry_fd).
constexpr auto kHurriedTime = std::chrono::milliseconds(500);

/// A peer that is asked to leave.
struct Leaving {
  std::string name;     // empty: a child that is not on the bus
  os::UniqueFd opened;  // its process, if we opened it
  int process = -1;
  bool may_be_killed = false;
  bool must_end = false;  // leaving the bus is not enough
  bool gone = false;
  int signalled = 0;  // the last signal that it got
  std::string class_name = {};
  Pid pid = 0;
  bool may_be_us = false;  // its note has our process id, perhaps of another pid namespace
  Watch watch;
};

class TakeDown {
 public:
  TakeDown(const BusInfo& info, const SpawnOptions& options, const std::vector<os::Child*>& children)
      : options_(options), loop_(std::make_shared<Loop>()), member_(join(info, loop_, "spawn")) {
    for (os::Child* child : children) {
      if (!child->is_ours() || child->reaped()) continue;
      Leaving one;
      one.process = child->pidfd();
      one.may_be_killed = one.must_end = true;
      leaving_.push_back(std::move(one));
    }
    for (const std::string& name : member_->transport().peers()) add_peer(name);
  }

  TakeDown(const BusInfo& info, const SpawnOptions& options, const std::vector<std::string>& names)
      : options_(options),
        loop_(std::make_shared<Loop>()),
        member_(join(info, loop_, transient_client_name())) {
    for (const std::string& name : names) {
      if (member_->transport().look(name).state == State::absent) continue;
      add_peer(name);
      if (leaving_.empty() || leaving_.back().name != name) continue;
      // Told by name to end: then it does. Of one whose process can't be proven, leaving has to be enough.
      leaving_.back().must_end = leaving_.back().process >= 0;
      leaving_.back().may_be_killed = true;
    }
  }

  std::vector<StayedPeer> run() {
    const Duration patience = options_.patience;
    if (leaving_.empty()) return {};
    send_first_signal();
    watch_processes();
    if (options_.hurry_fd >= 0)
      hurry_watch_ = loop_->watch(options_.hurry_fd, EPOLLIN, [this](std::uint32_t) {
        hurry_watch_.stop();  // it stays readable
        hurried_at_ = os::Clock::now();
      });
    const bool all_linked = send_word();
    skip_us();
    // Only if need be: ending a directory watch costs the kernel some ten milliseconds (an SRCU grace
    // period).
    if (!all_linked) member_->watch_peers();
    // The patience of the caller bounds the polite time. Peers that may be killed get their signals anyway.
    const auto start = os::Clock::now();
    const auto give_up = patience == kNoLimit ? os::Deadline::never() : os::Deadline::at(start + patience);
    const auto polite =
        std::min(os::Deadline::after(options_.polite_time), os::Deadline::limit(patience / 2));
    if (!await(polite, everybody, Duration::zero())) {
      signal_all(SIGTERM);
      if (!await(os::Deadline::after(options_.term_time), killable, kHurriedTime)) {
        signal_all(SIGKILL);
        (void)await(os::Deadline::after(options_.term_time), killable, kHurriedTime);
      }
      (void)await(give_up, everybody, Duration::zero());
    }
    return stayed();
  }

  /// Keeps the ends of the services that did not end when they were asked to.
  void keep_forced() const {
    for (const Leaving& one : leaving_) {
      if (!one.gone || one.signalled == 0 || one.process < 0 || one.class_name.empty() || one.pid <= 0)
        continue;
      const auto status = os::peek_exit_status(one.process);
      if (!status || status->success()) continue;
      (void)keep_obituary(member_->info(),
                          {.name = one.name, .class_name = one.class_name, .pid = one.pid, .status = status});
    }
  }

  void ask() {
    send_first_signal();
    (void)send_word();
    member_->leave(os::limited(kFlushTime));
  }

  std::vector<StayedPeer> wait(os::Deadline deadline) {
    watch_processes();
    skip_us();
    member_->watch_peers();
    (void)await(deadline, everybody, Duration::zero());
    return stayed();
  }

  [[nodiscard]] std::vector<ForcedPeer> forced() const {
    std::vector<ForcedPeer> all;
    for (const Leaving& one : leaving_)
      if (one.gone && one.signalled != 0) all.push_back({one.name, one.signalled});
    return all;
  }

 private:
  /// "spawn" is what the reference's owner calls itself here.
  static std::unique_ptr<Member> join(const BusInfo& info, const std::shared_ptr<Loop>& loop,
                                      const std::string& name) {
    transport::JoinRequest request;
    request.info = info;
    request.name = name;
    request.anonymous = true;
    // Queues: a peer that is stopped and does not read must not hold up the word to the others.
    auto member = std::make_unique<Member>(request, loop, Member::Sending::queues);
    member->counts().store(name != "spawn" && transient_clients_count(info));
    return member;
  }

  void add_peer(const std::string& name) {
    auto [facts, process] = member_->transport().identify_surely(name);
    if (facts.is_us) return;  // a client of this process: it can't go while we wait for it
    Leaving one;
    one.name = name;
    one.opened = std::move(process);
    one.process = one.opened.get();
    one.class_name = facts.class_name;
    one.pid = facts.pid;
    one.may_be_us = (facts.elsewhere ? facts.noted : facts.pid) == os::own_pid();
    const auto parent = one.process >= 0 ? os::parent_of(facts.pid) : std::nullopt;
    // A child of ours has to end, or it would be left to whoever comes after us; from others it is enough to
    // leave.
    one.must_end = parent == os::own_pid() && one.process >= 0;
    one.may_be_killed = !facts.class_name.empty() || one.must_end;
    leaving_.push_back(std::move(one));
  }

  void send_first_signal() {
    if (options_.signal == 0) return;
    for (const Leaving& one : leaving_)
      if (one.process >= 0) (void)os::signal_process(one.process, options_.signal);
  }

  void watch_processes() {
    for (Leaving& one : leaving_)
      if (one.process >= 0)
        one.watch = loop_->watch(one.process, EPOLLIN, [this](std::uint32_t) { changed_ = true; });
  }

  /// Sends the message to terminate. Returns whether the end of a connection will show the end of each peer.
  bool send_word() {
    bool all_linked = member_->transport().keeps_links();
    for (const Leaving& one : leaving_) {
      if (one.name.empty()) continue;
      try {
        member_->sender().send(one.name, wire::terminate_content(), {}, true);
      } catch (const Error&) {
        all_linked = false;  // it is going, or does not listen
      }
    }
    return all_linked;
  }

  /// We would wait for ourselves.
  void skip_us() {
    for (Leaving& one : leaving_) one.gone = one.gone || one.may_be_us;
  }

  [[nodiscard]] std::vector<StayedPeer> stayed() const {
    std::vector<StayedPeer> all;
    for (const Leaving& one : leaving_)
      if (!one.gone) all.push_back({one.name.empty() ? "a child process" : one.name, one.process >= 0});
    return all;
  }

  void look() {
    for (Leaving& one : leaving_) {
      if (one.gone) continue;
      const bool ended = one.process >= 0 && os::has_ended(one.process);
      if (ended) {
        one.gone = true;
      } else if (!one.must_end) {
        const State state = member_->transport().look(one.name).state;
        // A suspended peer has no process that could leave.
        one.gone = state == State::absent || state == State::dead || state == State::suspended;
      }
      if (one.gone) one.watch.stop();
    }
  }

  static bool everybody(const Leaving&) { return true; }
  static bool killable(const Leaving& one) { return one.may_be_killed && one.process >= 0; }

  /// Until all that `which` names are gone. false: the deadline came first, which is `in_a_hurry` from now,
  /// or from when the hurry began, if the caller is in one.
  bool await(os::Deadline deadline, bool (*which)(const Leaving&), Duration in_a_hurry) {
    const auto began = os::Clock::now();
    for (;;) {
      changed_ = false;
      const std::uint64_t seen = member_->peer_changes();
      look();
      if (std::all_of(leaving_.begin(), leaving_.end(),
                      [&](const Leaving& one) { return one.gone || !which(one); }))
        return true;
      const bool hurried = hurried_at_.has_value();
      const auto limit =
          hurried ? std::min(deadline, os::Deadline::at(std::max(began, *hurried_at_) + in_a_hurry))
                  : deadline;
      if (!loop_->run_until(
              [&] {
                return changed_ || member_->peer_changes() != seen || hurried_at_.has_value() != hurried;
              },
              limit))
        return false;
    }
  }

  void signal_all(int signal) {
    for (Leaving& one : leaving_)
      if (!one.gone && killable(one) && os::signal_process(one.process, signal)) one.signalled = signal;
  }

  const SpawnOptions& options_;
  std::shared_ptr<Loop> loop_;
  std::unique_ptr<Member> member_;
  std::vector<Leaving> leaving_;
  Watch hurry_watch_;
  std::optional<os::Clock::time_point> hurried_at_;
  bool changed_ = false;
};

}  // namespace

std::vector<StayedPeer> take_down(const BusInfo& info, const SpawnOptions& options,
                                  const std::vector<os::Child*>& children) {
  auto left = TakeDown(info, options, children).run();
  for (os::Child* child : children) (void)child->try_reap();
  return left;
}

void ask_to_end(const BusInfo& info, const SpawnOptions& options) {
  TakeDown(info, options, std::vector<os::Child*>()).ask();
}

std::vector<StayedPeer> await_leaving(const BusInfo& info, os::Deadline deadline) {
  // For a server to answer: without an answer, a short wait would tell nothing.
  constexpr auto kLeastTime = std::chrono::seconds(2);
  const SpawnOptions options;
  const os::TimeLimit limit(std::max(deadline, os::Deadline::after(kLeastTime)));
  return TakeDown(info, options, std::vector<os::Child*>()).wait(deadline);
}

}  // namespace bus

std::string describe(const std::vector<StayedPeer>& stayed) {
  std::string text;
  for (const StayedPeer& one : stayed) {
    text.append(text.empty() ? "'" : ", '").append(one.name).append("'");
    if (!one.is_proven) text.append(" (its process can't be proven from here)");
  }
  return text;
}

bool all_proven(const std::vector<StayedPeer>& stayed) {
  return std::all_of(stayed.begin(), stayed.end(), [](const StayedPeer& one) { return one.is_proven; });
}

StopResult stop_peers(const BusInfo& info, const std::vector<std::string>& names, Duration limit) {
  constexpr auto kLongestTermTime = std::chrono::seconds(5);
  SpawnOptions options;
  options.patience = limit;
  // A half of the caller's limit is for the word, a quarter for SIGTERM, the rest for SIGKILL.
  options.term_time =
      limit == kNoLimit ? Duration(kLongestTermTime) : std::min<Duration>(kLongestTermTime, limit / 4);
  bus::TakeDown down(info, options, names);
  StopResult result;
  result.stayed = down.run();
  down.keep_forced();
  result.forced = down.forced();
  return result;
}

}  // namespace ipcm
