#pragma once

#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>

namespace ipcm::os {

// Descriptors belong to the process that opened them.
//
// A library in programs of others must expect them to fork. The copies that a child inherits do harm: a copy
// of a listening socket makes a dead service look alive, a copy of an epoll descriptor changes the set of the
// parent, and a destructor in the child would unlink files of the parent. So the library records every
// descriptor that it owns. At a fork, the child closes its copies (pthread_atfork: this also covers forks
// that the library does not make) and enters the next generation. An object from an earlier generation is
// inert: get() returns -1, and its destructor closes nothing. A descriptor that a child shall have crosses
// the fork as a plain number: release() before the fork, a new UniqueFd after it.
//
// No descriptor of the library is 0, 1 or 2, even if the host has closed its standard streams: otherwise
// printf() would write into the connection of a peer, and a child would inherit that connection as its stdin.
// The kernel gives the lowest free number, so UniqueFd moves such a descriptor to 3 or above. The closed
// streams of a host stay closed.

/// Identifies this process by the number of forks; cheap to compare, unlike getpid().
[[nodiscard]] std::uint32_t generation() noexcept;

namespace detail {
void note_open(int fd) noexcept;
void note_closed(int fd) noexcept;
void close_quietly(int fd) noexcept;
/// Moves a descriptor from 0, 1 or 2 to 3 or above. On failure, closes it and throws SystemError.
[[nodiscard]] int move_up(int fd);
}  // namespace detail

/// Owns one file descriptor, or none. Closing neither throws nor changes errno.
class UniqueFd {
 public:
  UniqueFd() noexcept = default;
  /// Takes ownership. Moves a descriptor from the number of a standard stream: get() returns 3 or above.
  /// Throws SystemError if that fails.
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

  /// Returns the borrowed number; -1 if there is none, or if a parent process opened it before it forked this
  /// one.
  [[nodiscard]] int get() const noexcept { return born_ == generation() ? fd_ : -1; }
  [[nodiscard]] explicit operator bool() const noexcept { return get() >= 0; }
  /// Gives up ownership: the caller owns the number, which may cross a fork.
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

/// Returns `fd`, or, if it is 0, 1 or 2, a copy at 3 or above in its place. Returns -1 with errno if no
/// number is free, and closes `fd` then. For callers that handle a lack of descriptors themselves.
[[nodiscard]] int above_standard_streams(int fd) noexcept;
/// Returns a copy with close-on-exec set, numbered `least` or higher. Throws SystemError.
[[nodiscard]] UniqueFd duplicate(int fd, int least = 3);
/// Makes the standard stream `target` a copy of `fd`, which stays open across exec.
void replace_standard_stream(int fd, int target);
/// Sets close-on-exec on a descriptor that came from outside. Returns false if it is not open.
[[nodiscard]] bool set_close_on_exec(int fd) noexcept;
void set_nonblocking(int fd);
void set_blocking(int fd);
[[nodiscard]] bool is_open(int fd) noexcept;
/// Returns the target of a process's descriptor, such as "pipe:[1234]" or "/dev/null"; empty if this process
/// may not read it.
[[nodiscard]] std::string where_leads(int pid, int fd);

}  // namespace ipcm::os
