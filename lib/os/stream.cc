#include "os/stream.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <climits>

#include "os/directory.h"
#include "os/signals.h"
#include "os/sys.h"

namespace ipcm::os {
namespace {

/// Returns the number in "&N".
int number_in(const std::string& where) {
  int number = -1;
  const char* const end = where.data() + where.size();
  const auto [stopped, error] = std::from_chars(where.data() + 1, end, number);
  if (where.size() < 2 || error != std::errc{} || stopped != end || number < 0)
    throw SystemError(EBADF, "redirect to '" + where +
                                 "': & stands before the number of a descriptor (write ./& for a path that "
                                 "begins with &)");
  return number;
}

UniqueFd open_path(const std::string& path, StreamUse use) {
  const int flags = use == StreamUse::read ? O_RDONLY : O_WRONLY | O_CREAT | O_APPEND;
  const auto open_with = [&](int how) {
    return ::open(path.c_str(), how | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0666);
  };
  UniqueFd fd(quiet([&] { return open_with(flags); }));
  if (!fd && errno == ENXIO)
    throw SystemError(ENXIO, "open '" + path + "' to write to: if it is a FIFO, nobody reads it yet");
  if (!fd) throw SystemError(errno, "open '" + path + "'");
  if (use == StreamUse::read && facts_of(fd.get()).kind == FileKind::fifo)
    if (UniqueFd both(quiet([&] { return open_with(O_RDWR); })); both) fd = std::move(both);
  set_blocking(fd.get());
  return fd;
}

}  // namespace

UniqueFd open_stream(const std::string& where, StreamUse use) {
  if (!where.starts_with('&')) return open_path(where, use);
  const int number = number_in(where);
  return number <= 2 && !is_open(number) ? open_path("/dev/null", use) : duplicate(number, 3);
}

bool is_terminal(int fd) noexcept { return ::isatty(fd) == 1; }

void StreamWriter::find_way() noexcept {
  way_ = Way::piecemeal;  // the pipe belongs to another user, or there is no /proc
  try {
    const FileKind kind = facts_of(fd_.get()).kind;
    if (kind == FileKind::regular) way_ = Way::plain;
    if (kind == FileKind::socket) way_ = Way::socket;
    if (way_ != Way::piecemeal) return;
    const std::string path = "/proc/self/fd/" + std::to_string(fd_.get());
    UniqueFd again(
        quiet([&] { return ::open(path.c_str(), O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY); }));
    if (!again) return;
    fd_ = std::move(again);
    way_ = Way::nonblocking;
  } catch (const SystemError&) {
    lost_ = true;
  }
}

long StreamWriter::write_once(std::string_view bytes) noexcept {
  if (way_ == Way::socket)
    return quiet([&] { return ::send(fd_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL); });
  if (way_ == Way::piecemeal) {
    // EPOLLOUT on a pipe means that one page fits.
    pollfd one{fd_.get(), POLLOUT, 0};
    if (quiet([&] { return ::poll(&one, 1, 0); }) == 0) return errno = EAGAIN, -1;
    bytes = bytes.substr(0, PIPE_BUF);
  }
  return quiet([&] { return ::write(fd_.get(), bytes.data(), bytes.size()); });
}

std::size_t StreamWriter::put(std::string_view bytes) noexcept {
  if (bytes.empty()) return 0;
  if (way_ == Way::unknown) find_way();
  QuietWrites quiet_writes;
  std::size_t done = 0;
  while (!lost_ && done < bytes.size()) {
    const long put = write_once(bytes.substr(done));
    if (put >= 0) {
      done += static_cast<std::size_t>(put);
    } else if (errno == EAGAIN) {
      return done;
    } else {
      quiet_writes.note(errno);
      lost_ = true;
    }
  }
  return bytes.size();
}

}  // namespace ipcm::os
