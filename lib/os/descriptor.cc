#include "os/descriptor.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <climits>
#include <string>

#include "os/sys.h"

namespace ipcm::os {
namespace {

// One bit for each descriptor number. Untouched pages of it cost nothing. Larger numbers, which only a
// process with a raised limit has, are still inert after a fork, but the child does not close them.
constexpr std::size_t kTracked = 1U << 20U;
constexpr std::size_t kBits = 64;
std::array<std::atomic<std::uint64_t>, kTracked / kBits> owned;
std::atomic<std::uint32_t> highest_word{0};
std::atomic<std::uint32_t> current_generation{1};

/// Runs in the child of a fork; async-signal-safe.
void disown_all() {
  current_generation.fetch_add(1, std::memory_order_relaxed);
  const std::uint32_t last = highest_word.load(std::memory_order_relaxed);
  for (std::uint32_t word = 0; word <= last; ++word) {
    std::uint64_t bits = owned[word].exchange(0, std::memory_order_relaxed);
    for (int bit = 0; bits != 0; ++bit, bits >>= 1U)
      if ((bits & 1U) != 0) detail::close_quietly(static_cast<int>(word * kBits) + bit);
  }
}

// Registered at the start of the program, so that a fork before the first descriptor counts, too.
[[maybe_unused]] const int watches_forks = ::pthread_atfork(nullptr, nullptr, &disown_all);

}  // namespace

std::uint32_t generation() noexcept { return current_generation.load(std::memory_order_relaxed); }

namespace detail {

void note_open(int fd) noexcept {
  const auto number = static_cast<std::size_t>(fd);
  if (number >= kTracked) return;
  const auto word = static_cast<std::uint32_t>(number / kBits);
  owned[word].fetch_or(std::uint64_t{1} << (number % kBits), std::memory_order_relaxed);
  std::uint32_t seen = highest_word.load(std::memory_order_relaxed);
  while (seen < word && !highest_word.compare_exchange_weak(seen, word, std::memory_order_relaxed)) {
  }
}

void note_closed(int fd) noexcept {
  const auto number = static_cast<std::size_t>(fd);
  if (number >= kTracked) return;
  owned[number / kBits].fetch_and(~(std::uint64_t{1} << (number % kBits)), std::memory_order_relaxed);
}

void close_quietly(int fd) noexcept {
  const int saved = errno;
  ::close(fd);  // no retry: Linux frees the number even on EINTR
  errno = saved;
}

int move_up(int fd) {
  const int moved = above_standard_streams(fd);
  if (moved < 0)
    throw SystemError(errno, "move descriptor " + std::to_string(fd) + " away from the standard streams");
  return moved;
}

}  // namespace detail

int above_standard_streams(int fd) noexcept {
  if (fd < 0 || fd > 2) return fd;
  const int moved = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
  detail::close_quietly(fd);
  return moved;
}

UniqueFd duplicate(int fd, int least) {
  return UniqueFd(sys(
      "duplicate descriptor", [&] { return std::to_string(fd); },
      [&] { return ::fcntl(fd, F_DUPFD_CLOEXEC, least); }));
}

void replace_standard_stream(int fd, int target) {
  sys(
      "dup2 onto", [&] { return std::to_string(target); }, [&] { return ::dup2(fd, target); });
}

bool set_close_on_exec(int fd) noexcept {
  const int saved = errno;
  const bool open = ::fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
  errno = saved;
  return open;
}

namespace {

void change_flags(int fd, int set, int clear) {
  const auto subject = [&] { return std::to_string(fd); };
  const int flags = sys("read flags of descriptor", subject, [&] { return ::fcntl(fd, F_GETFL); });
  sys("set flags of descriptor", subject, [&] { return ::fcntl(fd, F_SETFL, (flags | set) & ~clear); });
}

}  // namespace

void set_nonblocking(int fd) { change_flags(fd, O_NONBLOCK, 0); }
void set_blocking(int fd) { change_flags(fd, 0, O_NONBLOCK); }

bool is_open(int fd) noexcept {
  const int saved = errno;
  const bool open = ::fcntl(fd, F_GETFD) >= 0;
  errno = saved;
  return open;
}

std::string where_leads(int pid, int fd) {
  std::array<char, PATH_MAX> target{};
  const std::string link = "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(fd);
  const ssize_t size = ::readlink(link.c_str(), target.data(), target.size());
  return size > 0 ? std::string(target.data(), static_cast<std::size_t>(size)) : std::string();
}

}  // namespace ipcm::os
