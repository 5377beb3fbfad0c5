#include "os/signals.h"

#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <string>

#include "os/sys.h"

namespace ipcm::os {

SignalsBlocked::SignalsBlocked() noexcept {
  sigset_t all;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before_);
}

SignalsBlocked::~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

void reset_handlers() noexcept {
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction now {};
    // sigaction() refuses SIGKILL, SIGSTOP and the C library's internal signals, as it should.
    if (::sigaction(signal, nullptr, &now) != 0 || now.sa_handler == SIG_DFL) continue;
    if (signal == SIGHUP && now.sa_handler == SIG_IGN) continue;
    (void)::sigaction(signal, &standard, nullptr);
  }
}

void unblock_signals() noexcept {
  sigset_t none;
  sigemptyset(&none);
  (void)::sigprocmask(SIG_SETMASK, &none, nullptr);
}

namespace {

constexpr std::array<int, 3> kCharged{SIGPIPE, SIGXFSZ, SIGCHLD};

/// The state that take_charge_of_signals() found, in one process and not in its forks.
struct Found {
  std::uint32_t generation = 0;  // no process has generation 0: nothing was found yet
  std::array<bool, kCharged.size()> ignored{};
} found;

bool is_ignored(int signal) noexcept {
  struct sigaction now {};
  return ::sigaction(signal, nullptr, &now) == 0 && (now.sa_flags & SA_SIGINFO) == 0 &&
         now.sa_handler == SIG_IGN;
}

sigset_t write_signals() noexcept {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  sigaddset(&set, SIGXFSZ);
  return set;
}

}  // namespace

void take_charge_of_signals() noexcept {
  const bool first = found.generation != generation();
  for (std::size_t i = 0; i < kCharged.size(); ++i) {
    const auto before = ::signal(kCharged[i], kCharged[i] == SIGCHLD ? SIG_DFL : SIG_IGN);
    if (first) found.ignored[i] = before == SIG_IGN;
  }
  found.generation = generation();
}

bool ignored_on_entry(int signal) noexcept {
  if (found.generation == generation())
    for (std::size_t i = 0; i < kCharged.size(); ++i)
      if (kCharged[i] == signal) return found.ignored[i];
  return is_ignored(signal);
}

std::vector<int> ignored_on_entry() {
  std::vector<int> all;
  for (int signal = 1; signal < NSIG; ++signal)
    if (ignored_on_entry(signal)) all.push_back(signal);
  return all;
}

std::vector<int> heeded(std::vector<int> signals) {
  std::erase_if(signals, [](int signal) { return ignored_on_entry(signal); });
  return signals;
}

QuietWrites::QuietWrites() noexcept : active_(found.generation != generation()) {
  if (!active_) return;
  ours_ = write_signals();
  ::pthread_sigmask(SIG_BLOCK, &ours_, &before_);
  if (sigismember(&before_, SIGPIPE) != 1 && sigismember(&before_, SIGXFSZ) != 1) return;
  // A signal that the host has blocked may already be pending: that one stays.
  sigset_t pending;
  sigemptyset(&pending);
  ::sigpending(&pending);
  for (const int signal : {SIGPIPE, SIGXFSZ})
    if (sigismember(&pending, signal) == 1) sigdelset(&ours_, signal);
}

QuietWrites::~QuietWrites() {
  if (!active_) return;
  const int saved = errno;
  const timespec now{};
  // The kernel raised it in the thread of the write.
  while (raised_ && ::sigtimedwait(&ours_, nullptr, &now) > 0) {
  }
  ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  errno = saved;
}

void ignore_polite_signals() noexcept {
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGXFSZ})
    (void)::signal(signal, SIG_IGN);
}

SignalReader::SignalReader(const std::vector<int>& signals) {
  sigemptyset(&set_);
  for (const int signal : signals) sigaddset(&set_, signal);
  ::pthread_sigmask(SIG_BLOCK, &set_, &before_);
  fd_ = UniqueFd(sys("make", "signalfd", [&] { return ::signalfd(-1, &set_, SFD_CLOEXEC | SFD_NONBLOCK); }));
}

SignalReader::~SignalReader() {
  if (fd_) ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

std::optional<SignalReader::Receipt> SignalReader::next() {
  signalfd_siginfo info{};
  const ssize_t got = quiet([&] { return ::read(fd_.get(), &info, sizeof info); });
  if (got != static_cast<ssize_t>(sizeof info)) return std::nullopt;
  return Receipt{static_cast<int>(info.ssi_signo), static_cast<Pid>(info.ssi_pid)};
}

void SignalReader::add(int signal) {
  sigaddset(&set_, signal);
  ::pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  sys("extend", "signalfd", [&] { return ::signalfd(fd_.get(), &set_, 0); });
}

std::optional<int> signal_number(const std::string& name) {
  std::string bare = name;
  for (char& letter : bare)
    letter = 'a' <= letter && letter <= 'z' ? static_cast<char>(letter - 'a' + 'A') : letter;
  if (bare.starts_with("SIG")) bare.erase(0, 3);
  for (int signal = 1; signal < NSIG; ++signal) {
    const char* known = ::sigabbrev_np(signal);
    if (known != nullptr && bare == known) return signal;
  }
  return std::nullopt;
}

std::string signal_name(int signal) {
  const char* known = ::sigabbrev_np(signal);
  return known == nullptr ? std::string() : std::string("SIG") + known;
}

}  // namespace ipcm::os
