#include "os/file_lock.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

#include "os/directory.h"
#include "os/pipe.h"
#include "os/sys.h"

namespace ipcm::os {

bool lock_whole_file(int fd, LockKind kind, Deadline deadline) {
  constexpr int kLongestPause = 8;
  const int how = (kind == LockKind::shared ? LOCK_SH : LOCK_EX) | LOCK_NB;
  for (int pause = 1;; pause = std::min(pause * 2, kLongestPause)) {
    if (quiet([&] { return ::flock(fd, how); }) == 0) return true;
    if (errno != EWOULDBLOCK) throw SystemError(errno, "lock file");
    if (deadline.has_passed()) return false;
    (void)::poll(nullptr, 0, pause);
  }
}

void unlock_whole_file(int fd) noexcept { (void)::flock(fd, LOCK_UN); }

std::optional<Pid> file_lock_holder(const std::string& path) {
  struct stat there {};
  if (::stat(path.c_str(), &there) != 0) return std::nullopt;
  std::array<char, 64> place{};  // "08:01:4711"
  (void)std::snprintf(place.data(), place.size(), "%02x:%02x:%llu", major(there.st_dev), minor(there.st_dev),
                      static_cast<unsigned long long>(there.st_ino));
  constexpr std::size_t kLargestList = 16UL * 1024 * 1024;
  const UniqueFd list = open_file("/proc/locks", Access::read);
  if (!list) return std::nullopt;
  const std::string text = read_all(list.get(), kLargestList, "list of locks");
  // "1: FLOCK  ADVISORY  WRITE 4711 08:01:4711 0 EOF"; a process that only waits has "->" before the kind.
  for (std::string_view lines = text; !lines.empty();) {
    std::string_view line = lines.substr(0, lines.find('\n'));
    lines.remove_prefix(std::min(line.size() + 1, lines.size()));
    const auto word = [&line] {
      line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
      const std::string_view first = line.substr(0, line.find(' '));
      line.remove_prefix(first.size());
      return first;
    };
    (void)word();  // its number
    if (word() != "FLOCK") continue;
    (void)word(), (void)word();
    const std::string_view holder = word();
    Pid pid = 0;
    (void)std::from_chars(holder.data(), holder.data() + holder.size(), pid);
    if (word() == place.data() && pid > 0) return pid;
  }
  return std::nullopt;
}

UniqueFd open_file(const std::string& path, Access access) {
  const int flags = (access == Access::read ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW;
  UniqueFd file(quiet([&] { return ::open(path.c_str(), flags); }));
  if (!file && errno != ENOENT) throw SystemError(errno, "open '" + path + "'");
  return file;
}

std::string read_from_start(int fd, std::size_t limit, const char* what) {
  sys("rewind", what, [&] { return ::lseek(fd, 0, SEEK_SET); });
  return read_all(fd, limit, what);
}

void rewrite(int fd, std::string_view text, const char* what) {
  truncate(fd);
  write_all(fd, text, what);
}

}  // namespace ipcm::os
