#include "os/spawn.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio_ext.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <climits>
#include <csignal>
#include <cstdio>
#include <memory>
#include <type_traits>

#include "os/raw_call.h"
#include "os/signals.h"
#include "os/sys.h"

// The child of spawn() runs on a stack that the address sanitizer does not know.
#define IPCM_ON_BORROWED_STACK __attribute__((no_sanitize("address", "undefined"), noinline))

namespace ipcm::os {
namespace {

struct Range {
  unsigned first, last;
};

/// All that the child may touch between clone and exec: borrowed, flat, nothing to destroy.
struct ChildPlan {
  const char* program;
  char* const* argv;
  char* const* envp;
  const SpawnRequest::Pass* fds;  // every `from` lies above every `as`: dup2 hits no source
  std::size_t fd_count;
  const Range* closed;
  std::size_t closed_count;
  const char* directory;  // or null
  bool new_session;
  SpawnFailure* failure;
};
static_assert(std::is_trivially_destructible_v<ChildPlan> && std::is_trivially_copyable_v<ChildPlan>);

/// Every handler and every ignored signal back to the default, then nothing is blocked any more.
IPCM_ON_BORROWED_STACK void release_signals() noexcept {
  // The kernel's own struct sigaction and signal set, all zero: the default action, and no signal.
  constexpr std::size_t kSetSize = 8;
  static constexpr std::array<long, 4> kZero{};
  for (long signal = 1; signal < NSIG; ++signal)
    (void)raw_call(SYS_rt_sigaction, signal, raw(kZero.data()), 0, kSetSize);  // KILL and STOP refuse
  (void)raw_call(SYS_rt_sigprocmask, SIG_SETMASK, raw(kZero.data()), 0, kSetSize);
}

IPCM_ON_BORROWED_STACK void gave_up(const ChildPlan& plan, SpawnStep step, long result) noexcept {
  plan.failure->step = step;
  plan.failure->error = static_cast<int>(-result);
}

/// System calls only: no heap, no locks, no exceptions, no errno. Returns only on failure.
IPCM_ON_BORROWED_STACK void walk(const ChildPlan& plan) noexcept {
  for (std::size_t i = 0; i < plan.fd_count; ++i)  // clears close-on-exec
    if (const long result = raw_call(SYS_dup3, plan.fds[i].from, plan.fds[i].as, 0); result < 0)
      return gave_up(plan, SpawnStep::pass_descriptors, result);
  for (std::size_t i = 0; i < plan.closed_count; ++i)
    if (const long result = raw_call(SYS_close_range, plan.closed[i].first, plan.closed[i].last, 0);
        result < 0)
      return gave_up(plan, SpawnStep::pass_descriptors, result);
  if (plan.new_session)
    if (const long result = raw_call(SYS_setsid); result < 0)
      return gave_up(plan, SpawnStep::make_session, result);
  if (plan.directory != nullptr)
    if (const long result = raw_call(SYS_chdir, raw(plan.directory)); result < 0)
      return gave_up(plan, SpawnStep::change_directory, result);
  release_signals();
  gave_up(plan, SpawnStep::execute, raw_call(SYS_execve, raw(plan.program), raw(plan.argv), raw(plan.envp)));
}

/// Child side of spawn().
IPCM_ON_BORROWED_STACK int run_child(void* argument) noexcept {
  walk(*static_cast<const ChildPlan*>(argument));
  for (;;) (void)raw_call(SYS_exit_group, 127);
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> all;
  all.reserve(texts.size() + 1);
  for (const std::string& text : texts)
    all.push_back(const_cast<char*>(text.c_str()));  // exec does not write to them
  all.push_back(nullptr);
  return all;
}

/// What lies between the passed numbers, from 3 on, and above them.
std::vector<Range> gaps_between(std::vector<unsigned> kept) {
  std::sort(kept.begin(), kept.end());
  std::vector<Range> gaps;
  unsigned next = 3;
  for (const unsigned number : kept) {
    if (number > next) gaps.push_back({next, number - 1});
    next = std::max(next, number + 1);
  }
  gaps.push_back({next, UINT_MAX});
  return gaps;
}

/// A plan, and all that it borrows.
class PreparedPlan {
 public:
  PreparedPlan(const SpawnRequest& request, SpawnFailure& failure)
      : argv_(pointers(request.args)), envp_(pointers(request.env)) {
    int highest = 2;
    for (const auto& pass : request.fds) highest = std::max(highest, pass.as);
    std::vector<unsigned> kept;
    for (const auto& [from, as] : request.fds) {
      const int source = from > highest ? from : lifted_.emplace_back(duplicate(from, highest + 1)).get();
      fds_.push_back({source, as});
      if (as > 2) kept.push_back(static_cast<unsigned>(as));
    }
    closed_ = gaps_between(std::move(kept));
    plan_ = {request.program.c_str(),
             argv_.data(),
             envp_.data(),
             fds_.data(),
             fds_.size(),
             closed_.data(),
             closed_.size(),
             request.directory.empty() ? nullptr : request.directory.c_str(),
             request.new_session,
             &failure};
  }
  [[nodiscard]] ChildPlan& plan() { return plan_; }
  /// The child has its own table of descriptors.
  void close_lifted() { lifted_.clear(); }

