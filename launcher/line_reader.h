#pragma once

#include <optional>
#include <string>

#include "loop/loop.h"

namespace ipcm::launcher {

/// Lines of stdin, as they come, without blocking. A last line without its newline counts.
class LineReader {
 public:
  explicit LineReader(Loop& loop);
  enum class Next {
    none,     ///< now, or any more
    line,     ///< with its newline gone
    too_long  ///< one of more than 64 MiB: it is passed over
  };
  [[nodiscard]] Next next(std::string& line);
  [[nodiscard]] bool at_end() const { return ended_ && at_ >= buffer_.size(); }

 private:
  void fill();
  std::string buffer_;
  std::size_t at_ = 0;
  std::size_t looked_ = 0;     // no newline before it
  bool passing_over_ = false;  // what is read belongs to a line that is too long
  bool ended_ = false;
  bool can_wait_;  // false: a regular file, always there
  bool there_ = false;
  Watch watch_;
};

}  // namespace ipcm::launcher
