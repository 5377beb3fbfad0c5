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
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <type_traits>

#include "os/directory.h"
#include "os/process.h"
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

/// All data that the child may touch between clone and exec: borrowed, flat, nothing to destroy.
struct ChildPlan {
  const char* program;
  char* const* argv;
  char* const* envp;
  const SpawnRequest::Pass* fds;  // every `from` is larger than every `as`: dup3 overwrites no source
  std::size_t fd_count;
  const Range* closed;
  std::size_t closed_count;
  const char* directory;  // or null
  bool new_session;
  FlatAttributes attributes;
  std::uint64_t ignored_signals;  // a bit for each, 0 for signal 1
  SpawnFailure* failure;
};
static_assert(std::is_trivially_destructible_v<ChildPlan> && std::is_trivially_copyable_v<ChildPlan>);

constexpr std::uint64_t signal_bit(int signal) {
  return std::uint64_t{1} << static_cast<unsigned>(signal - 1);
}

/// The kernel's own struct sigaction and signal set: the handler stands first.
using KernelAction = std::array<long, 4>;
constexpr long kIgnored = 1;  // SIG_IGN

/// Resets all signals to their default actions, except those in `ignored`, then unblocks all signals.
IPCM_ON_BORROWED_STACK void release_signals(std::uint64_t ignored) noexcept {
  constexpr std::size_t kSetSize = 8;
  static constexpr KernelAction kDefault{}, kIgnore{kIgnored};
  for (int signal = 1; signal < NSIG; ++signal) {
    const bool ignore = (ignored & signal_bit(signal)) != 0;
    KernelAction before{};
    // The kernel refuses SIGKILL and SIGSTOP.
    (void)raw_call(SYS_rt_sigaction, signal, raw(ignore ? kIgnore.data() : kDefault.data()),
                   raw(before.data()), kSetSize);
    if (signal == SIGHUP && before[0] == kIgnored)  // it is blocked here, so none can have arrived in between
      (void)raw_call(SYS_rt_sigaction, signal, raw(kIgnore.data()), 0, kSetSize);
  }
  (void)raw_call(SYS_rt_sigprocmask, SIG_SETMASK, raw(kDefault.data()), 0, kSetSize);
}

IPCM_ON_BORROWED_STACK void gave_up(const ChildPlan& plan, SpawnStep step, const char* call,
                                    long result) noexcept {
  plan.failure->step = step;
  plan.failure->error = static_cast<int>(-result);
  plan.failure->call = call;
}

/// One entry of getdents64(2); its name follows at once.
struct DirectoryEntry {
  std::uint64_t inode;
  std::int64_t next;
  std::uint16_t size;
  std::uint8_t type;
};
constexpr std::size_t kNameOffset = 19;  // without the padding at the end
static_assert(offsetof(DirectoryEntry, type) + 1 == kNameOffset);

IPCM_ON_BORROWED_STACK bool is_closed_in(const ChildPlan& plan, unsigned fd) noexcept {
  for (std::size_t i = 0; i < plan.closed_count; ++i)
    if (fd >= plan.closed[i].first && fd <= plan.closed[i].last) return true;
  return false;
}

