#include "os/pipe.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>

#include "os/directory.h"
#include "os/signals.h"
#include "os/sys.h"

namespace ipcm::os {

Pipe make_pipe() {
  std::array<int, 2> ends{};
  sys("make", "pipe", [&] { return ::pipe2(ends.data(), O_CLOEXEC); });
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

UniqueFd open_both_ways(UniqueFd end) {
  const std::string path = "/proc/self/fd/" + std::to_string(end.get());
  UniqueFd both(quiet([&] { return ::open(path.c_str(), O_RDWR | O_CLOEXEC); }));
  return both ? std::move(both) : std::move(end);
}

UniqueFd open_input(const std::string& path) {
  constexpr int kFlags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  return UniqueFd(sys("open", path, [&] { return ::open(path.c_str(), kFlags); }));
}

bool has_writer(int read_end) {
  pollfd one{read_end, POLLIN, 0};
  return quiet([&] { return ::poll(&one, 1, 0); }) <= 0 || (one.revents & POLLHUP) == 0;
}

bool is_readable(int fd) {
  pollfd one{fd, POLLIN, 0};
  return quiet([&] { return ::poll(&one, 1, 0); }) > 0;
}

bool await_input(int fd, Input until, int unless) {
  const short events = until == Input::some ? POLLIN : 0;  // poll() reports a hang-up in any case
  std::array<pollfd, 2> two{pollfd{fd, events, 0}, pollfd{unless, POLLIN, 0}};
  sys("wait for", "input", [&] { return ::poll(two.data(), two.size(), -1); });
  return two[0].revents != 0;
}

namespace {

/// Reads into a buffer, not into the string: a longer string would be filled with zeros first, page after
/// page.
template <std::size_t kPiece>
[[gnu::noinline]] ReadResult read_piece(int fd, std::string& into, std::size_t most, const char* what) {
  std::array<char, kPiece> piece;  // NOLINT: filled by the kernel
  const ssize_t got = quiet([&] { return ::read(fd, piece.data(), std::min(most, piece.size())); });
  if (got > 0) {
    into.append(piece.data(), static_cast<std::size_t>(got));
    return ReadResult::some;
  }
  if (got == 0) return ReadResult::end;
  if (errno == EAGAIN) return ReadResult::later;
  throw SystemError(errno, std::string("read '") + what + "'");
}

/// Most files here are short. Their reader uses only a part of the stack that it has already touched.
constexpr std::size_t kShort = 1024, kLong = 16UL * 1024;

}  // namespace

ReadResult read_some(int fd, std::string& into, std::size_t most, const char* what) {
  return most <= kShort ? read_piece<kShort>(fd, into, most, what) : read_piece<kLong>(fd, into, most, what);
}

std::string read_until_end(int fd, Deadline deadline, const char* what, std::size_t limit) {
  std::string all;
  while (all.size() < limit) {
    pollfd one{fd, POLLIN, 0};
    if (sys("wait for", what, [&] { return ::poll(&one, 1, deadline.poll_timeout()); }) == 0) break;
    if (read_some(fd, all, kLong, what) == ReadResult::end) break;
  }
  return all;
}

std::string read_all(int fd, std::size_t limit, const char* what) {
  std::string all;
  while (read_some(fd, all, all.size() < kShort ? kShort : kLong, what) != ReadResult::end)
    if (all.size() > limit)
      throw ProtocolError(std::string(what) + ": larger than the limit of " + std::to_string(limit) +
                          " bytes");
  return all;
}

namespace {

/// Returns 0 when all bytes were written, otherwise errno.
int write_everything(int fd, std::string_view bytes) noexcept {
  QuietWrites quiet_writes;
  while (!bytes.empty()) {
    const ssize_t put = quiet([&] { return ::write(fd, bytes.data(), bytes.size()); });
    if (put >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(put));
    } else if (errno == EAGAIN) {
      pollfd one{fd, POLLOUT, 0};
      (void)quiet([&] { return ::poll(&one, 1, -1); });  // it also wakes when the reader closes its end
    } else {
      quiet_writes.note(errno);
      return errno;
    }
  }
  return 0;
}

}  // namespace

void write_all(int fd, std::string_view bytes, const char* what) {
  if (const int error = write_everything(fd, bytes); error != 0)
    throw SystemError(error, std::string("write '") + what + "'");
}

std::size_t try_put(int fd, std::string_view bytes) noexcept {
  const ssize_t put = quiet([&] { return ::write(fd, bytes.data(), bytes.size()); });
  return static_cast<std::size_t>(std::max<ssize_t>(put, 0));
}

PutResult put_some(int fd, std::string_view& bytes) {
  QuietWrites quiet_writes;
  while (!bytes.empty()) {
    const ssize_t put = quiet([&] { return ::write(fd, bytes.data(), bytes.size()); });
    if (put < 0) {
      const int error = errno;
      quiet_writes.note(error);
      if (error == EAGAIN) return PutResult::later;
      if (error == EPIPE) return PutResult::gone;
      throw SystemError(error, "write to a pipe");
    }
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  return PutResult::done;
}

std::size_t put_without_blocking(int fd, std::string_view bytes, const char* what) {
  QuietWrites quiet_writes;
  std::size_t done = 0;
  while (done < bytes.size()) {
    const std::string_view rest = bytes.substr(done);
    ssize_t put = quiet([&] { return ::send(fd, rest.data(), rest.size(), MSG_DONTWAIT); });
    if (put < 0 && errno == ENOTSOCK) {
      // A pipe that poll() reports as ready accepts PIPE_BUF bytes without blocking.
      pollfd one{fd, POLLOUT, 0};
      if (quiet([&] { return ::poll(&one, 1, 0); }) <= 0) break;
      put = quiet([&] { return ::write(fd, rest.data(), std::min<std::size_t>(rest.size(), PIPE_BUF)); });
    }
    if (put < 0 && errno == EAGAIN) break;
    if (put < 0) {
      quiet_writes.note(errno);
      throw SystemError(errno, std::string("write '") + what + "'");
    }
    done += static_cast<std::size_t>(put);
  }
  return done;
}

bool try_write_line(int fd, std::string_view line, Deadline deadline) noexcept {
  pollfd one{fd, POLLOUT, 0};  // a pipe that is ready accepts PIPE_BUF bytes without blocking
  if (quiet([&] { return ::poll(&one, 1, deadline.poll_timeout()); }) <= 0) return false;
  return try_put(fd, line) == line.size();
}

bool try_write_all(int fd, std::string_view bytes) noexcept { return write_everything(fd, bytes) == 0; }

UniqueFd make_sealed_memory_file(const char* name, std::string_view content) {
  UniqueFd file(sys("make memory file (memfd_create)", name,
                    [&] { return ::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING); }));
  write_all(file.get(), content, name);
  sys("rewind", name, [&] { return ::lseek(file.get(), 0, SEEK_SET); });
  sys("seal", name, [&] {
    return ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
  });
  return file;
}

UniqueFd make_readable_once(const char* name, std::string_view content) {
  try {
    return make_sealed_memory_file(name, content);
  } catch (const SystemError& error) {
    // EFBIG: the limit of file sizes applies to memory files, but not to pipes.
    if (error.code() != ENOSYS && error.code() != EPERM && error.code() != EFBIG) throw;
    Pipe pipe = make_pipe();
    if (::fcntl(pipe.write_end.get(), F_SETPIPE_SZ, static_cast<int>(content.size())) < 0) throw;
    set_nonblocking(pipe.write_end.get());
    if (try_put(pipe.write_end.get(), content) != content.size()) throw;
    return std::move(pipe.read_end);
  }
}

std::string read_sealed_memory_file(int fd, std::size_t limit) {
  constexpr int kNeeded = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  const int seals = ::fcntl(fd, F_GET_SEALS);  // fails if it is no memory file
  if (seals < 0 || (seals & kNeeded) != kNeeded) throw ProtocolError("it is no sealed memory file");
  const std::uint64_t size = facts_of(fd).size;
  if (size > limit)
    throw ProtocolError("it has " + std::to_string(size) + " bytes, beyond the limit of " +
                        std::to_string(limit));
  std::string content(static_cast<std::size_t>(size), '\0');
  for (std::size_t at = 0; at < content.size();) {
    // Not read(): this process shares the file position with the sender.
    const auto got = sys("read", "memory file", [&] {
      return ::pread(fd, content.data() + at, content.size() - at, static_cast<off_t>(at));
    });
    if (got == 0) throw ProtocolError("a memory file is shorter than it says");
    at += static_cast<std::size_t>(got);
  }
  return content;
}

}  // namespace ipcm::os
