#include "os/record_lock.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "os/sys.h"

namespace ipcm::os {
namespace {

struct flock whole_file() {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

}  // namespace

LockAttempt try_lock(int fd) {
  struct flock lock = whole_file();
  if (quiet([&] { return ::fcntl(fd, F_SETLK, &lock); }) == 0) return LockAttempt::taken;
  if (errno == EACCES || errno == EAGAIN) return LockAttempt::held_by_other;
  throw SystemError(errno, "lock file");
}

std::optional<Pid> lock_holder(int fd) {
  struct flock lock = whole_file();
  sys("ask for holder of", "lock", [&] { return ::fcntl(fd, F_GETLK, &lock); });
  if (lock.l_type == F_UNLCK) return std::nullopt;
  return std::max<Pid>(lock.l_pid, 0);
}

}  // namespace ipcm::os
