#include "os/spawn.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio_ext.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdio>
#include <memory>
#include <type_traits>

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

IPCM_ON_BORROWED_STACK int gave_up(const ChildPlan& plan, SpawnStep step) noexcept {
  plan.failure->step = step;
  plan.failure->error = errno;
  return -1;
}

/// Async-signal-safe calls only: no heap, no locks, no exceptions. Returns only on failure.
IPCM_ON_BORROWED_STACK int walk(const ChildPlan& plan) noexcept {
  for (std::size_t i = 0; i < plan.fd_count; ++i)
    if (::dup2(plan.fds[i].from, plan.fds[i].as) < 0)  // clears close-on-exec
      return gave_up(plan, SpawnStep::pass_descriptors);
  for (std::size_t i = 0; i < plan.closed_count; ++i)
    if (::syscall(SYS_close_range, plan.closed[i].first, plan.closed[i].last, 0) != 0)
      return gave_up(plan, SpawnStep::pass_descriptors);
  if (plan.new_session && ::setsid() < 0) return gave_up(plan, SpawnStep::make_session);
  if (plan.directory != nullptr && ::chdir(plan.directory) != 0)
    return gave_up(plan, SpawnStep::change_directory);
  reset_handlers();
  unblock_signals();
  ::execve(plan.program, plan.argv, plan.envp);
  return gave_up(plan, SpawnStep::execute);
}

/// Child side of spawn().
IPCM_ON_BORROWED_STACK int run_child(void* argument) noexcept {
  (void)walk(*static_cast<const ChildPlan*>(argument));
  ::_exit(127);
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

 private:
  std::vector<char*> argv_, envp_;
  std::vector<UniqueFd> lifted_;
  std::vector<SpawnRequest::Pass> fds_;
  std::vector<Range> closed_;
  ChildPlan plan_{};
};

}  // namespace

std::variant<Child, SpawnFailure> spawn(const SpawnRequest& request) {
  SpawnFailure failure;
  PreparedPlan prepared(request, failure);
  constexpr std::size_t kStack = 64UL * 1024;
  constexpr std::size_t kAlignment = 16;
  const auto stack = std::make_unique_for_overwrite<std::byte[]>(kStack);
  const auto top = (reinterpret_cast<std::uintptr_t>(stack.get()) + kStack) & ~(kAlignment - 1);

  int pidfd = -1;
  Pid pid = -1;
  {
    const SignalsBlocked quiet;  // no handler of ours may run in the child
    pid = ::clone(&run_child, reinterpret_cast<void*>(top), CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD,
                  &prepared.plan(), &pidfd);
    if (pid < 0) return SpawnFailure{SpawnStep::make_process, errno};
  }
  Child child(pid, UniqueFd(pidfd));  // owned from here: whatever throws below, it is killed and reaped
  if (failure.step == SpawnStep::none) return child;
  (void)child.reap(Deadline::never());  // it is past its _exit
  return failure;
}

SpawnFailure become(const SpawnRequest& request) {
  SpawnFailure failure;
  PreparedPlan prepared(request, failure);
  (void)walk(prepared.plan());
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

void keep_only(int fd) {
  const UniqueFd null(sys("open", "/dev/null", [] { return ::open("/dev/null", O_RDWR | O_CLOEXEC); }));
  for (int stream = 0; stream <= 2; ++stream) replace_standard_stream(null.get(), stream);
  for (const Range& gap : gaps_between({static_cast<unsigned>(fd), static_cast<unsigned>(null.get())}))
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
