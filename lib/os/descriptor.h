#pragma once

#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>

namespace ipcm::os {

// Descriptors belong to the process that opened them.
//
// A library that lives in other people's programs must expect them to fork. What the child inherits is a
// trap: a copy of a listening socket keeps a dead service looking alive, a copy of an epoll descriptor
// changes the parent's set, a destructor in the child unlinks the parent's files. So every descriptor that we
// own is noted, and at a fork the child closes its copies (pthread_atfork: also for forks that are not ours)
// and moves to the next generation. An object from an earlier generation is inert: get() gives -1, destroying
// it closes nothing. What a child is meant to have crosses the fork as a plain number (release() before, a
// new UniqueFd after).
//
// No descriptor of ours is 0, 1 or 2, even if the host has closed its standard streams: there, printf() would
// write into a peer's connection, and a child would inherit it as its stdin. The kernel gives the lowest free
// number, so UniqueFd moves such a descriptor to 3 or above. A host's closed streams stay closed.

/// Which process this is, counted by forks: cheap to compare, unlike getpid().
[[nodiscard]] std::uint32_t generation() noexcept;

namespace detail {
void note_open(int fd) noexcept;
void note_closed(int fd) noexcept;
void close_quietly(int fd) noexcept;
/// Moves a descriptor from 0, 1 or 2 to 3 or above. Throws SystemError; then it is closed.
[[nodiscard]] int move_up(int fd);
}  // namespace detail

/// Owns one file descriptor, or none. Closing neither throws nor changes errno.
class UniqueFd {
 public:
  UniqueFd() noexcept = default;
  /// Takes ownership. A standard stream's number is left: get() gives 3 or above. Throws SystemError where
  /// that fails.
  explicit UniqueFd(int fd) : fd_(fd >= 0 && fd <= 2 ? detail::move_up(fd) : fd), born_(generation()) {
    if (fd_ >= 0) detail::note_open(fd_);
  }
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)), born_(other.born_) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
      born_ = other.born_;
    }
    return *this;
  }
  ~UniqueFd() { reset(); }

  /// Borrowed; -1 if there is none, or if it belongs to the process that we were forked from.
  [[nodiscard]] int get() const noexcept { return born_ == generation() ? fd_ : -1; }
  [[nodiscard]] explicit operator bool() const noexcept { return get() >= 0; }
  /// Gives it up: the caller owns the number, and it crosses a fork.
  [[nodiscard]] int release() noexcept {
    const int fd = get();
    if (fd >= 0) detail::note_closed(fd);
    fd_ = -1;
    return fd;
  }
  void reset() noexcept {
    if (const int fd = release(); fd >= 0) detail::close_quietly(fd);
  }

 private:
  int fd_ = -1;
  std::uint32_t born_ = 0;
};

/// `fd`, or a copy at 3 or above in its place if it is 0, 1 or 2. -1 with errno: there is no room; then it is
/// closed. For callers who handle a want of descriptors themselves.
[[nodiscard]] int above_standard_streams(int fd) noexcept;
/// A copy with close-on-exec set, numbered `least` or higher.
[[nodiscard]] UniqueFd duplicate(int fd, int least = 3);
/// Makes `target` mean what `fd` means. For the three standard streams: the copy stays open over exec.
void replace_standard_stream(int fd, int target);
/// Marks a descriptor that came from outside as not to be inherited further. False: it is not open.
[[nodiscard]] bool set_close_on_exec(int fd) noexcept;
void set_nonblocking(int fd);
void set_blocking(int fd);
[[nodiscard]] bool is_open(int fd) noexcept;
/// "pipe:[1234]", "/dev/null": what the descriptor of a process leads to; empty where we may not look.
[[nodiscard]] std::string where_leads(int pid, int fd);

}  // namespace ipcm::os
