#include "os/file_lock.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>

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

UniqueFd open_file(const std::string& path, Access access) {
  const int flags = (access == Access::read ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK;
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
