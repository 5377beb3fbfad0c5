#include "launch/warm_boots.h"

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "launch/explain.h"
#include "os/busy_program.h"
#include "os/directory.h"
#include "os/sys.h"

namespace ipcm::launch {
namespace {

/// An empty pipe has room for this many bytes, unless the kernel has made it small for lack of pipe memory.
constexpr std::size_t kLongestParameters = 60UL * 1024;
/// The number of processes that one refill starts. More would delay the caller.
constexpr std::size_t kRefilledAtOnce = 2;
/// The longest wait for another thread that fills the pool. It needs much less.
constexpr auto kFillTime = std::chrono::seconds(10);

bool can_wait(const LaunchPlan& plan) {
  // A waiting process notices the end of its launcher by its ready pipe or by its leash.
  return !plan.program.empty() && (plan.leash || !plan.outlives_launcher) && !plan.post_fork &&
         plan.capture_stderr && plan.log.empty() && plan.redirect.in.empty() && plan.redirect.out.empty() &&
         plan.redirect.err.empty() && plan.original == std::array<int, 3>{-1, -1, -1};
}

LaunchPlan without_parameters(const LaunchPlan& plan) {
  LaunchPlan kind;
  kind.program = plan.program;
  kind.args = plan.args;
  kind.env = plan.env;
  kind.directory = plan.directory;
  kind.new_session = plan.new_session;
  kind.leash = plan.leash;
  kind.parameters_come_whole = true;
  return kind;
}

std::vector<std::string> current_environment() {
  std::vector<std::string> all;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) all.emplace_back(*entry);
  return all;
}

bool is_current(const std::vector<std::string>& environment) {
  char** entry = environ;
  for (const std::string& before : environment) {
    if (entry == nullptr || *entry == nullptr || before != *entry) return false;
    ++entry;
  }
  return entry == nullptr || *entry == nullptr;
}

}  // namespace

BootKind::BootKind(const LaunchPlan& plan)
    : plan_(without_parameters(plan)),
      environment_(current_environment()),
      places_(places_now(plan.program)) {}

bool BootKind::suits(const LaunchPlan& plan) const {
  return plan.program == plan_.program && plan.args == plan_.args && plan.env == plan_.env &&
         plan.directory == plan_.directory && plan.new_session == plan_.new_session &&
         plan.leash == plan_.leash && is_current(environment_) && places_ == places_now(plan.program);
}

BootKind::Places BootKind::places_now(const std::string& program) {
  Places places;
  const auto file = os::look_at(program);
  places[0] = {file.device, file.inode, file.modified};
  const auto here = os::look_at(".");
  places[1] = {here.device, here.inode, 0};
  for (int stream = 0; stream <= 2; ++stream) {
    if (!os::is_open(stream)) continue;
    const auto facts = os::facts_of(stream);
    places.at(static_cast<std::size_t>(stream) + 2) = {facts.device, facts.inode, 0};
  }
  return places;
}

WarmBoots::~WarmBoots() { end_all(); }

bool WarmBoots::Waiting::has_ended() { return process.child().try_reap() || process.child().reaped(); }

void WarmBoots::end_all() noexcept {
  // All get the signal before the first is waited for, so that they end in parallel.
  for (Waiting& one : waiting_)
    if (one.process.child().is_ours()) one.process.child().signal(SIGKILL);
  waiting_.clear();
}

void WarmBoots::become(const LaunchPlan& plan) {
  if (kind_ && born_in_ == os::generation() && kind_->suits(plan)) return;
  end_all();
  kind_.emplace(plan);
  born_in_ = os::generation();
}

std::optional<NotStarted> WarmBoots::start_one() {
  try {
    LaunchFds fds = open_fds(kind_->plan());
    os::Pipe parameters = os::make_pipe();
    fds.childs.parameters = os::duplicate(parameters.read_end.get());
    os::set_nonblocking(parameters.write_end.get());
    auto begun = os::Spawning::begin(plan_boot(kind_->plan(), fds.childs));
    if (const auto* failure = std::get_if<os::SpawnFailure>(&begun))
      return not_started(*failure, kind_->plan());
    waiting_.push_back({std::move(std::get<os::Spawning>(begun)), std::move(fds.ours),
                        os::wall_clock_seconds(), std::move(parameters)});
    return std::nullopt;
  } catch (const SystemError& error) {
    return NotStarted{LaunchError::Phase::prepare, error.code(), error.what()};
  }
}

std::optional<BootProcess> WarmBoots::take(const LaunchPlan& plan) {
  if (!can_wait(plan) || plan.parameters.size() > kLongestParameters) return std::nullopt;
  // If another thread fills the pool, a new process is ready as soon. In a process that was forked meanwhile,
  // the mutex stays locked for ever.
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock) return std::nullopt;
  become(plan);
  while (!waiting_.empty()) {
    Waiting one = std::move(waiting_.front());
    waiting_.pop_front();
    if (one.has_ended() || one.process.await_exec()) continue;
    if (os::try_put(one.parameters.write_end.get(), plan.parameters) != plan.parameters.size()) continue;
    return BootProcess{std::move(one.process).take_child(), std::move(one.ends), one.began};
  }
  return std::nullopt;
}

void WarmBoots::refill() noexcept {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock || !kind_ || born_in_ != os::generation()) return;
  try {
    for (std::size_t i = 0; i < kRefilledAtOnce && waiting_.size() < most_; ++i)
      if (start_one()) return;
  } catch (const std::exception&) {
    return;
  }
}

void WarmBoots::fill(const LaunchPlan& plan) {
  if (!can_wait(plan))
    throw UsageError(
        "a pool can't be filled for these options: a start with redirected streams, a log or post_fork, or "
        "without captured stderr, executes the boot binary each time");
  const std::unique_lock lock(mutex_, kFillTime);
  if (!lock)
    throw Timeout(
        "a pool of waiting processes can't be filled: another thread uses it, or used it when this process "
        "was forked; make a new pool");
  become(plan);
  forget_the_dead();
  std::optional<NotStarted> failed;
  const auto try_to_fill = [&] {
    failed.reset();
    while (!failed && waiting_.size() < most_) failed = start_one();
    for (Waiting& one : waiting_)
      if (const auto failure = one.process.await_exec()) failed = not_started(*failure, plan);
    forget_the_dead();
    return !failed || failed->phase != LaunchError::Phase::exec || failed->error != ETXTBSY;
  };
  if (!try_to_fill())
    for (os::BusyProgram busy(plan.program); busy.await_change() && !try_to_fill();) {
    }
  if (!failed) return;
  LaunchError::Facts facts;
  facts.phase = failed->phase;
  facts.error = failed->error;
  throw LaunchError("a waiting process of " + plan.program + " could not be started: " + failed->what, facts);
}

void WarmBoots::forget_the_dead() {
  std::erase_if(waiting_, [](Waiting& one) { return one.has_ended(); });
}

std::size_t WarmBoots::waiting() {
  if (born_in_ != os::generation()) return 0;  // before the lock: in a forked child it may stay locked
  const std::unique_lock lock(mutex_, kFillTime);
  if (!lock) return 0;
  forget_the_dead();
  return waiting_.size();
}

bool WarmBoots::is_empty() {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  return !lock || waiting_.empty();
}

}  // namespace ipcm::launch

namespace ipcm {

WarmPool::WarmPool(std::size_t processes)
    : boots_(processes > 0 ? std::make_shared<launch::WarmBoots>(processes) : nullptr) {}

std::size_t WarmPool::waiting() const { return boots_ ? boots_->waiting() : 0; }

}  // namespace ipcm
