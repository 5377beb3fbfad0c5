#pragma once

#include <string>
#include <vector>

#include "exit_status.h"
#include "ipcm/requester.h"
#include "options.h"

namespace ipcm::launcher {

/// Turns what was thrown into words on stderr and a status. Call it inside a catch block.
[[nodiscard]] Status report_error(const Options& options) noexcept;

/// The same for words that nothing was thrown for.
int report_words(const Options& options, const std::string& words, int status);

/// stdout has gone (a reader that had enough) or takes nothing more (a full disk): nothing is left to do.
class OutputLost : public Error {
 public:
  explicit OutputLost(int error);
  [[nodiscard]] int code() const { return code_; }

 private:
  int code_;
};

/// An answer that is no JSON: there is no line for it.
class AnswerIsBytes : public Error {
 public:
  using Error::Error;
};

/// Words for people, on stderr, if they asked for them.
void tell(const Options& options, const std::string& sentence);
/// A line on stdout. Throws OutputLost.
void print_line(const std::string& line);
/// An answer as a line of JSON. Throws what it failed with, and AnswerIsBytes.
void print_answer(const Response& response);
/// What was printed gets out. Throws OutputLost.
void flush_output();

/// Columns as wide as their content, for people.
void print_table(const std::vector<std::vector<std::string>>& rows);

[[nodiscard]] std::string readable_milliseconds(Duration span);
[[nodiscard]] std::string readable_age(double seconds);
[[nodiscard]] std::string readable_size(std::uint64_t bytes);

}  // namespace ipcm::launcher
