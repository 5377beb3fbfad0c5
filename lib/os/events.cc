#include "os/events.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <climits>
#include <cstring>

#include "os/sys.h"

namespace ipcm::os {

EventSet::EventSet() : fd_(sys("make", "event set", [] { return ::epoll_create1(EPOLL_CLOEXEC); })) {}

void EventSet::set(int operation, int fd, std::uint32_t events, std::uint64_t id) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  sys(
      "wait for descriptor", [&] { return std::to_string(fd); },
      [&] { return ::epoll_ctl(fd_.get(), operation, fd, &event); });
}

void EventSet::add(int fd, std::uint32_t events, std::uint64_t id) { set(EPOLL_CTL_ADD, fd, events, id); }

void EventSet::change(int fd, std::uint32_t events, std::uint64_t id) { set(EPOLL_CTL_MOD, fd, events, id); }

void EventSet::remove(int fd) noexcept {
  const int saved = errno;
  epoll_event unused{};
  if (fd_) (void)::epoll_ctl(fd_.get(), EPOLL_CTL_DEL, fd, &unused);
  errno = saved;
}

namespace {

/// Waits with nanosecond precision if the kernel can (since 5.11) and no sandbox refuses the call, otherwise
/// with millisecond precision.
int wait_for_events(int fd, std::span<epoll_event> into, Deadline deadline) {
  static std::atomic<bool> is_refused{false};
  const int timeout = deadline.poll_timeout();
  const int size = static_cast<int>(into.size());
  if (timeout > 0 && !is_refused.load(std::memory_order_relaxed)) {
    using std::chrono::nanoseconds;
    const auto left =
        std::max(std::chrono::duration_cast<nanoseconds>(deadline.when() - Clock::now()), nanoseconds(0))
            .count();
    const timespec limit{left / 1'000'000'000, left % 1'000'000'000};
    const int ready = ::epoll_pwait2(fd, into.data(), size, &limit, nullptr);
    if (ready >= 0 || (errno != ENOSYS && errno != EPERM)) return ready;
    is_refused = true;
  }
  return ::epoll_wait(fd, into.data(), size, timeout);
}

}  // namespace

std::size_t EventSet::wait(std::span<epoll_event> into, Deadline deadline) const {
  const int ready = wait_for_events(fd_.get(), into, deadline);
  if (ready >= 0) return static_cast<std::size_t>(ready);
  if (errno == EINTR) return 0;  // a handler of the host ran: return, so that the host can react
  throw SystemError(errno, "wait for events");
}

bool EventSet::can_wait_for(int fd) {
  EventSet trial;
  epoll_event event{};
  event.events = EPOLLIN;
  return ::epoll_ctl(trial.fd(), EPOLL_CTL_ADD, fd, &event) == 0 || errno != EPERM;
}

TimerFd::TimerFd()
    : fd_(sys("make", "timer",
              [] { return ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK); })) {}

void TimerFd::arm(Clock::time_point when) {
  using std::chrono::nanoseconds;
  // steady_clock is CLOCK_MONOTONIC here; zero would disarm.
  const auto since =
      std::max(std::chrono::duration_cast<nanoseconds>(when.time_since_epoch()), nanoseconds(1)).count();
  itimerspec spec{};
  spec.it_value.tv_sec = since / 1'000'000'000;
  spec.it_value.tv_nsec = since % 1'000'000'000;
  sys("arm", "timer", [&] { return ::timerfd_settime(fd_.get(), TFD_TIMER_ABSTIME, &spec, nullptr); });
}

void TimerFd::disarm() {
  const itimerspec spec{};
  sys("disarm", "timer", [&] { return ::timerfd_settime(fd_.get(), 0, &spec, nullptr); });
}

void TimerFd::acknowledge() {
  std::uint64_t expirations = 0;
  (void)quiet([&] { return ::read(fd_.get(), &expirations, sizeof expirations); });
}

WakeUp::WakeUp() : fd_(sys("make", "event", [] { return ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); })) {}

void WakeUp::notify() const noexcept {
  const std::uint64_t one = 1;
  if (fd_) (void)quiet([&] { return ::write(fd_.get(), &one, sizeof one); });
}

void WakeUp::acknowledge() const noexcept {
  std::uint64_t count = 0;
  if (fd_) (void)quiet([&] { return ::read(fd_.get(), &count, sizeof count); });
}

namespace {

UniqueFd make_watch(const std::string& what) {
  const int fd = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (fd < 0 && errno == EMFILE)
    throw SystemError(EMFILE,
                      "watch " + what +
                          ": this user has no directory watches left, or this process no descriptors (raise "
                          "fs.inotify.max_user_instances, or ulimit -n)");
  if (fd < 0) throw SystemError(errno, "watch " + what);
  return UniqueFd(fd);
}

}  // namespace

namespace {

bool await_changes(int fd, const char* what, Deadline deadline) {
  pollfd one{fd, POLLIN, 0};
  for (;;) {
    if (sys("wait for", what, [&] { return ::poll(&one, 1, deadline.poll_timeout()); }) > 0) return true;
    if (deadline.has_passed()) return false;
  }
}

}  // namespace

bool FileWatch::await(Deadline deadline) const {
  return await_changes(fd_.get(), "changes of a file", deadline);
}

FileWatch::FileWatch(const std::string& path, Of what) : fd_(make_watch("file '" + path + "'")) {
  const std::uint32_t events = what == Of::closing ? IN_CLOSE_WRITE : IN_MODIFY;
  sys("watch file", path,
      [&] { return ::inotify_add_watch(fd_.get(), path.c_str(), events | IN_ATTRIB | IN_DELETE_SELF); });
}

bool FileWatch::read() {
  alignas(inotify_event) std::array<char, 4UL * 1024> buffer{};
  bool something = false;
  while (quiet([&] { return ::read(fd_.get(), buffer.data(), buffer.size()); }) > 0) something = true;
  return something;
}

DirectoryWatch::DirectoryWatch(const std::string& path, Of what)
    : fd_(make_watch("directory '" + path + "'")) {
  // IN_CLOSE_WRITE on a lock file reports the death of its holder: see transport/presence/lock_file.h.
  constexpr std::uint32_t kChanges = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE |
                                     IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
  const std::uint32_t events = what == Of::arrivals   ? IN_CREATE | IN_MOVED_TO | IN_ONLYDIR
                               : what == Of::contents ? kChanges | IN_MODIFY
                                                      : kChanges;
  sys("watch directory", path, [&] { return ::inotify_add_watch(fd_.get(), path.c_str(), events); });
}

bool DirectoryWatch::await(Deadline deadline) const {
  return await_changes(fd_.get(), "changes in a directory", deadline);
}

void DirectoryWatch::read(const std::function<void(std::string_view name)>& tell) {
  alignas(inotify_event) std::array<char, 16UL * 1024> buffer{};
  for (;;) {
    const ssize_t got = quiet([&] { return ::read(fd_.get(), buffer.data(), buffer.size()); });
    if (got <= 0) return;
    for (std::size_t at = 0; at < static_cast<std::size_t>(got);) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof event);
      const char* name = buffer.data() + at + sizeof event;
      const bool all =
          (event.mask & (IN_Q_OVERFLOW | IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) != 0 || event.len == 0;
      tell(all ? std::string_view() : std::string_view(name, ::strnlen(name, event.len)));
      at += sizeof event + event.len;
    }
  }
}

}  // namespace ipcm::os
