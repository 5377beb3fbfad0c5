#include "os/record_lock.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "os/sys.h"

namespace ipcm::os {
namespace {

struct flock lock_of(LockPart part) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = part == LockPart::tail ? 1 : 0;  // to the end, wherever that is
  return lock;
}

}  // namespace

LockAttempt try_lock(int fd, LockPart part) {
  struct flock lock = lock_of(part);
  if (quiet([&] { return ::fcntl(fd, F_SETLK, &lock); }) == 0) return LockAttempt::taken;
  if (errno == EACCES || errno == EAGAIN) return LockAttempt::held_by_other;
  throw SystemError(errno, "lock file");
}

std::optional<LockHolder> lock_holder(int fd) {
  struct flock lock = lock_of(LockPart::whole);
  sys("ask for holder of", "lock", [&] { return ::fcntl(fd, F_GETLK, &lock); });
  if (lock.l_type == F_UNLCK) return std::nullopt;
  return LockHolder{std::max<Pid>(lock.l_pid, 0), lock.l_start > 0 ? LockPart::tail : LockPart::whole};
}

}  // namespace ipcm::os