 private:
  std::vector<char*> argv_, envp_;
  std::vector<UniqueFd> lifted_;
  std::vector<SpawnRequest::Pass> fds_;
  std::vector<Range> closed_;
  ChildPlan plan_{};
};

}  // namespace

/// What a child borrows of us until its exec.
struct Spawning::Borrowed {
  explicit Borrowed(SpawnRequest asked) : request(std::move(asked)), prepared(request, failure) {}

  const SpawnRequest request;
  SpawnFailure failure;
  PreparedPlan prepared;
  /// The kernel puts 0 here, and wakes who waits for that, when the child has let go of our memory.
  std::atomic<std::uint32_t> in_use{0};
  alignas(16) std::array<std::byte, 16UL * 1024> stack;
};

Spawning::Spawning(Child child, std::unique_ptr<Borrowed> borrowed)
    : child_(std::move(child)), borrowed_(std::move(borrowed)) {}

Spawning::Spawning(Spawning&&) noexcept = default;

Spawning& Spawning::operator=(Spawning&& other) noexcept {
  if (this != &other) {
    const Spawning old(std::move(*this));
    child_ = std::move(other.child_);
    borrowed_ = std::move(other.borrowed_);
  }
  return *this;
}

Spawning::~Spawning() {
  if (!borrowed_) return;
  if (child_.is_ours()) {
    wait();
  } else {
    (void)borrowed_.release();  // in a fork of ours: nobody tells here
  }
}

std::variant<Spawning, SpawnFailure> Spawning::begin(SpawnRequest request, bool waits) {
  auto borrowed = std::make_unique<Borrowed>(std::move(request));
  Borrowed& lent = *borrowed;
  int flags = CLONE_VM | CLONE_PIDFD | CLONE_CHILD_CLEARTID | SIGCHLD;
  if (waits || !kRawCallsAreRaw) flags |= CLONE_VFORK;
  lent.in_use = 1;
  int pidfd = -1;
  Pid pid = -1;
  {
    const SignalsBlocked quiet;  // no handler of ours may run in the child
    pid = ::clone(&run_child, lent.stack.data() + lent.stack.size(), flags, &lent.prepared.plan(), &pidfd,
                  nullptr, &lent.in_use);
    if (pid < 0) return SpawnFailure{SpawnStep::make_process, errno};
  }
  lent.prepared.close_lifted();
  return Spawning(Child(pid, UniqueFd(pidfd)), std::move(borrowed));
}

void Spawning::wait() const noexcept {
  static_assert(sizeof(borrowed_->in_use) == sizeof(std::uint32_t));
  while (borrowed_->in_use.load() != 0)
    (void)::syscall(SYS_futex, &borrowed_->in_use, FUTEX_WAIT, 1, nullptr, nullptr, 0);
}

std::optional<SpawnFailure> Spawning::await_exec() {
  if (!borrowed_) return std::nullopt;
  wait();
  const SpawnFailure failure = borrowed_->failure;
  borrowed_.reset();
  if (failure.step == SpawnStep::none) return std::nullopt;
  (void)child_.reap(Deadline::never());  // it is past its exit
  return failure;
}

std::variant<Child, SpawnFailure> spawn(SpawnRequest request) {
  auto begun = Spawning::begin(std::move(request), true);
  if (auto* failure = std::get_if<SpawnFailure>(&begun)) return *failure;
  auto& spawning = std::get<Spawning>(begun);
  if (const auto failure = spawning.await_exec()) return *failure;
  return std::move(spawning).take_child();
}

SpawnFailure become(const SpawnRequest& request) {
  SpawnFailure failure;
  PreparedPlan prepared(request, failure);
  walk(prepared.plan());
  return failure;
}

void start_session() {
  sys("start", "session", [] { return ::setsid(); });
}

std::optional<Child> fork_process() {
  const Pid pid = [] {
    const SignalsBlocked quiet;  // until the child has dropped our handlers
    const Pid forked = sys("make", "process", [] { return ::fork(); });
    if (forked == 0) reset_handlers();
    return forked;
  }();
  if (pid == 0) {
    unblock_signals();
    return std::nullopt;
  }
  auto pidfd = open_process(pid);
  if (!pidfd)
    throw SystemError(ESRCH, "open the process just made: it was reaped by somebody else in this program");
  return Child(pid, std::move(*pidfd));
}

bool fork_process_unowned() {
  const SignalsBlocked quiet;
  const Pid pid = sys("make", "process", [] { return ::fork(); });
  if (pid != 0) return true;
  reset_handlers();
  return false;
}

void keep_only(std::initializer_list<int> fds) {
  const UniqueFd null(sys("open", "/dev/null", [] { return ::open("/dev/null", O_RDWR | O_CLOEXEC); }));
  for (int stream = 0; stream <= 2; ++stream) replace_standard_stream(null.get(), stream);
  std::vector<unsigned> kept = {static_cast<unsigned>(null.get())};
  for (const int fd : fds) kept.push_back(static_cast<unsigned>(fd));
  for (const Range& gap : gaps_between(std::move(kept)))
    (void)::syscall(SYS_close_range, gap.first, gap.last, 0);
  (void)!::chdir("/");
}

void end_with_parent(Pid parent) {
  (void)::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (::getppid() != parent) ::_exit(0);  // it ended before we could ask
}

void discard_stdio() noexcept {
  ::__fpurge(stdout);
  ::__fpurge(stderr);
}

void leave_forked_process(int status) noexcept {
  std::fflush(stdout);
  std::fflush(stderr);
  ::_exit(status);
}

}  // namespace ipcm::os
