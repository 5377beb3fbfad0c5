#pragma once

// Real processes for tests, made by a plain fork(), as a host program does, without a call of the library.
// Nothing of doctest may run in them; they report their result as the exit status.

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <utility>

#include "ipcm/basics.h"
#include "os/descriptor.h"
#include "os/identity.h"

namespace ipcm::test {

inline constexpr int kThrew = 98;

/// Whether a child may allocate memory that was forked while another thread did. The allocator of GCC 12's address
/// sanitizer may be locked at the fork, and stays so in the child; that of glibc is not.
#ifdef __SANITIZE_ADDRESS__
inline constexpr bool kForkUnlocksAllocator = false;
#else
inline constexpr bool kForkUnlocksAllocator = true;
#endif

/// Runs `work` in a child and waits for it. Returns its exit status, or -1 if a signal ended it.
template <class Work>
int in_child(Work&& work) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    int status = kThrew;
    try {
      status = work();
    } catch (...) {
      status = kThrew;
    }
    ::_exit(status);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// Returns whether an unused pid proves a death: only in the first pid namespace of the machine.
[[nodiscard]] inline bool numbers_prove_deaths() {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(0);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return os::look_for_process(pid) == os::Seen::ended;
}

/// A child that does its work, reports that, and stays until the test ends or kills it.
class HeldChild {
 public:
  enum class By { fork, bare_fork };  // bare: fork handlers do not run, every descriptor is inherited
  /// `work` calls its argument when it has done its work. That call returns when the child shall leave.
  explicit HeldChild(const std::function<void(const std::function<void()>& stay)>& work, By by = By::fork) {
    int told[2] = {-1, -1}, hold[2] = {-1, -1};
    if (::pipe2(told, O_CLOEXEC) != 0 || ::pipe2(hold, O_CLOEXEC) != 0) return;
    pid_ = by == By::fork ? ::fork() : ::_Fork();
    if (pid_ == 0) {
      ::close(told[0]);
      ::close(hold[1]);
      const auto stay = [&] {
        char byte = 'x';
        (void)!::write(told[1], &byte, 1);
        (void)!::read(hold[0], &byte, 1);
      };
      int status = 0;
      try {
        work(stay);
      } catch (...) {
        status = kThrew;
      }
      ::_exit(status);
    }
    ::close(told[1]);
    ::close(hold[0]);
    char byte = 0;
    came_ = ::read(told[0], &byte, 1) == 1;
    ::close(told[0]);
    hold_ = os::UniqueFd(hold[1]);
  }
  HeldChild(const HeldChild&) = delete;
  HeldChild& operator=(const HeldChild&) = delete;
  ~HeldChild() { kill(); }

  /// Returns whether the child has done its work.
  [[nodiscard]] bool came() const { return came_; }
  [[nodiscard]] Pid pid() const { return pid_; }
  /// Wakes the child, which then leaves.
  void go() { hold_.reset(); }
  /// Wakes the child, and returns its exit status.
  int end() {
    go();
    return wait();
  }
  void kill() {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    (void)wait();
    hold_.reset();
  }
  /// Kills the child and leaves the zombie, which kill() or the destructor reaps.
  void kill_only() const {
    ::kill(pid_, SIGKILL);
    siginfo_t info{};
    while (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) < 0 && errno == EINTR) {
    }
  }

 private:
  int wait() {
    if (pid_ <= 0) return -1;
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  Pid pid_ = -1;
  bool came_ = false;
  os::UniqueFd hold_;
};

}  // namespace ipcm::test
