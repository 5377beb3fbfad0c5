#pragma once

#include <optional>
#include <string>

#include "loop/loop.h"

namespace ipcm::launcher {

/// A reader of the lines of stdin that does not block. A last line without a newline counts as a line.
class LineReader {
 public:
  explicit LineReader(Loop& loop);
  enum class Next {
    none,     ///< No line is there now: see is_ready(), at_end().
    line,     ///< A line, without its newline.
    too_long  ///< A line of more than 64 MiB; the reader skips it.
  };
  /// Stores the next line in `line`. Reads 1 MiB at most in one call, so that the event loop can handle
  /// signals between two calls.
  [[nodiscard]] Next next(std::string& line);
  [[nodiscard]] bool at_end() const { return ended_ && at_ >= buffer_.size(); }
  /// Returns whether next() can do something now. If not, the event loop wakes up when it can.
  [[nodiscard]] bool is_ready() const { return !at_end() && (ended_ || !can_wait_ || there_); }

 private:
  void fill();
  std::string buffer_;
  std::size_t at_ = 0;
  std::size_t looked_ = 0;     // there is no newline between at_ and here
  bool passing_over_ = false;  // skips the rest of a line that is too long
  bool ended_ = false;
  bool can_wait_;  // false: stdin is a regular file, which can always be read
  bool there_ = false;
  Watch watch_;
};

}  // namespace ipcm::launcher
