#include "os/standard_streams.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include "os/sys.h"

namespace ipcm::os {
namespace {

/// Opens /dev/null at the lowest free number, which is `stream`. Returns false if another thread was faster,
/// or /dev/null can't be opened.
bool place_null(int stream, int flags) noexcept {
  const int fd = ::open("/dev/null", flags | O_NOCTTY);
  if (fd == stream) return true;
  if (fd >= 0) detail::close_quietly(fd);
  return false;
}

}  // namespace

std::array<bool, 3> closed_standard_streams() noexcept {
  std::array<pollfd, 3> all{{{0, 0, 0}, {1, 0, 0}, {2, 0, 0}}};
  const int saved = errno;
  const bool some = quiet([&] { return ::poll(all.data(), all.size(), 0); }) > 0;
  errno = saved;
  std::array<bool, 3> closed{};
  for (std::size_t i = 0; some && i < all.size(); ++i) closed.at(i) = (all.at(i).revents & POLLNVAL) != 0;
  return closed;
}

void fill_standard_streams(ClosedStdout closed_stdout) noexcept {
  const auto closed = closed_standard_streams();
  if (closed[0]) (void)place_null(0, O_RDONLY);
  if (closed[1]) (void)place_null(1, closed_stdout == ClosedStdout::fails ? O_RDONLY : O_RDWR);
  if (closed[2]) (void)place_null(2, O_RDWR);
}

StandardStreamsHeld::StandardStreamsHeld() noexcept {
  const auto closed = closed_standard_streams();
  for (int stream = 0; stream <= 2; ++stream)
    held_.at(static_cast<std::size_t>(stream)) =
        closed.at(static_cast<std::size_t>(stream)) && place_null(stream, O_RDWR | O_CLOEXEC);
}

StandardStreamsHeld::~StandardStreamsHeld() {
  for (int stream = 0; stream <= 2; ++stream)
    if (held_.at(static_cast<std::size_t>(stream))) detail::close_quietly(stream);
}

UniqueFd take_standard_stream(int stream) {
  UniqueFd taken = duplicate(stream);
  const UniqueFd null(sys("open", "/dev/null", [] { return ::open("/dev/null", O_RDWR | O_CLOEXEC); }));
  replace_standard_stream(null.get(), stream);
  return taken;
}

}  // namespace ipcm::os
