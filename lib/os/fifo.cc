#include "os/fifo.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <charconv>
#include <climits>

#include "os/sys.h"

namespace ipcm::os {
namespace {

/// Returns the largest pipe size that the kernel allows for any user; 0 if it is unknown.
int largest_pipe() {
  try {
    const UniqueFd file(::open("/proc/sys/fs/pipe-max-size", O_RDONLY | O_CLOEXEC));
    if (!file) return 0;
    constexpr std::size_t kLongest = 64;
    const std::string text = read_all(file.get(), kLongest, "pipe-max-size");
    int size = 0;
    std::from_chars(text.data(), text.data() + text.size(), size);
    return size;
  } catch (const Error&) {
    return 0;
  }
}

}  // namespace

UniqueFd make_fifo_at(const Directory& directory, const std::string& name) {
  constexpr mode_t kMode = 0700;
  // While nobody has it open for reading, a sender is refused, and would take this process for a dead one. So the pipe
  // gets its name when it is open.
  const std::string pending = pending_name();
  const std::string path = directory.short_path(pending);
  const auto subject = [&] { return directory.path() + "/" + name; };
  sys("make pipe", subject, [&] { return ::mkfifo(path.c_str(), kMode); });
  try {
    UniqueFd fd(sys("open pipe", subject,
                    [&] { return ::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW); }));
    sys("set the mode of", subject, [&] { return ::fchmod(fd.get(), kMode); });  // whatever the umask is
    // The kernel refuses large pipes to a user with many pipes: then the size stays as it is.
    if (const int size = largest_pipe(); size > 0) (void)::fcntl(fd.get(), F_SETPIPE_SZ, size);
    directory.rename_to_new(pending, name);
    return fd;
  } catch (...) {
    (void)directory.remove_file(pending);
    throw;
  }
}

std::optional<UniqueFd> open_fifo_at(const Directory& directory, const std::string& name) {
  const std::string path = directory.short_path(name);
  UniqueFd fd(quiet([&] { return ::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW); }));
  if (!fd) {
    if (errno == ENXIO || errno == ENOENT || errno == ELOOP || errno == EISDIR) return std::nullopt;
    throw SystemError(errno, "open pipe '" + directory.path() + "/" + name + "'");
  }
  if (facts_of(fd.get()).kind != FileKind::fifo) return std::nullopt;
  return fd;
}

ReadResult read_fifo(int fd, std::span<char> into, std::size_t* got) {
  *got = 0;
  const ssize_t taken = quiet([&] { return ::read(fd, into.data(), into.size()); });
  if (taken > 0) {
    *got = static_cast<std::size_t>(taken);
    return ReadResult::some;
  }
  if (taken == 0) return ReadResult::end;
  if (errno == EAGAIN) return ReadResult::later;
  throw SystemError(errno, "read a pipe");
}

PutResult PipeWriting::put(int fd, std::string_view bytes) {
  assert(bytes.size() <= PIPE_BUF);
  const ssize_t put = quiet([&] { return ::write(fd, bytes.data(), bytes.size()); });
  if (put == static_cast<ssize_t>(bytes.size())) return PutResult::done;
  if (put >= 0) throw SystemError(EIO, "write to a pipe: it took a part of what goes whole or not at all");
  if (errno == EAGAIN) return PutResult::later;
  quiet_writes_.note(errno);
  if (errno != EPIPE) throw SystemError(errno, "write to a pipe");
  return PutResult::gone;
}

}  // namespace ipcm::os
