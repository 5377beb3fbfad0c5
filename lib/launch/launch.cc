#include "launch/launch.h"

#include <sys/epoll.h>

#include <csignal>
#include <utility>

#include "launch/explain.h"
#include "launch/warm_boots.h"
#include "os/pipe.h"
#include "os/process_tree.h"
#include "wire/last_words.h"
#include "wire/printable.h"

namespace ipcm::launch {
namespace {

using Phase = LaunchError::Phase;

/// The time in which a child must end by itself after it has reported an error or closed its ready pipe.
constexpr auto kEndingTime = std::chrono::seconds(1);
/// The time in which a child must end by itself after it has left the bus.
constexpr auto kDyingTime = std::chrono::seconds(1);
/// The time in which the first request after a start is answered.
constexpr auto kFirstRequest = std::chrono::milliseconds(1);

}  // namespace

void Launch::refuse(Phase phase, int error, const std::string& what) const {
  LaunchError::Facts facts;
  facts.name = plan_.name;
  facts.phase = phase;
  facts.error = error;
  facts.elapsed = os::Clock::now() - plan_.began;
  throw LaunchError(started_as(plan_.name) + what, facts);
}

Launch::Launch(Loop& loop, LaunchPlan plan) : loop_(loop), plan_(std::move(plan)), listener_(plan_.name) {
  os::reap_released_children();
  std::optional<BootProcess> warm;
  if (const WarmPool pool = std::exchange(plan_.warm, {})) {
    warm = pool.boots()->take(plan_);
    pool_ = pool.boots();
  }
  if (warm)
    adopt(std::move(*warm));
  else
    start_anew();
  first_pid_ = child_.pid();
  if (ends_.capture) capture_.begin(loop_, std::move(ends_.capture), std::move(ends_.words_to));
  ready_watch_ = loop_.watch(ends_.ready.get(), EPOLLIN, [this](std::uint32_t) { on_ready_pipe(); });
  child_watch_ = loop_.watch(child_.pidfd(), EPOLLIN, [this](std::uint32_t) { on_child_ended(); });
}

Launch::Launch(Loop& loop, LaunchPlan plan, os::Child running)
    : loop_(loop),
      plan_(std::move(plan)),
      verdict_(Verdict::ready),
      child_(std::move(running)),
      first_pid_(child_.pid()),
      service_pid_(first_pid_),
      listener_(plan_.name) {
  child_watch_ = loop_.watch(child_.pidfd(), EPOLLIN, [this](std::uint32_t) { on_child_ended(); });
}

Launch::~Launch() {
  if (verdict_ == Verdict::pending) end_child();
  ready_watch_.stop();
  child_watch_.stop();
  refill();
}

void Launch::adopt(BootProcess boot) {
  child_ = std::move(boot.child);
  began_ = boot.began;
  ends_ = std::move(boot.ends);
}

void Launch::start_anew() {
  LaunchFds fds;
  const bool by_fork = plan_.program.empty() || plan_.post_fork;
  try {
    fds = open_fds(plan_);
    const bool by_file = plan_.secret || plan_.parameters.size() >= handoff::kLongestArgument;
    if (!plan_.program.empty() && by_file)
      fds.childs.parameters = os::make_readable_once("ipcm-parameters", plan_.parameters);
  } catch (const SystemError& error) {
    refuse(Phase::prepare, error.code(), error.what());
  }
  if (by_fork) {
    ends_ = std::move(fds.ours);
    start_by_fork(std::move(fds.childs));
    return;
  }
  auto started = start_boot(plan_, std::move(fds));
  if (const auto* failed = std::get_if<NotStarted>(&started))
    refuse(failed->phase, failed->error, failed->what);
  adopt(std::move(std::get<BootProcess>(started)));
}

void Launch::start_by_fork(ChildFds fds) {
  const auto numbers = fds.release();
  std::optional<os::Child> child;
  try {
    child = os::fork_process();
  } catch (const SystemError& error) {
    fds.take_up(numbers);
    refuse(Phase::fork, error.code(), error.what());
  }
  if (child) {
    fds.take_up(numbers);
    child_ = std::move(*child);
    began_ = os::wall_clock_seconds();
    return;
  }
  // The rest of this function runs in the child. No exception may leave it: the functions above on the stack
  // are the parent's.
  os::discard_stdio();
  int status = 71;  // a system error, according to the boot contract
  try {
    if (plan_.new_session) os::start_session();
    if (plan_.post_fork)
      plan_.post_fork();  // may fork again: numbers stay valid then, owned descriptors would be closed
    fds.take_up(numbers);
    if (!plan_.program.empty()) {
      // post_fork needs a plain fork, so the exec follows here.
      auto spawn = plan_boot(plan_, fds);
      spawn.new_session = false;
      const os::SpawnFailure failure = os::become(spawn);
      // The ready pipe already has the number that the program expects; our own number may be closed.
      ready::Announcer(os::UniqueFd(spawn.fds.front().as), {}).failed(describe(failure, plan_));
      os::leave_forked_process(127);
    }
    if (fds.in) os::replace_standard_stream(fds.in.get(), 0);
    if (fds.first_stdout() >= 0) os::replace_standard_stream(fds.first_stdout(), 1);
    os::replace_standard_stream(fds.first_stderr(), 2);
    const bool out = fds.returns_stdout(), err = fds.returns_stderr();
    ready::Announcer announcer(std::move(fds.ready),
                               fds.capture ? std::move(fds.real_stderr) : os::UniqueFd(),
                               {std::move(fds.log), out, err});
    fds.capture.reset();
    try {
      status = plan_.body(ChildSide{std::move(announcer), std::move(fds.leash), std::move(fds.original)});
    } catch (const std::exception& error) {
      const std::string line = "ipcm: service '" + wire::printable_name(plan_.name) +
                               "': " + wire::printable(error.what(), 3UL * 1024) + "\n";
      (void)os::try_write_line(2, line, os::Deadline::after(std::chrono::seconds(1)));
      status = 70;
    }
  } catch (const std::exception& error) {
    if (!fds.ready) fds.take_up(numbers);  // a second time would close them
    ready::Announcer(std::move(fds.ready), {}).failed(error.what());
  } catch (...) {
    status = 70;
  }
  os::leave_forked_process(status);
}

void Launch::on_ready_pipe() {
  std::string bytes;
  const auto result = os::read_some(ends_.ready.get(), bytes, 4096, "ready pipe");
  if (result == os::ReadResult::later) return;
  if (result == os::ReadResult::some) {
    if (const auto report = listener_.feed(bytes)) heard(*report);
    return;
  }
  ready_watch_.stop();
  heard(listener_.at_end());
}

void Launch::heard(const ready::Report& report) {
  if (verdict_ != Verdict::pending || bad_news_ || unconfirmed_) return;
  if (const auto* ready = std::get_if<ready::Ready>(&report)) {
    confirm(*ready);
    return;
  }
  // The child has closed the pipe and is about to end by itself. The error reports its exit status.
  bad_news_ = report;
  ready_watch_.stop();
  (void)child_.try_reap();
  if (child_.reaped())
    conclude();
  else
    ending_watch_ = loop_.at(os::Clock::now() + kEndingTime, [this] { conclude(); });
}

void Launch::on_child_ended() {
  const auto status = child_.try_reap();
  if (!child_.reaped()) return;
  child_watch_.stop();
  if (!status && plan_.known_end)
    if (const auto known = plan_.known_end()) child_.note_status(*known);
  while (verdict_ == Verdict::pending && !bad_news_ && !unconfirmed_ && os::is_readable(ends_.ready.get()))
    on_ready_pipe();
  if (unconfirmed_) look_again();
  if (verdict_ == Verdict::ready) report_death();
  if (verdict_ != Verdict::pending || unconfirmed_) return;
  // If the child has exited with status 0 and another process still has the pipe, that process may become the
  // service: the child may have forked a daemon.
  if (!bad_news_ && !(status && status->success())) bad_news_ = ready::Silent{};
  if (bad_news_) conclude();
}

/// Reports that the service has failed. The launcher has not ended it.
void Launch::report_death() noexcept {
  if (!plan_.on_death || !child_.reaped() || std::exchange(is_death_reported_, true)) return;
  // The service may be another process: post_fork may have forked again.
  const bool was_serving = verdict_ == Verdict::ready;
  if (was_serving && service_pid_ != first_pid_) return;
  const auto& status = child_.status();
  try {
    if (!(was_serving && status && !status->success())) {
      // Only its registration, which it has left behind, shows that it was on the bus, or that it did not leave.
      const auto there = plan_.on_bus ? plan_.on_bus() : std::nullopt;
      if (!there || !there->joined || there->present) return;
    }
    plan_.on_death({first_pid_, began_, status});
  } catch (const std::exception&) {
    // The bus can't be read: the next process that lists it notes the death.
  }
}

void Launch::conclude() {
  if (verdict_ != Verdict::pending) return;
  LaunchError::Facts facts;
  facts.status = child_.status();
  const std::string ended = child_.reaped() ? os::how_it_ended(child_.pidfd(), facts.status) : "";
  std::string what;
  if (const auto* failed = std::get_if<ready::Failed>(&*bad_news_)) {
    facts.phase = failed->joined ? Phase::start : Phase::boot;
    facts.reason = failed->error;
    what = failed->error + (facts.status ? " (it " + ended + ")" : "");
  } else {
    facts.phase = has_joined() ? Phase::start : Phase::boot;
    if (ended.empty())
      what = "it closed the ready pipe without a ready line, and ran on; the launcher ended it";
    else
      what = (plan_.program.empty() ? std::string("its process ") : "boot binary '" + plan_.program + "' ") +
             ended + " after " + readable_span(os::Clock::now() - plan_.began) + ", before it was ready";
  }
  fail(std::move(facts), what);
}

bool Launch::has_joined() const {
  if (!plan_.on_bus) return false;
  const auto there = plan_.on_bus();
  return there && there->joined;
}

/// Checks on the bus whether the ready line is true.
void Launch::confirm(const ready::Ready& ready) {
  std::optional<LaunchPlan::Presence> there = LaunchPlan::Presence{true, true, 0};
  if (plan_.on_bus) there = plan_.on_bus();
  if (there && there->present) {
    succeed(proven(ready.pid, *there));
    return;
  }
  unconfirmed_ = ready;
  ready_watch_.stop();
  if (!there) return;
  // The service may have joined the bus and left it since. Then it is about to end.
  (void)child_.try_reap();
  if (child_.reaped())
    refuse_absent();
  else
    ending_watch_ = loop_.at(os::Clock::now() + kEndingTime, [this] { refuse_absent(); });
}

void Launch::look_again() {
  if (unconfirmed_ && verdict_ == Verdict::pending) confirm(ready::Ready(*unconfirmed_));
}

/// Decides about a service that reported ready and is not on the bus.
void Launch::refuse_absent() {
  if (verdict_ != Verdict::pending) return;
  const auto status = child_.status();
  if (child_.reaped() && (!status || status->success())) {
    succeed(first_pid_);
    return;
  }
  LaunchError::Facts facts;
  facts.status = status;
  facts.phase = has_joined() ? Phase::start : Phase::boot;
  fail(std::move(facts),
       "it reported ready, but no peer of that name is on the bus; a service must join the bus before it "
       "reports ready (docs/boot.md)" +
           (status ? " (it " + status->describe() + ")" : ""));
}

/// Returns the pid of the service: the one that the bus has, else that of our own child, if the service
/// claims that pid or none. 0: unknown.
Pid Launch::proven(Pid claimed, const LaunchPlan::Presence& there) const {
  if (there.pid > 0) return there.pid;
  return claimed == 0 || claimed == first_pid_ ? first_pid_ : 0;
}

void Launch::succeed(Pid service) {
  verdict_ = Verdict::ready;
  elapsed_ = os::Clock::now() - plan_.began;
  service_pid_ = service;
  for (Watch* watch : {&ready_watch_, &limit_watch_, &ending_watch_}) watch->stop();
  ends_.ready.reset();
  capture_.pass_on();
  refill_soon();
}

std::optional<ExitStatus> Launch::status_of(Pid pid) {
  // The process may be another service of that name: an earlier one, or one that was started later.
  const bool could_be = pid == 0 ? verdict_ != Verdict::pending : pid == first_pid_ || pid == service_pid_;
  return could_be ? child_.reap(os::Deadline::after(kDyingTime)) : std::nullopt;
}

void Launch::end_child() {
  for (Watch* watch : {&ready_watch_, &child_watch_, &limit_watch_, &ending_watch_}) watch->stop();
  // Also the processes that it has started; some may have groups of their own.
  const bool is_ours = child_.pid() > 0 && !child_.reaped();  // not if it was released
  if (plan_.new_session && is_ours) {
    os::signal_session(child_.pid(), SIGKILL);
    child_.signal_group(SIGKILL);
  }
  (void)child_.kill_and_reap();
  ends_.ready.reset();
}

void Launch::fail(LaunchError::Facts facts, const std::string& what) {
  verdict_ = Verdict::failed;
  if (child_.reaped()) report_death();  // before the launcher ends it
  end_child();
  facts.name = plan_.name;
  facts.elapsed = os::Clock::now() - plan_.began;
  facts.stderr_tail = capture_.take_tail();
  const std::string words = wire::last_words(facts.stderr_tail);
  // Our boot reports the same text on the ready pipe and on stderr.
  const bool said_already = words.empty() || what.find(words) != std::string::npos ||
                            (!facts.reason.empty() && words.find(facts.reason) != std::string::npos);
  error_.emplace(started_as(plan_.name) + what + (said_already ? "" : "; its last words: " + words),
                 std::move(facts));
  refill_soon();
}

void Launch::refill_soon() {
  const auto pool = pool_.lock();
  if (!pool) return;
  if (pool->is_empty()) return refill();  // for the next start
  try {
    refill_watch_ = loop_.at(os::Clock::now() + kFirstRequest, [this] { refill(); });
  } catch (const SystemError&) {
    refill();  // a pool is no reason to fail: the start is decided
  }
}

void Launch::refill() noexcept {
  if (const auto pool = std::exchange(pool_, {}).lock()) pool->refill();
}

void Launch::decide(os::Deadline deadline) {
  if (!loop_.run_until([&] { return verdict_ != Verdict::pending; }, deadline)) give_up();
}

void Launch::limit(os::Deadline deadline) {
  if (verdict_ == Verdict::pending) limit_watch_ = loop_.at(deadline.when(), [this] { give_up(); });
}

void Launch::give_up() {
  if (verdict_ != Verdict::pending) return;
  LaunchError::Facts facts;
  facts.timed_out = true;
  const bool joined = has_joined();
  facts.phase = joined ? Phase::start : Phase::boot;
  fail(std::move(facts), "not ready within " + readable_span(os::Clock::now() - plan_.began) +
                             (joined ? " (phase start: it had joined the bus, on_start had not returned)"
                                     : " (phase boot: it ran, and had not joined the bus)") +
                             "; the launcher ended it");
}

LaunchError Launch::error() const { return error_.value(); }

void Launch::release() {
  ready_watch_.stop();
  child_watch_.stop();
  (void)child_.try_reap();  // it may have ended already
  if (verdict_ == Verdict::ready) report_death();
  child_.release();
  if (verdict_ == Verdict::pending) capture_.leave_to_relay();
  capture_.relay().release();
}

}  // namespace ipcm::launch
