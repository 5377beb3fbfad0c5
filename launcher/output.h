#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ipcm/content.h"
#include "ipcm/error.h"
#include "ipcm/json_archive.h"

// The output of the command. This file buffers stdout, not the C library: another process that shares the
// pipe may have set O_NONBLOCK, and if the pipe is then full, the C library drops its buffer. The functions
// below wait for the reader. stderr is not buffered; a write waits in the same way, and its errors are
// ignored, because nothing is left to report them on.

namespace ipcm::launcher {

/// An error of a write to stdout: its reader has closed the pipe, or a disk is full. The command ends.
class OutputLost : public Error {
 public:
  explicit OutputLost(int error);
  [[nodiscard]] int code() const { return code_; }

 private:
  int code_;
};

/// Prints trusted text on stdout, unchanged. Throws OutputLost.
void print_text(std::string_view text);
/// Prints a line for people on stdout, and escapes characters that a terminal does not display. Throws
/// OutputLost.
void print_line(std::string_view line);
/// Prints a JSON value as one line on stdout. Throws OutputLost.
void print_json(std::string json);
/// Returns the JSON text of a value that cereal can serialize.
template <class T>
[[nodiscard]] std::string json_of(const T& value) {
  JsonWriter writer;
  writer(value);
  return writer.take();
}
/// Returns a JSON string of a text from another program. Replaces bytes that are no UTF-8.
[[nodiscard]] Content foreign_text(std::string_view text);
/// Prints a table for people; each column is as wide as its longest cell. Throws OutputLost.
void print_table(const std::vector<std::vector<std::string>>& rows);
/// Writes the buffered output. Throws OutputLost.
void flush_output();

/// Prints "ipcm: SENTENCE" on stderr, with unprintable characters escaped.
void complain(std::string_view sentence) noexcept;
/// Prints a JSON value as one line on stderr.
void complain_json(std::string json) noexcept;

}  // namespace ipcm::launcher
