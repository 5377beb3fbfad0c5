#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "os/descriptor.h"

namespace ipcm::os {

enum class StreamUse { read, append };
/// Opens the target of a redirected standard stream: a path, or "&N" for the file of descriptor N of this
/// process. For 0, 1 and 2, a closed descriptor means /dev/null; for others it is an error, as is a number
/// that no descriptor can have. Never blocks: for writing, a FIFO must have a reader (otherwise ENXIO); for
/// reading, a FIFO is also opened for writing, so that its reader waits for the first writer and sees no end
/// between two writers. Throws SystemError.
[[nodiscard]] UniqueFd open_stream(const std::string& where, StreamUse use);

[[nodiscard]] bool is_terminal(int fd) noexcept;

/// Writes to a stream that other processes use too, and never blocks. The flag O_NONBLOCK of a shared stream
/// must not change, so a pipe or a terminal is opened a second time.
class StreamWriter {
 public:
  StreamWriter() = default;
  explicit StreamWriter(UniqueFd stream) : fd_(std::move(stream)) {}
  /// Returns how many bytes were written, or were dropped because nobody can read them any more (see lost()).
  /// Fewer than all: there is no room now. Raises no SIGPIPE.
  [[nodiscard]] std::size_t put(std::string_view bytes) noexcept;
  /// Whether a write failed for good (a closed pipe, a full disk); later bytes are dropped.
  [[nodiscard]] bool lost() const { return lost_; }
  /// Borrowed; EPOLLOUT reports room.
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// For crossing a fork: release() gives the number up, take_up() owns it again.
  [[nodiscard]] int release() { return fd_.release(); }
  void take_up(int fd) { fd_ = UniqueFd(fd); }

 private:
  void find_way() noexcept;
  [[nodiscard]] long write_once(std::string_view bytes) noexcept;

  enum class Way { unknown, plain, nonblocking, socket, piecemeal };
  UniqueFd fd_;
  Way way_ = Way::unknown;  // determined at the first write, which is rare
  bool lost_ = false;
};

}  // namespace ipcm::os
