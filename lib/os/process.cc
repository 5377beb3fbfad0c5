#include "os/process.h"

#include <fcntl.h>
#include <linux/types.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <charconv>
#include <climits>
#include <csignal>
#include <cstring>
#include <ctime>
#include <map>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "os/directory.h"
#include "os/pipe.h"
#include "os/sys.h"

namespace ipcm {

ExitStatus ExitStatus::from_wait_status(int wait_status) {
  if (WIFSIGNALED(wait_status)) return signalled(WTERMSIG(wait_status), WCOREDUMP(wait_status));
  return exited(WEXITSTATUS(wait_status));
}

std::string ExitStatus::describe() const {
  if (how == How::exited) return "exited with status " + std::to_string(value);
  const char* name = ::sigabbrev_np(value);
  std::string text = "was killed by ";
  if (name != nullptr)
    text.append("SIG").append(name);
  else
    text.append("signal ").append(std::to_string(value));
  if (core_dumped) text.append(" (core dumped)");
  return text;
}

namespace os {
namespace {

// From linux/pidfd.h of Linux 6.13; the exit status comes from 6.15 on. The headers of Debian 12 are older.
struct PidfdInfo {
  __u64 mask;
  __u64 cgroup_id;
  __u32 pid, tgid, ppid;
  __u32 ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
  __s32 exit_code;
};
constexpr __u64 kPidfdInfoPid = 1U << 0U, kPidfdInfoExit = 1U << 3U;
constexpr unsigned long kPidfdGetInfo = _IOWR(0xFF, 11, PidfdInfo);

/// Whether a file of /proc that can't be opened for lack of descriptors or memory counts as gone.
enum class Shortage { counts, throws };

/// Returns the content of a small file of /proc; empty if it is gone.
std::string proc_file(const std::string& path, Shortage shortage = Shortage::counts) {
  const UniqueFd file(quiet([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
  std::string text;
  if (!file && shortage == Shortage::throws && is_shortage(errno))
    throw SystemError(errno, "read '" + path + "'");
  if (!file) return text;
  try {
    text = read_all(file.get(), 1U << 16U, path.c_str());
  } catch (const Error&) {
    text.clear();  // ESRCH: the process ended after the file was opened
  }
  return text;
}

template <class Number>
std::optional<Number> number_in(std::string_view text) {
  Number number{};
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return std::nullopt;
  return number;
}

/// Returns field `index` (from 3 on, as proc(5) counts) of /proc/PID/stat. The second field, the name, may
/// contain any characters.
std::optional<std::string> stat_field(Pid pid, int index, Shortage shortage = Shortage::counts) {
  const std::string text = proc_file("/proc/" + std::to_string(pid) + "/stat", shortage);
  auto at = text.rfind(')');
  if (at == std::string::npos) return std::nullopt;
  for (int field = 2; field < index; ++field) {
    at = text.find(' ', at + 1);
    if (at == std::string::npos) return std::nullopt;
  }
  return text.substr(at + 1, text.find(' ', at + 1) - at - 1);
}

}  // namespace

std::optional<UniqueFd> open_process(Pid pid) {
  const long fd = quiet([&] { return ::syscall(SYS_pidfd_open, pid, 0); });
  if (fd >= 0) return UniqueFd(static_cast<int>(fd));
  // The id of a thread gives ENOENT, on older kernels EINVAL, as does a number that is no pid.
  if (errno == ESRCH || errno == EINVAL || errno == ENOENT) return std::nullopt;
  throw SystemError(errno, "open process " + std::to_string(pid) + " (pidfd_open)");
}

bool has_ended(int pidfd) { return await_end(pidfd, Deadline::passed()); }

bool await_end(int pidfd, Deadline deadline) {
  pollfd one{pidfd, POLLIN, 0};
  for (;;) {
    const int ready = sys("wait for", "process", [&] { return ::poll(&one, 1, deadline.poll_timeout()); });
    if (ready > 0) return true;
    if (deadline.has_passed()) return false;
  }
}

bool signal_process(int pidfd, int signal) {
  if (quiet([&] { return ::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0); }) == 0) return true;
  if (errno == ESRCH) return false;
  throw SystemError(errno, "send signal " + std::to_string(signal) + " (pidfd_send_signal)");
}

std::optional<Pid> pid_of(int pidfd) {
  PidfdInfo record{};
  record.mask = kPidfdInfoPid;
  if (::ioctl(pidfd, kPidfdGetInfo, &record) == 0 && (record.mask & kPidfdInfoPid) != 0)
    return static_cast<Pid>(record.pid);
  // For older kernels.
  const std::string text = proc_file("/proc/self/fdinfo/" + std::to_string(pidfd));
  const auto at = text.find("\nPid:");
  if (at == std::string::npos) return std::nullopt;
  const auto pid = number_in<Pid>(std::string_view(text).substr(at + 5));
  if (!pid || *pid <= 0) return std::nullopt;
  return pid;
}

namespace {

/// Returns the exit status of a zombie of another parent; /proc shows it to the user of that process.
std::optional<ExitStatus> status_of_zombie(int pidfd) {
  constexpr int kStateField = 3, kStatusField = 52;
  const auto pid = pid_of(pidfd);
  if (!pid || stat_field(*pid, kStateField).value_or("") != "Z") return std::nullopt;
  const auto text = stat_field(*pid, kStatusField);
  const auto number = text ? number_in<int>(*text) : std::nullopt;
  // Its parent may have reaped it between the two reads, and its pid may belong to another process.
  if (!number || pid_of(pidfd) != pid) return std::nullopt;
  return ExitStatus::from_wait_status(*number);
}

}  // namespace

std::optional<ExitStatus> peek_exit_status(int pidfd) {
  siginfo_t info{};
  if (quiet([&] {
        return ::waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG | WNOWAIT);
      }) == 0 &&
      info.si_pid != 0) {
    if (info.si_code == CLD_EXITED) return ExitStatus::exited(info.si_status);
    return ExitStatus::signalled(info.si_status, info.si_code == CLD_DUMPED);
  }
  if (const auto status = status_of_zombie(pidfd)) return status;
  PidfdInfo record{};
  record.mask = kPidfdInfoExit;
  if (::ioctl(pidfd, kPidfdGetInfo, &record) == 0 && (record.mask & kPidfdInfoExit) != 0)
    return ExitStatus::from_wait_status(record.exit_code);
  return std::nullopt;
}

std::string how_it_ended(int pidfd, const std::optional<ExitStatus>& status) {
  if (status) return status->describe();
  PidfdInfo record{};
  record.mask = kPidfdInfoExit;
  // If the kernel answers, the process is a zombie that another process has to reap.
  const bool told = ::ioctl(pidfd, kPidfdGetInfo, &record) == 0;
  return told ? "has ended (its parent has not taken its exit status yet, and others can't see it)"
              : "has ended (how it ended can't be known on this kernel)";
}

unsigned usable_processors() noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  // A machine with more processors than a set holds has more than one.
  return ::sched_getaffinity(0, sizeof set, &set) == 0 ? static_cast<unsigned>(CPU_COUNT(&set)) : 2;
}

void let_others_run() noexcept { (void)::sched_yield(); }

Pid own_pid() { return ::getpid(); }

std::optional<Pid> parent_of(Pid pid) {
  const auto field = stat_field(pid, 4);
  return field ? number_in<Pid>(*field) : std::nullopt;
}

bool is_running(Pid pid) {
  const auto pidfd = open_process(pid);
  return pidfd && !has_ended(pidfd->get());
}

std::string process_numbering() {
  constexpr std::size_t kLongest = 128;
  std::string text;
  const UniqueFd file(::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
  if (!file && errno != ENOENT && errno != EACCES)
    throw SystemError(errno,
                      // a part of it would identify another machine
                      "open '/proc/sys/kernel/random/boot_id'");
  if (file) text = read_all(file.get(), kLongest, "boot id");
  while (text.ends_with('\n')) text.pop_back();
  std::array<char, kLongest> space{};
  const ssize_t size = ::readlink("/proc/self/ns/pid", space.data(), space.size());
  if (size > 0) text.append(" ").append(space.data(), static_cast<std::size_t>(size));
  return text;
}

std::optional<double> start_time(Pid pid) {
  constexpr int kStartField = 22;
  const auto field = stat_field(pid, kStartField, Shortage::throws);
  if (!field) return std::nullopt;
  const auto ticks = number_in<std::uint64_t>(*field);
  if (!ticks) return std::nullopt;
  timespec boot{};
  ::clock_gettime(CLOCK_BOOTTIME, &boot);
  const double since_boot = static_cast<double>(boot.tv_sec) + static_cast<double>(boot.tv_nsec) * 1e-9;
  const double age = since_boot - static_cast<double>(*ticks) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  return wall_clock_seconds() - age;
}

std::optional<std::uint64_t> resident_memory(Pid pid) {
  const std::string text = proc_file("/proc/" + std::to_string(pid) + "/statm");
  const auto space = text.find(' ');
  if (space == std::string::npos) return std::nullopt;
  const auto pages = number_in<std::uint64_t>(std::string_view(text).substr(space));
  if (!pages) return std::nullopt;
  const auto counted = *pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  // Before Linux 6.2, each thread keeps up to 64 pages in a counter of its own before it adds them to the
  // total, which is then 0 for a small service. The other file walks the page tables: exact, and quick for a
  // small process.
  constexpr std::uint64_t kSmall = 1024UL * 1024;
  if (counted >= kSmall) return counted;
  return rss_in(proc_file("/proc/" + std::to_string(pid) + "/smaps_rollup")).value_or(counted);
}

std::optional<std::uint64_t> rss_in(std::string_view smaps_rollup) {
  constexpr std::string_view kKey = "\nRss:";
  constexpr std::uint64_t kKibi = 1024;
  const auto at = smaps_rollup.find(kKey);
  if (at == std::string_view::npos) return std::nullopt;
  const auto kibibytes = number_in<std::uint64_t>(smaps_rollup.substr(at + kKey.size()));
  return kibibytes ? std::optional<std::uint64_t>(*kibibytes * kKibi) : std::nullopt;
}

bool has_threads() {
  const auto field = stat_field(::getpid(), 20);
  return field && number_in<int>(*field).value_or(1) > 1;
}

void set_process_title(const std::string& title) { ::prctl(PR_SET_NAME, title.c_str(), 0, 0, 0); }

void adopt_orphans() {
  sys("become", "subreaper", [] { return ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); });
}

std::string own_executable() {
  std::array<char, PATH_MAX> path{};
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
  return size > 0 ? std::string(path.data(), static_cast<std::size_t>(size)) : std::string();
}

}  // namespace os
}  // namespace ipcm