/// Does the work of close_range(2) if that is refused: closes all descriptors that /proc/self/fd lists.
/// Returns the result, or -errno.
IPCM_ON_BORROWED_STACK long close_listed(const ChildPlan& plan) noexcept {
  static constexpr std::array<char, 14> kList{"/proc/self/fd"};
  const long list = raw_call(SYS_openat, AT_FDCWD, raw(kList.data()), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (list < 0) return list;
  alignas(DirectoryEntry) std::array<char, 2048> entries;  // NOLINT: filled by the kernel
  long result = 0;
  for (;;) {
    const long got = raw_call(SYS_getdents64, list, raw(entries.data()), static_cast<long>(entries.size()));
    if (got < 0) result = got;
    if (got <= 0) break;
    for (const char* at = entries.data(); at < entries.data() + got;) {
      const auto* entry = reinterpret_cast<const DirectoryEntry*>(at);
      unsigned fd = 0;
      const char* digit = at + kNameOffset;
      for (; *digit >= '0' && *digit <= '9'; ++digit) fd = fd * 10 + static_cast<unsigned>(*digit - '0');
      const bool is_number = digit != at + kNameOffset && *digit == '\0';
      if (is_number && static_cast<long>(fd) != list && is_closed_in(plan, fd)) (void)raw_call(SYS_close, fd);
      at += entry->size;
    }
  }
  (void)raw_call(SYS_close, list);
  return result;
}

IPCM_ON_BORROWED_STACK long close_others(const ChildPlan& plan) noexcept {
  for (std::size_t i = 0; i < plan.closed_count; ++i) {
    const long result = raw_call(SYS_close_range, plan.closed[i].first, plan.closed[i].last, 0);
    if (result == -ENOSYS || result == -EPERM) return close_listed(plan) < 0 ? result : 0;
    if (result < 0) return result;
  }
  return 0;
}

/// Executes the plan by system calls only: no heap, no locks, no exceptions, no errno. Returns only on
/// failure.
IPCM_ON_BORROWED_STACK void walk(const ChildPlan& plan) noexcept {
  for (std::size_t i = 0; i < plan.fd_count; ++i)  // dup3 clears close-on-exec
    if (const long result = raw_call(SYS_dup3, plan.fds[i].from, plan.fds[i].as, 0); result < 0)
      return gave_up(plan, SpawnStep::pass_descriptors, "dup3", result);
  if (const long result = close_others(plan); result < 0)
    return gave_up(plan, SpawnStep::pass_descriptors, "close_range", result);
  if (plan.new_session)
    if (const long result = raw_call(SYS_setsid); result < 0)
      return gave_up(plan, SpawnStep::make_session, "setsid", result);
  if (const FailedCall failed = apply(plan.attributes); failed.call != nullptr)
    return gave_up(plan, SpawnStep::set_attributes, failed.call, failed.result);
  if (plan.directory != nullptr)
    if (const long result = raw_call(SYS_chdir, raw(plan.directory)); result < 0)
      return gave_up(plan, SpawnStep::change_directory, "chdir", result);
  release_signals(plan.ignored_signals);
  gave_up(plan, SpawnStep::execute, "execve",
          raw_call(SYS_execve, raw(plan.program), raw(plan.argv), raw(plan.envp)));
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

/// Returns the ranges between and above the passed numbers, from 3 on.
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

/// A plan, and all data that it borrows.
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
    if (!request.keep_other_fds) closed_ = gaps_between(std::move(kept));
    std::uint64_t ignored = 0;
    for (const int signal : request.ignored_signals) ignored |= signal_bit(signal);
    plan_ = {request.program.c_str(),
             argv_.data(),
             envp_.data(),
             fds_.data(),
             fds_.size(),
             closed_.data(),
             closed_.size(),
             request.directory.empty() ? nullptr : request.directory.c_str(),
             request.new_session,
             FlatAttributes(request.attributes),
             ignored,
             &failure};
  }
  [[nodiscard]] ChildPlan& plan() { return plan_; }
  /// Call after clone(): the child has its own table of descriptors.
  void close_lifted() { lifted_.clear(); }

 private:
  std::vector<char*> argv_, envp_;
  std::vector<UniqueFd> lifted_;
  std::vector<SpawnRequest::Pass> fds_;
  std::vector<Range> closed_;
  ChildPlan plan_{};
};

}  // namespace

/// The memory that a child borrows until its exec.
struct Spawning::Borrowed {
  explicit Borrowed(SpawnRequest asked) : request(std::move(asked)), prepared(request, failure) {}

  const SpawnRequest request;
  SpawnFailure failure;
  PreparedPlan prepared;
  /// The kernel stores 0 here, and wakes a waiting parent, when the child has left our memory.
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
    (void)borrowed_.release();  // in a forked copy of the parent, the kernel never stores 0 here
  }
}

std::variant<Spawning, SpawnFailure> Spawning::begin(SpawnRequest request, bool waits) {
  auto borrowed = std::make_unique<Borrowed>(std::move(request));
  Borrowed& lent = *borrowed;
  int flags = CLONE_VM | CLONE_CHILD_CLEARTID | SIGCHLD;
  if (waits || !kRawCallsAreRaw) flags |= CLONE_VFORK;
  lent.in_use = 1;
  int pidfd = -1;
  Pid pid = -1;
  {
    const SignalsBlocked quiet;  // no handler of this process may run in the child
    const auto make = [&](int how) {
      return ::clone(&run_child, lent.stack.data() + lent.stack.size(), how, &lent.prepared.plan(), &pidfd,
                     nullptr, &lent.in_use);
    };
    pid = make(flags | CLONE_PIDFD);
    // A sandbox may refuse the flag CLONE_PIDFD.
    if (pid < 0 && (errno == EPERM || errno == ENOSYS || errno == EINVAL)) pid = make(flags);
    if (pid < 0) return SpawnFailure{SpawnStep::make_process, errno, "clone"};
  }
  lent.prepared.close_lifted();
  return own_child(pid, pidfd, std::move(borrowed));
}

