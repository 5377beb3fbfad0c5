#include "os/identity.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string_view>

#include "os/pipe.h"
#include "os/process.h"
#include "os/random.h"
#include "os/sys.h"

namespace ipcm::os {
namespace {

std::string status_of(std::string_view process) {
  constexpr std::size_t kLargest = 1U << 16U;
  const std::string path = "/proc/" + std::string(process) + "/status";
  const UniqueFd file(quiet([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
  if (!file) return {};
  try {
    return read_all(file.get(), kLargest, path.c_str());
  } catch (const Error&) {
    return {};  // it ended between the two system calls
  }
}

/// Whether this process can see every process of the machine.
bool sees_all_processes() {
  constexpr ino_t kFirstNamespace = 0xEFFFFFFC;  // PROC_PID_INIT_INO
  struct stat space {};
  return ::stat("/proc/self/ns/pid", &space) == 0 && space.st_ino == kFirstNamespace &&
         !status_of("1").empty();  // otherwise /proc hides the processes of other users
}

/// The number that a process has in its own pid namespace, the last of "NSpid:\t4711\t3"; 0: it has ended.
Pid own_number_in(std::string_view status) {
  constexpr std::string_view kKey = "\nNSpid:";
  const auto at = status.find(kKey);
  if (at == std::string_view::npos || status.find("\nState:\tZ") != std::string_view::npos) return 0;
  const auto line = status.substr(at + kKey.size(), status.find('\n', at + 1) - at - kKey.size());
  const auto last = line.find_last_of(" \t");
  const auto digits = last == std::string_view::npos ? line : line.substr(last + 1);
  Pid number = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return number;
}

bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

std::string unique_name(const std::string& prefix) {
  constexpr std::size_t kLetters = 6;
  return prefix + std::to_string(own_pid()) + "-" + random_name(kLetters);
}

Seen look_for_process(Pid noted) {
  if (noted <= 0) return Seen::nowhere;
  if (noted != own_pid() && is_running(noted)) return Seen::runs;
  if (!sees_all_processes()) return Seen::nowhere;
  const std::string us = std::to_string(own_pid());
  // Only processes of other namespaces can match: of this one, none has the number.
  try {
    for (const std::string& name : Directory("/proc").names())
      if (is_number(name) && name != us && own_number_in(status_of(name)) == noted) return Seen::elsewhere;
  } catch (const Error&) {
    return Seen::nowhere;  // a failed listing proves nothing
  }
  return Seen::ended;
}

namespace {

Endpoint look_at_socket(const Directory& directory, const std::string& name, int type) {
  // A file that is no socket refuses connections, too.
  if (directory.look(name).kind != FileKind::socket) return Endpoint::unknown;
  const std::string path = directory.short_path(name);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return Endpoint::unknown;
  path.copy(address.sun_path, path.size());
  const UniqueFd socket(quiet([&] { return ::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }));
  if (!socket) return Endpoint::unknown;
  if (quiet([&] {
        return ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
      }) == 0 ||
      errno == EAGAIN)  // its queue is full
    return Endpoint::read;
  return errno == ECONNREFUSED ? Endpoint::dead : Endpoint::unknown;
}

}  // namespace

Endpoint look_at_stream(const Directory& directory, const std::string& name) {
  return look_at_socket(directory, name, SOCK_STREAM);
}

Endpoint look_at_datagrams(const Directory& directory, const std::string& name) {
  return look_at_socket(directory, name, SOCK_DGRAM);
}

Endpoint look_at_fifo(const Directory& directory, const std::string& name) {
  const std::string path = directory.short_path(name);
  const UniqueFd pipe(
      quiet([&] { return ::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW); }));
  if (!pipe) return errno == ENXIO ? Endpoint::dead : Endpoint::unknown;
  return facts_of(pipe.get()).kind == FileKind::fifo ? Endpoint::read : Endpoint::unknown;
}

UniqueFd process_of_listener(int connected, const FileFacts& endpoint) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (endpoint.kind != FileKind::socket ||
      ::getsockopt(connected, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0 ||
      credentials.uid != endpoint.owner)
    return {};
#ifndef SO_PEERPIDFD
  constexpr int SO_PEERPIDFD = 77;  // Linux 6.5
#endif
  int number = -1;
  size = sizeof number;
  if (::getsockopt(connected, SOL_SOCKET, SO_PEERPIDFD, &number, &size) == 0) {
    UniqueFd process(number);  // the kernel sets close-on-exec on each pidfd
    // One of another pid namespace has no number here, and can't be signalled from here.
    return has_ended(process.get()) || !pid_of(process.get()) ? UniqueFd() : std::move(process);
  }
  if (errno != ENOPROTOOPT) return {};  // it has ended
  if (credentials.pid <= 0) return {};  // a process of another pid namespace
  auto process = open_process(credentials.pid);
  if (!process) return {};
  // The kernel reports the pid also after the process has ended. Process start times are counted in clock
  // ticks, so a difference of one tick is allowed.
  constexpr double kTick = 0.02;
  const auto began = start_time(credentials.pid);
  if (!began || *began > endpoint.modified + kTick || has_ended(process->get())) return {};
  return std::move(*process);
}

}  // namespace ipcm::os
