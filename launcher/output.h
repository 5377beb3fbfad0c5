#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ipcm/content.h"
#include "ipcm/error.h"
#include "ipcm/json_archive.h"

// What the command prints. stdout is buffered here and not by the C library: whoever shares the pipe may have
// made it non-blocking, and then a full pipe means to wait for its reader, where the C library gives up and
// loses what it had. stderr is written at once, and waits in the same way; if it can't be written, nobody is
// left to be told.

namespace ipcm::launcher {

/// stdout has gone (a reader that had enough) or takes nothing more (a full disk): nothing is left to do.
class OutputLost : public Error {
 public:
  explicit OutputLost(int error);
  [[nodiscard]] int code() const { return code_; }

 private:
  int code_;
};

/// Text of our own on stdout, as it is. Throws OutputLost.
void print_text(std::string_view text);
/// A line on stdout, for people: what a terminal would not show as itself is escaped. Throws OutputLost.
void print_line(std::string_view line);
/// A line of valid JSON on stdout, exactly that value. Throws OutputLost.
void print_json(std::string json);
/// A value that cereal can write, as JSON text.
template <class T>
[[nodiscard]] std::string json_of(const T& value) {
  JsonWriter writer;
  writer(value);
  return writer.take();
}
/// A JSON string of a text that another program chose: bytes that are no UTF-8 are replaced.
[[nodiscard]] Content foreign_text(std::string_view text);
/// Columns as wide as their content, for people. Throws OutputLost.
void print_table(const std::vector<std::vector<std::string>>& rows);
/// What was printed gets out. Throws OutputLost.
void flush_output();

/// "ipcm: SENTENCE" on stderr, printable.
void complain(std::string_view sentence) noexcept;
/// A line of valid JSON on stderr.
void complain_json(std::string json) noexcept;

}  // namespace ipcm::launcher