/// Makes the owner of a new child. If that fails, kills the child: it would run on without an owner.
std::variant<Spawning, SpawnFailure> Spawning::own_child(Pid pid, int pidfd,
                                                         std::unique_ptr<Borrowed> borrowed) {
  const char* call = "fcntl";
  int error = 0;
  UniqueFd kept;
  try {
    if (pidfd >= 0) {
      kept = UniqueFd(pidfd);
    } else {
      call = "pidfd_open";
      if (auto opened = open_process(pid)) kept = std::move(*opened);
      error = ESRCH;
    }
  } catch (const SystemError& failed) {
    error = failed.code();
  }
  if (kept) return Spawning(Child(pid, std::move(kept)), std::move(borrowed));
  (void)::kill(pid, SIGKILL);  // not reaped yet, so the pid is still its own
  await_let_go(*borrowed);
  (void)quiet([&] { return ::waitpid(pid, nullptr, 0); });
  return SpawnFailure{SpawnStep::make_process, error, call};
}

void Spawning::await_let_go(const Borrowed& borrowed) noexcept {
  static_assert(sizeof(borrowed.in_use) == sizeof(std::uint32_t));
  while (borrowed.in_use.load() != 0)
    (void)::syscall(SYS_futex, &borrowed.in_use, FUTEX_WAIT, 1, nullptr, nullptr, 0);
}

void Spawning::wait() const noexcept { await_let_go(*borrowed_); }

std::optional<SpawnFailure> Spawning::await_exec() {
  if (!borrowed_) return std::nullopt;
  wait();
  const SpawnFailure failure = borrowed_->failure;
  borrowed_.reset();
  if (failure.step == SpawnStep::none) return std::nullopt;
  (void)child_.reap(Deadline::never());  // it has already exited
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
  const SignalsBlocked quiet;  // until all signals have the actions for the program
  walk(prepared.plan());
  return failure;
}

void start_session() {
  sys("start", "session", [] { return ::setsid(); });
}

std::optional<Child> fork_process() {
  const Pid pid = [] {
    const SignalsBlocked quiet;  // until the child has reset the handlers
    const Pid forked = sys("make", "process", [] { return ::fork(); });
    if (forked == 0) reset_handlers();
    return forked;
  }();
  if (pid == 0) {
    unblock_signals();
    return std::nullopt;
  }
  // If it cannot get an owner, it must not run on.
  const auto end = [pid] {
    (void)::kill(pid, SIGKILL);
    (void)quiet([&] { return ::waitpid(pid, nullptr, 0); });
  };
  std::optional<UniqueFd> pidfd;
  try {
    pidfd = open_process(pid);
  } catch (...) {
    end();
    throw;
  }
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

namespace {

/// For sandboxes that refuse close_range(2).
void close_all_in(const std::vector<Range>& gaps) {
  for (const std::string& name : Directory("/proc/self/fd").names()) {
    const auto fd = static_cast<unsigned>(std::atoi(name.c_str()));
    for (const Range& gap : gaps)
      if (fd >= gap.first && fd <= gap.last) (void)::close(static_cast<int>(fd));
  }
}

}  // namespace

void keep_only(std::initializer_list<int> fds) {
  const UniqueFd null(sys("open", "/dev/null", [] { return ::open("/dev/null", O_RDWR | O_CLOEXEC); }));
  for (int stream = 0; stream <= 2; ++stream) replace_standard_stream(null.get(), stream);
  std::vector<unsigned> kept = {static_cast<unsigned>(null.get())};
  for (const int fd : fds) kept.push_back(static_cast<unsigned>(fd));
  const auto gaps = gaps_between(std::move(kept));
  for (const Range& gap : gaps)
    if (::syscall(SYS_close_range, gap.first, gap.last, 0) != 0) {
      close_all_in(gaps);
      break;
    }
  (void)!::chdir("/");
}

void end_with_parent(Pid parent) {
  (void)::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (::getppid() != parent) ::_exit(0);  // the parent ended before the request to the kernel
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
