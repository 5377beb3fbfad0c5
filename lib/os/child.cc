#include "os/child.h"

#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <map>
#include <mutex>
#include <new>
#include <utility>

#include "os/process.h"
#include "os/sys.h"

namespace ipcm::os {
namespace {

/// The pids that a Child object owns, for the one function that reaps everything. A forked child starts with
/// none.
class OwnedChildren {
 public:
  static OwnedChildren& instance() {
    static OwnedChildren all;
    return all;
  }
  void set(Pid pid, Child* owner) {
    const std::lock_guard<std::recursive_mutex> guard(mutex_);
    current()[pid] = owner;
  }
  void erase(Pid pid) noexcept {
    const std::lock_guard<std::recursive_mutex> guard(mutex_);
    current().erase(pid);
  }
  /// false: nobody owns it.
  bool reap(Pid pid) {
    const std::lock_guard<std::recursive_mutex> guard(mutex_);
    const auto found = current().find(pid);
    if (found == current().end()) return false;
    (void)found->second->try_reap();  // erases it
    return true;
  }

 private:
  std::map<Pid, Child*>& current() noexcept {
    if (generation_ != generation()) owners_.clear();
    generation_ = generation();
    return owners_;
  }
  std::recursive_mutex mutex_;
  std::map<Pid, Child*> owners_;
  std::uint32_t generation_ = 0;
};

/// The children that nobody owns any more, by pidfd: a host may reap a child of ours by itself, and its
/// number may then be that of another child of the host.
class ReleasedChildren {
 public:
  static ReleasedChildren& instance() {
    static ReleasedChildren all;
    return all;
  }
  void add(UniqueFd pidfd) noexcept {
    const std::lock_guard<std::mutex> guard(mutex_);
    try {
      const int fd = pidfd.get();
      children_.insert_or_assign(fd, std::move(pidfd));
      count_ = children_.size();
      watch(fd);
    } catch (const std::bad_alloc&) {  // then it stays a zombie until this process ends
    }
  }
  /// Asks one set of descriptors for the ended ones: a program may have released thousands, and calls this
  /// with each start.
  void reap() noexcept {
    if (count_ == 0) return;
    const std::unique_lock<std::mutex> guard(mutex_, std::try_to_lock);
    if (!guard) return;  // another thread is at it, or was when we were forked from it
    if (!ended_ || !watches_all_) {
      std::erase_if(children_, [](const auto& child) { return has_gone(child.second); });
    } else {
      std::array<epoll_event, 64> events{};
      for (int count = 1; count > 0;) {
        count = ::epoll_wait(ended_.get(), events.data(), static_cast<int>(events.size()), 0);
        for (int i = 0; i < count; ++i)
          if (const auto child = children_.find(events.at(static_cast<std::size_t>(i)).data.fd);
              child != children_.end() && has_gone(child->second))
            children_.erase(child);
      }
    }
    count_ = children_.size();
    if (children_.empty()) ended_.reset();
  }

 private:
  /// Reaps it, if it has ended and the host has not reaped it.
  static bool has_gone(const UniqueFd& pidfd) noexcept {
    if (!pidfd) return true;  // a child of the process that we were forked from
    siginfo_t info{};
    const int result =
        quiet([&] { return ::waitid(P_PIDFD, static_cast<id_t>(pidfd.get()), &info, WEXITED | WNOHANG); });
    return result != 0 || info.si_pid != 0;  // ECHILD: the host has reaped it
  }
  void watch(int pidfd) noexcept {
    if (!ended_) {  // the first, or we were forked from the process that had it
      ended_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
      watches_all_ = ended_ && children_.size() == 1;
    }
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = pidfd;
    if (ended_ && ::epoll_ctl(ended_.get(), EPOLL_CTL_ADD, pidfd, &event) != 0) watches_all_ = false;
  }

