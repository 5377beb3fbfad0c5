#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "os/descriptor.h"

namespace ipcm::os {

enum class StreamUse { read, append };
/// Opens what a standard stream is redirected to: a path, or "&N" for what descriptor N of this process leads
/// to. For 0, 1 and 2, a closed descriptor means /dev/null; for others it is an error, and so is a number
/// that no descriptor can have. Never blocks: a FIFO to write to must have a reader (else ENXIO); a FIFO to
/// read from is also opened for writing, so that its reader waits for the first writer and sees no end
/// between two of them. Throws SystemError.
[[nodiscard]] UniqueFd open_stream(const std::string& where, StreamUse use);

[[nodiscard]] bool is_terminal(int fd) noexcept;

/// Writes to a stream that other processes use too, and never blocks. The flag O_NONBLOCK of a shared stream
/// is not ours to change, so a pipe or a terminal is opened a second time.
class StreamWriter {
 public:
  StreamWriter() = default;
  explicit StreamWriter(UniqueFd stream) : fd_(std::move(stream)) {}
  /// How many bytes are dealt with: written, or dropped because nobody can read them any more (see lost()).
  /// Fewer than all: there is no room now. Raises no SIGPIPE.
  [[nodiscard]] std::size_t put(std::string_view bytes) noexcept;
  /// A write failed for good (a closed pipe, a full disk); what is put from then on is dropped.
  [[nodiscard]] bool lost() const { return lost_; }
  /// Borrowed; tells with EPOLLOUT when there is room.
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// Across a fork: the number given up, and owned again.
  [[nodiscard]] int release() { return fd_.release(); }
  void take_up(int fd) { fd_ = UniqueFd(fd); }

 private:
  void find_way() noexcept;
  [[nodiscard]] long write_once(std::string_view bytes) noexcept;

  enum class Way { unknown, plain, nonblocking, socket, piecemeal };
  UniqueFd fd_;
  Way way_ = Way::unknown;  // found when there is something to write, which is rare
  bool lost_ = false;
};

}  // namespace ipcm::os
