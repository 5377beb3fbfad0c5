#include "os/signals.h"

#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstring>
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
    // Those that the C library keeps for itself, and KILL and STOP, refuse; that is right.
    if (::sigaction(signal, nullptr, &now) == 0 && now.sa_handler != SIG_DFL)
      (void)::sigaction(signal, &standard, nullptr);
  }
}

void unblock_signals() noexcept {
  sigset_t none;
  sigemptyset(&none);
  (void)::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void ignore_broken_pipes() noexcept { (void)::signal(SIGPIPE, SIG_IGN); }

void ignore_polite_signals() noexcept {
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE}) (void)::signal(signal, SIG_IGN);
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
  const std::string bare = name.rfind("SIG", 0) == 0 ? name.substr(3) : name;
  for (int signal = 1; signal < NSIG; ++signal) {
    const char* known = ::sigabbrev_np(signal);
    if (known != nullptr && bare == known) return signal;
  }
  return std::nullopt;
}

}  // namespace ipcm::os