  std::mutex mutex_;
  std::atomic<std::size_t> count_ = 0;
  std::map<int, UniqueFd> children_;
  UniqueFd ended_;  // a set of their descriptors
  bool watches_all_ = false;
};

}  // namespace

Child::Child(Pid pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {
  OwnedChildren::instance().set(pid_, this);
}

Child::Child(Child&& other) noexcept { *this = std::move(other); }

Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    if (is_ours() && !reaped_) kill_and_reap();
    pid_ = std::exchange(other.pid_, 0);
    pidfd_ = std::move(other.pidfd_);
    status_ = other.status_;
    reaped_ = other.reaped_;
    if (is_ours() && !reaped_) OwnedChildren::instance().set(pid_, this);
  }
  return *this;
}

Child::~Child() {
  if (!is_ours() || reaped_) return;
  kill_and_reap();
  OwnedChildren::instance().erase(pid_);
}

bool Child::signal(int signal_number) {
  if (reaped_) return false;
  try {
    return signal_process(pidfd_.get(), signal_number);
  } catch (const SystemError& error) {
    // A sandbox may refuse pidfd_send_signal(2). The number is a child's own until it is reaped.
    if ((error.code() != ENOSYS && error.code() != EPERM) || has_ended(pidfd_.get())) throw;
    if (::kill(pid_, signal_number) != 0) throw;
    return true;
  }
}

std::optional<ExitStatus> Child::try_reap() {
  if (reaped_ || !is_ours()) return status_;
  siginfo_t info{};
  const int result =
      quiet([&] { return ::waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &info, WEXITED | WNOHANG); });
  if (result == 0 && info.si_pid == 0) return std::nullopt;
  if (result == 0) {
    reaped_ = true;
    status_ = info.si_code == CLD_EXITED ? ExitStatus::exited(info.si_status)
                                         : ExitStatus::signalled(info.si_status, info.si_code == CLD_DUMPED);
  } else if (has_ended(pidfd_.get())) {  // ECHILD: the host took it from us; the kernel may still tell
    reaped_ = true;
    status_ = peek_exit_status(pidfd_.get());
  }
  if (reaped_) OwnedChildren::instance().erase(pid_);
  return status_;
}

std::optional<ExitStatus> Child::reap(Deadline deadline) {
  if (reaped_ || !is_ours()) return status_;
  if (!await_end(pidfd_.get(), deadline)) return std::nullopt;
  return try_reap();
}

std::optional<ExitStatus> Child::kill_and_reap() {
  if (reaped_ || !is_ours()) return status_;
  try {
    (void)signal(SIGKILL);
    return reap(
        Deadline::after(std::chrono::seconds(10)));  // a process in an uninterruptible wait may outlast it
  } catch (const Error&) {
    return std::nullopt;
  }
}

void Child::signal_group(int signal_number) {
  // The number is its own for as long as it is not reaped.
  if (is_ours() && !reaped_ && ::getpgid(pid_) == pid_) (void)::kill(-pid_, signal_number);
}

void Child::release() noexcept {
  const bool runs = is_ours() && !reaped_;
  if (runs) OwnedChildren::instance().erase(pid_);
  if (runs) ReleasedChildren::instance().add(std::move(pidfd_));
  pidfd_.reset();
  pid_ = 0;
}

void reap_released_children() noexcept { ReleasedChildren::instance().reap(); }

void reap_ended_children(const std::function<void(Pid pid, ExitStatus status)>& tell) {
  for (;;) {
    siginfo_t info{};
    if (quiet([&] { return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT); }) != 0 ||
        info.si_pid == 0)
      return;
    if (OwnedChildren::instance().reap(info.si_pid)) continue;
    try {
      tell(info.si_pid, info.si_code == CLD_EXITED
                            ? ExitStatus::exited(info.si_status)
                            : ExitStatus::signalled(info.si_status, info.si_code == CLD_DUMPED));
    } catch (...) {
      (void)quiet([&] { return ::waitpid(info.si_pid, nullptr, WNOHANG); });
      throw;
    }
    (void)quiet([&] { return ::waitpid(info.si_pid, nullptr, WNOHANG); });
  }
}

}  // namespace ipcm::os
