#pragma once

#include <optional>
#include <string>

#include "loop/loop.h"

namespace ipcm::launcher {

/// Reads the lines of stdin as they come, without blocking. A last line without its newline counts.
class LineReader {
 public:
  explicit LineReader(Loop& loop);
  enum class Next {
    none,     ///< No line is there now: see is_ready(), at_end().
    line,     ///< A line, without its newline.
    too_long  ///< A line of more than 64 MiB: the rest of it is passed over.
  };
  /// Reads 1 MiB at most, so that an input without end does not keep the event loop from its signals.
  [[nodiscard]] Next next(std::string& line);
  [[nodiscard]] bool at_end() const { return ended_ && at_ >= buffer_.size(); }
  /// Whether next() has something to do now. If not, the loop wakes up when it has.
  [[nodiscard]] bool is_ready() const { return !at_end() && (ended_ || !can_wait_ || there_); }

 private:
  void fill();
  std::string buffer_;
  std::size_t at_ = 0;
  std::size_t looked_ = 0;     // no newline before it
  bool passing_over_ = false;  // the rest of a line that is too long
  bool ended_ = false;
  bool can_wait_;  // false: a regular file, always there
  bool there_ = false;
  Watch watch_;
};

}  // namespace ipcm::launcher
